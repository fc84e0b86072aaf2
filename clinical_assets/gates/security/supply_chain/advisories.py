"""Known vulnerabilities of Python distributions, from a snapshot in OSV format that is kept here and needs no network.

Matching follows the evaluation algorithm of the OSV schema: a version is affected when it is listed, or when the events
of a range, in order, last introduced the fault.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from clinical_assets.foundation.canonical import canonical_json, sha256_file
from clinical_assets.foundation.files import write_atomic
from clinical_assets.gates.security.facts import Advisories, Distribution, KnownVulnerability
from clinical_assets.gates.security.supply_chain.cvss import base_score

LABELS = {"CRITICAL": 9.0, "HIGH": 7.0, "MODERATE": 4.0, "MEDIUM": 4.0, "LOW": 0.1}
"""Lower ends of the ratings, for entries that state a rating and no version-3 vector."""

FORMAT = 1
_AHEAD_SECONDS = 86_400.0


class AdvisoryError(ValueError):
    """The file is no snapshot of vulnerabilities."""


def import_snapshot(source: Path, target: Path) -> Advisories:
    """Take over the PyPI entries of an OSV export: a zip or directory of JSON entries, or one JSON list.

    The date of a snapshot is that of its newest entry, not that of the import: an old file does not become young.

    Raises:
        AdvisoryError: no PyPI entry in it, an entry without id or date, or dated in the future.
    """
    packages: dict[str, list[dict[str, Any]]] = {}
    newest, entries = "", 0
    for entry in _entries(source):
        affected = [one for one in entry.get("affected", []) if one.get("package", {}).get("ecosystem") == "PyPI"]
        if not affected:
            continue
        if not isinstance(entry.get("id"), str) or not isinstance(entry.get("modified"), str):
            raise AdvisoryError(f"{source}: an entry lacks `id` or `modified`; is this an OSV export?")
        newest = max(newest, entry["modified"], key=lambda text: _seconds(text) if text else 0.0)
        entries += 1
        if "withdrawn" in entry:
            continue
        for one in affected:
            packages.setdefault(canonicalize_name(one["package"]["name"]), []).append(_kept(entry, one))
    if not entries:
        raise AdvisoryError(f"{source}: no entry for PyPI; take the PyPI export of OSV (all.zip)")
    if _seconds(newest) > time.time() + _AHEAD_SECONDS:
        raise AdvisoryError(f"{source}: its newest entry is dated {newest}, in the future")
    target.parent.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "taken_utc": newest, "entries": entries, "packages": packages}
    write_atomic(target, canonical_json(document))
    return Advisories(taken_utc=newest, sha256=sha256_file(target), entries=entries, packages=len(packages))


def look_up(distributions: Iterable[Distribution], snapshot: Path) -> Advisories:
    """What the snapshot knows about the distributions; an absent or broken one is a problem, not an empty answer."""
    try:
        document = json.loads(snapshot.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        packages, taken, entries = document["packages"], document["taken_utc"], document["entries"]
    except FileNotFoundError:
        return Advisories(problem="no snapshot of known vulnerabilities; import one with `clinical advisories FILE`")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Advisories(problem=f"{snapshot.name} cannot be read ({error}); import it again")
    audited, found = 0, []
    for one in distributions:
        audited += 1
        hits = [entry for entry in packages.get(one.name, []) if affects(entry, one.version)]
        found += [_finding(one, group) for group in _by_alias(hits)]
    return Advisories(
        taken_utc=taken, sha256=sha256_file(snapshot), entries=entries, packages=len(packages), audited=audited,
        found=tuple(found),
    )  # fmt: skip


def affects(entry: Mapping[str, Any], version: str) -> bool:
    """Whether `version` is among the affected ones; a version that cannot be ordered is compared by name alone."""
    if version in entry["versions"]:
        return True
    try:
        own = Version(version)
        return own.public in entry["versions"] or any(_in_range(events, own) for events in entry["ranges"])
    except InvalidVersion:
        return False


def _in_range(events: list[dict[str, str]], own: Version) -> bool:
    """Events in the order of their versions; `0` comes before every version."""
    affected = False
    for event in sorted(events, key=_order):
        ((kind, text),) = list(event.items())[:1]
        at = None if text == "0" else Version(text)
        if kind == "introduced" and (at is None or own >= at):
            affected = True
        elif (kind == "fixed" and at is not None and own >= at) or (
            kind == "last_affected" and at is not None and own > at
        ):
            affected = False
    return affected


def _order(event: dict[str, str]) -> tuple[bool, Version]:
    text = next(iter(event.values()))
    return text != "0", Version("0" if text == "0" else text)


def _kept(entry: Mapping[str, Any], affected: Mapping[str, Any]) -> dict[str, Any]:
    ranges = [one["events"] for one in affected.get("ranges", []) if one.get("type") == "ECOSYSTEM"]
    return {
        "ids": sorted({entry["id"], *entry.get("aliases", [])}),
        "score": _score([*entry.get("severity", []), *affected.get("severity", [])], entry),
        "versions": list(affected.get("versions", [])),
        "ranges": [[event for event in events if "limit" not in event] for events in ranges],
    }


def _score(vectors: Iterable[Mapping[str, str]], entry: Mapping[str, Any]) -> float | None:
    scores = [base_score(one.get("score", "")) for one in vectors]
    label = str((entry.get("database_specific") or {}).get("severity", "")).upper()
    known = [score for score in (*scores, LABELS.get(label)) if score is not None]
    return max((score for score in scores if score is not None), default=max(known, default=None))


def _finding(one: Distribution, group: list[Mapping[str, Any]]) -> KnownVulnerability:
    scores = [entry["score"] for entry in group if entry["score"] is not None]
    fixed = {event["fixed"] for entry in group for events in entry["ranges"] for event in events if "fixed" in event}
    return KnownVulnerability(
        package=one.name, version=one.version, ids=tuple(sorted({id for entry in group for id in entry["ids"]})),
        score=max(scores, default=None), fixed=tuple(sorted(fixed)),
    )  # fmt: skip


def _by_alias(entries: list[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Entries of several databases about one fault, together: they share an id."""
    groups: list[tuple[set[str], list[Mapping[str, Any]]]] = []
    for entry in entries:
        ids, members = set(entry["ids"]), [entry]
        for group in [group for group in groups if group[0] & ids]:
            groups.remove(group)
            ids, members = ids | group[0], group[1] + members
        groups.append((ids, members))
    return [members for _, members in groups]


def _entries(source: Path) -> Iterator[dict[str, Any]]:
    try:
        if source.is_dir():
            for path in sorted(source.rglob("*.json")):
                yield json.loads(path.read_bytes())
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                for name in (name for name in archive.namelist() if name.endswith(".json")):
                    yield json.loads(archive.read(name))
        else:
            content = json.loads(source.read_bytes())
            yield from content if isinstance(content, list) else content.get("vulns", [content])
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise AdvisoryError(f"{source}: cannot be read as an OSV export: {error}") from error


def _seconds(moment: str) -> float:
    try:
        return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
    except ValueError as error:
        raise AdvisoryError(f"{moment!r} is no date") from error

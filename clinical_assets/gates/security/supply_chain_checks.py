"""Gate 5, what the model runs on: bill of materials, known vulnerabilities, pinned lock, credentials, licences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import utc_seconds
from clinical_assets.gates.security.facts import EnvironmentFacts, KnownVulnerability, SecretFound
from clinical_assets.gates.security.file_formats import model_files
from clinical_assets.gates.security.supply_chain.distributions import copyleft
from clinical_assets.gates.security.supply_chain.lock_file import same_version
from clinical_assets.gates.security.supply_chain.sbom import SPECIFICATION
from clinical_assets.gates.thresholds import SecurityPolicy
from clinical_assets.gates.verdict import GateName, Verdict

DAY = 86_400.0
Judge = Callable[[Case, EnvironmentFacts, dict[str, Any]], Finding]


def about_environment(threshold: str, source: str) -> Callable[[Judge], Callable[[Case], Finding]]:
    """A check over the facts of the environment; without them it is INCONCLUSIVE."""

    def wrap(judge: Judge) -> Callable[[Case], Finding]:
        @wraps(judge)
        def find(case: Case) -> Finding:
            common: dict[str, Any] = {"threshold": threshold, "threshold_source": source, "n": 0}
            if case.facts.environment is None:
                reason = "nothing was collected about the environment"
                return Finding(Verdict.INCONCLUSIVE, reason, "judge by `clinical gate` or a run", **common)
            return judge(case, case.facts.environment, common)

        return find

    return wrap


def some(items: Iterable[str], most: int = 5) -> str:
    listed = list(items)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


@check(GateName.SECURITY, "SE6", "Bill of materials", "distributions on one list and not on the other")
@about_environment(f"0; CycloneDX {SPECIFICATION}", "the bill must describe what runs")
def bill_of_materials(case: Case, environment: EnvironmentFacts, common: dict[str, Any]) -> Finding:
    """The components of the bill are the installed distributions, in the installed versions."""
    bill = environment.sbom
    runs = {(one.name, one.version) for one in environment.distributions}
    listed = set(bill.components)
    absent, extra = sorted(runs - listed), sorted(listed - runs)
    common |= {
        "value": float(len(absent) + len(extra)),
        "n": len(runs),
        "details": {"sha256": bill.sha256, "source": bill.source, "absent": absent[:20], "extra": extra[:20]},
    }
    remedy = "write the bill from the image that will run, when it is built"
    if bill.problem or bill.specification != SPECIFICATION:
        problem = bill.problem or f"CycloneDX {bill.specification} instead of {SPECIFICATION}"
        return Finding(Verdict.BLOCK, problem, remedy, **common)
    if absent or extra:
        parts = [
            *([f"not on the bill: {some(map('=='.join, absent))}"] if absent else []),
            *([f"not installed: {some(map('=='.join, extra))}"] if extra else []),
        ]
        return Finding(Verdict.BLOCK, "; ".join(parts), remedy, **common)
    return Finding(Verdict.PASS, f"{len(runs)} distributions, all on the bill of {bill.source}", **common)


@check(GateName.SECURITY, "SE7", "Known vulnerabilities", "highest CVSS base score")
@about_environment(
    "CVSS >= 9 blocks, >= 7 warns; snapshot not older than its limit", "CVSS 3.1, qualitative severity ratings"
)
def known_vulnerabilities(case: Case, environment: EnvironmentFacts, common: dict[str, Any]) -> Finding:
    """An old snapshot says nothing, and an audit of no distribution is an error, not a clean bill."""
    advisories, policy = environment.advisories, case.policy.security
    common["n"] = advisories.audited
    remedy = "take a fresh PyPI export of OSV and import it: `clinical advisories FILE`"
    if advisories.problem:
        return Finding(Verdict.INCONCLUSIVE, advisories.problem, remedy, **common)
    if not advisories.audited or not advisories.entries:
        return Finding(Verdict.ERROR, "no distribution was looked up", "repair the audit", **common)
    days = (case.facts.now - utc_seconds(advisories.taken_utc.replace("Z", "+00:00"))) / DAY
    common["details"] = {
        "taken_utc": advisories.taken_utc, "sha256": advisories.sha256, "entries": advisories.entries,
        "found": [one.model_dump(mode="json") for one in advisories.found],
    }  # fmt: skip
    severe = [one for one in advisories.found if one.score is not None and one.score >= policy.cvss_block]
    if severe:  # what an old snapshot knows has not become less true
        common["value"] = max(one.score or 0.0 for one in severe)
        return Finding(Verdict.BLOCK, _described(severe), "install a version without it, or take it out", **common)
    if days > policy.advisory_max_age_days:
        reason = f"the snapshot is {days:.0f} days old, {policy.advisory_max_age_days:g} are allowed"
        return Finding(Verdict.INCONCLUSIVE, reason, remedy, **common)
    common["value"] = max((one.score or 0.0 for one in advisories.found), default=0.0)
    notable = [one for one in advisories.found if one.score is None or one.score >= policy.cvss_warn]
    if notable:
        return Finding(Verdict.WARN, _described(notable), "install a version without it", **common)
    text = f"{advisories.audited} distributions against {advisories.entries} entries, {days:.0f} days old"
    return Finding(Verdict.PASS, f"{text}; {len(advisories.found)} below {policy.cvss_warn:g}", **common)


def _described(found: Sequence[KnownVulnerability]) -> str:
    def one(entry: KnownVulnerability) -> str:
        score = "severity not stated" if entry.score is None else f"CVSS {entry.score:g}"
        fixed = f"; fixed in {', '.join(entry.fixed)}" if entry.fixed else ""
        return f"{entry.package} {entry.version}: {entry.ids[0]} ({score}{fixed})"

    return some(map(one, sorted(found, key=lambda entry: -(entry.score or 0.0))))


@check(GateName.SECURITY, "SE8", "Lock with hashes", "pinned lines without a hash, and other sources")
@about_environment("0 lines without a hash, 0 index options, URLs or paths", SecurityPolicy.source("lock"))
def pinned_lock(case: Case, environment: EnvironmentFacts, common: dict[str, Any]) -> Finding:
    """A distribution that runs in another version than the locked one warns: its bytes are not those of the lock."""
    lock = environment.lock
    required = [one for one in environment.distributions if one.required]
    loose = [one.name for one in required if one.name not in lock.pins]
    other = [
        f"{one.name} {one.version} instead of {lock.pins[one.name]}"
        for one in required
        if one.name in lock.pins and not same_version(one.version, lock.pins[one.name])
    ]
    if not lock.sha256:
        return Finding(Verdict.INCONCLUSIVE, f"no lock: {lock.problem}", "write one, see CONTRIBUTING.md", **common)
    common |= {
        "value": float(len(lock.unhashed) + len(lock.overrides)),
        "n": len(lock.pins),
        "details": {"lock": lock.path, "sha256": lock.sha256, "not_in_lock": loose, "other_version": other},
    }
    if lock.unhashed or lock.overrides or lock.problem:
        parts = [
            *([f"without a hash: {some(lock.unhashed)}"] if lock.unhashed else []),
            *([f"other sources: {some(lock.overrides)}"] if lock.overrides else []),
            *([lock.problem] if lock.problem else []),
        ]
        return Finding(Verdict.BLOCK, f"{lock.path}: {'; '.join(parts)}", "compile the lock with hashes", **common)
    if loose or other:
        text = f"{lock.path} differs from what runs: {some([*other, *(f'{name} is not in it' for name in loose)])}"
        return Finding(Verdict.WARN, text, "install from the lock, or compile it again", **common)
    return Finding(Verdict.PASS, f"{len(required)} required distributions, each pinned with hashes", **common)


@check(GateName.SECURITY, "SE9", "Credentials in files", "lines that look like a credential")
@about_environment("0 in the repository, the configuration and the artifact", "detect-secrets, without entropy rules")
def credentials(case: Case, environment: EnvironmentFacts, common: dict[str, Any]) -> Finding:
    """Files under version control (scanned once), the files of the model and the texts kept with it."""
    from clinical_assets.gates.security.supply_chain.secrets import scan_text

    directory = case.facts.model_dir
    texts = {path.relative_to(directory).as_posix(): path.read_bytes() for path in model_files(directory)
             if path.is_file() and not path.is_symlink()}  # fmt: skip
    texts |= {name: text.encode() for name, text in case.facts.artifacts_text.items()}
    found = [
        *environment.secrets.found,
        *(SecretFound(place=name, line=line, kind=kind) for name, data in texts.items()
          for line, kind in scan_text(name, data)),
    ]  # fmt: skip
    common |= {
        "value": float(len(found)),
        "n": environment.secrets.files + len(texts),
        "details": {"found": [one.model_dump() for one in found[:20]]},
    }
    if found:
        listed = some(f"{one.place} line {one.line}: {one.kind}" for one in found)
        remedy = "revoke the credential, then take it out; mark an example with `pragma: allowlist secret`"
        return Finding(Verdict.BLOCK, listed, remedy, **common)
    if not environment.secrets.files:
        return Finding(Verdict.INCONCLUSIVE, "no file of the repository could be read", "check the root", **common)
    return Finding(Verdict.PASS, f"none in {common['n']} files", **common)


@check(GateName.SECURITY, "SE17", "Licences of what runs", "distributions under a copyleft licence")
@about_environment("0 under AGPL or GPL", SecurityPolicy.source("copyleft"))
def licences(case: Case, environment: EnvironmentFacts, common: dict[str, Any]) -> Finding:
    """Everything that is installed, required or not: it would be shipped with the image."""
    families = case.policy.security.copyleft
    found = {one.name: one for one in environment.distributions if copyleft(one.licence, families)}
    unstated = [one.name for one in environment.distributions if not one.licence]
    common |= {
        "value": float(len(found)),
        "n": len(environment.distributions),
        "details": {"found": {name: one.licence for name, one in found.items()}, "unstated": unstated},
    }
    if found:
        needed = [name for name, one in found.items() if one.required]
        text = f"{some(found)}: {some(needed) or 'none'} required by the platform, the others installed beside it"
        return Finding(Verdict.WARN, text, "build the image without them, or have their terms checked", **common)
    return Finding(Verdict.PASS, f"none of {common['n']} is; {len(unstated)} state no licence", **common)

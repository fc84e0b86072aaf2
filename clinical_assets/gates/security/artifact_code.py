"""Gate 5, code inside the artifact: what its bytes would call or build if somebody loaded them carelessly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.security.file_formats import model_files
from clinical_assets.gates.security.pickle_scan import PickleStream, pickles
from clinical_assets.gates.security.skops_types import skops_types
from clinical_assets.gates.thresholds import SecurityPolicy
from clinical_assets.gates.verdict import GateName, Verdict

REMEDY = "discard the file; find out who wrote it; save the model in a data-only format and train again"


def contents(case: Case) -> dict[str, bytes]:
    """Bytes of every regular file of the model directory, by relative path. Links are SE1's and are not followed."""
    directory = case.facts.model_dir
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in model_files(directory)
        if path.is_file() and not path.is_symlink()
    }


@check(GateName.SECURITY, "SE2", "Pickles", "objects that unpickling would call, outside the allow-list")
def pickle_globals(case: Case) -> Finding:
    """Every file, whatever its suffix, with archives opened: found by content, judged by an allow-list."""
    files = case.once(contents)
    streams = [stream for name, data in files.items() for stream in pickles(name, data)]
    allowed = frozenset(case.policy.security.pickle_globals)
    bad = {stream.place: problem for stream in streams if (problem := _problem(stream, allowed))}
    common: dict[str, Any] = {
        "value": float(len(bad)),
        "n": len(files),
        "threshold": f"0; {len(allowed)} objects are on the allow-list",
        "threshold_source": SecurityPolicy.source("pickle_globals"),
        "details": {"streams": len(streams), "problems": bad},
    }
    if bad:
        return Finding(Verdict.BLOCK, _listed(bad), REMEDY, **common)
    found = f"{len(streams)} pickle streams, all of plain arrays" if streams else "no pickle"
    return Finding(Verdict.PASS, f"{found} in {len(files)} files, archives opened", **common)


def _problem(stream: PickleStream, allowed: frozenset[str]) -> str:
    unknown = sorted(stream.globals - allowed)
    return "; ".join([*([f"calls {', '.join(unknown[:5])}"] if unknown else []), *filter(None, [stream.problem])])


@check(GateName.SECURITY, "SE3", "Types in skops archives", "types outside the approved list")
def skops_untrusted(case: Case) -> Finding:
    """The approved list is the policy's. What the archive declares about itself does not count."""
    approved = frozenset(case.policy.security.approved_types)
    bad: dict[str, str] = {}
    archives = 0
    for name, data in case.once(contents).items():
        try:
            types = skops_types(data)
        except ValueError as error:
            bad[name] = str(error)
            continue
        archives += types is not None
        if unknown := sorted((types or frozenset()) - approved):
            bad[name] = f"builds {', '.join(unknown[:5])}"
    common: dict[str, Any] = {
        "n": archives,
        "threshold": f"0; {len(approved)} types are approved",
        "threshold_source": SecurityPolicy.source("approved_types"),
        "details": {"problems": bad},
    }
    if bad:
        return Finding(Verdict.BLOCK, _listed(bad), REMEDY, value=float(len(bad)), **common)
    if not archives:
        return Finding(Verdict.PASS, "does not apply: no skops archive in the model directory", **common)
    return Finding(Verdict.PASS, f"{archives} archives hold approved types only", value=0.0, **common)


def _listed(problems: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {problem}" for name, problem in list(problems.items())[:5])

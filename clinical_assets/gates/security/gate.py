"""Gate 5, security: the artifact is data and nothing else, signed as a whole, and the one that was judged."""

from __future__ import annotations

from typing import Any

from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.gates.checks import Case, Finding, check, run_gate
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.security import (  # noqa: F401  they register their checks
    artifact_code,
    artifact_data,
    confinement,
    deployment_checks,
    membership,
    poisoning,
    request_fuzz,
    robustness,
    supply_chain_checks,
)
from clinical_assets.gates.security.file_formats import format_problem, model_files
from clinical_assets.gates.thresholds import SecurityPolicy
from clinical_assets.gates.verdict import GateName, GateReport, Verdict

GATE = GateName.SECURITY


def judge(facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    return run_gate(GATE, facts, policy)


@check(GATE, "SE1", "Data-only formats", "files that are not plain data")
def artifact_formats(case: Case) -> Finding:
    """Type on the allow-list, and content of that type: a pickle renamed to .json is found."""
    allowed = case.policy.security.allowed_suffixes
    files = model_files(case.facts.model_dir)
    problems = {
        path.relative_to(case.facts.model_dir).as_posix(): problem
        for path in files
        if (problem := format_problem(path, allowed)) is not None
    }
    common: dict[str, Any] = {
        "value": float(len(problems)),
        "n": len(files),
        "threshold": f"0; allowed are {', '.join(allowed)}",
        "threshold_source": SecurityPolicy.source("allowed_suffixes"),
        "details": {"problems": problems},
    }
    if not files:
        return Finding(Verdict.BLOCK, "the model directory is empty", "train and save the model again", **common)
    if problems:
        listed = "; ".join(f"{name}: {problem}" for name, problem in list(problems.items())[:5])
        return Finding(Verdict.BLOCK, listed, "save the model in a data-only format and train again", **common)
    return Finding(Verdict.PASS, f"all {len(files)} files are plain data", **common)


@check(GATE, "SE4", "Signature over the model directory", "signature")
def directory_signature(case: Case) -> Finding:
    """The verified outcome is a fact; a signature that covers another digest does not count."""
    facts = case.facts
    signed = [entry for entry in facts.signatures if entry.kind == "model"]
    common: dict[str, Any] = {
        "n": len(signed),
        "threshold": "a signature that verifies over every file of the directory",
        "threshold_source": "model-signing: extra, missing and changed files all fail",
    }
    remedy = "sign the directory as it was saved; if it was changed since, find out by whom and train again"
    if facts.signature_ok is None:
        return Finding(Verdict.BLOCK, "the model directory is not signed", remedy, value="missing", **common)
    if facts.signature_ok is not True:
        problem = facts.signature_ok or "the signature does not verify"
        return Finding(Verdict.BLOCK, f"signature refused: {problem}", remedy, value="refused", **common)
    return Finding(Verdict.PASS, "the signature covers every file of the directory", value="verified", **common)


@check(GATE, "SE5", "One digest everywhere", "roles whose digest differs")
def digest_equality(case: Case) -> Finding:
    """Evaluated = signed = logged = deployed = loaded = what lies in the directory now."""
    facts = case.facts
    now = sha256_directory(facts.model_dir)
    digests = {role: digest for role, digest in facts.digests.items() if digest is not None}
    missing = [role for role in ("evaluated", "signed") if role not in digests]
    differing = sorted(role for role, digest in digests.items() if digest != facts.model_digest)
    if now != facts.model_digest:
        differing.append("directory")
    common: dict[str, Any] = {
        "value": float(len(differing) + len(missing)),
        "n": len(digests) + 1,
        "threshold": "0: evaluated, signed, logged, deployed and loaded model are the same bytes",
        "threshold_source": "21 CFR 11.70, record linking",
        "details": {"digests": digests | {"directory": now}, "expected": facts.model_digest},
    }
    remedy = "discard the copy that differs and deploy the model that was judged"
    if differing:
        return Finding(Verdict.BLOCK, f"another model than the judged one: {', '.join(differing)}", remedy, **common)
    if missing:
        return Finding(Verdict.BLOCK, f"no digest recorded for: {', '.join(missing)}", remedy, **common)
    return Finding(Verdict.PASS, f"{', '.join(sorted(digests))} and the directory agree", **common)

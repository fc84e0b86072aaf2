"""Gate 4, regulatory: an audit trail without gaps, a lineage that resolves, a training that can be repeated, copies."""

from __future__ import annotations

from typing import Any

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.regulatory.policy import RegulatoryPolicy
from clinical_assets.gates.verdict import GateName, Verdict

GATE = GateName.REGULATORY


@check(GATE, "RG6", "Audit trail verifies", "entries in the chain")
def audit_trail(case: Case) -> Finding:
    """The chain verifies, and as many steps are in the trail as are on file."""
    state = case.facts.audit
    common: dict[str, Any] = {
        "value": float(state.events),
        "n": state.events,
        "threshold": "chain intact, every record and signature in it, each entry with who, when and why",
        "threshold_source": "21 CFR 11.10(e); ICH E6(R3) 4.2.2",
    }
    if not state.chain_ok:
        return Finding(
            Verdict.BLOCK, f"audit chain broken: {state.problem}", "restore the log from its backup", **common
        )
    if state.gaps:
        common["details"] = {"gaps": list(state.gaps)}
        text = "; ".join(state.gaps[:3]) + f"; {len(state.gaps) - 3} more" * (len(state.gaps) > 3)
        return Finding(
            Verdict.BLOCK, f"the trail has gaps: {text}", "restore log and records from one backup", **common
        )
    if state.events == 0:
        return Finding(Verdict.WARN, "the audit log is empty", "record the steps that led to this model", **common)
    return Finding(Verdict.PASS, f"{state.events} entries, chain intact", **common)


@check(GATE, "RG11", "Lineage is complete", "lineage entries missing or wrong")
def lineage(case: Case) -> Finding:
    """Every required entry is there, the digests are those of what was judged, and the code is identified."""
    facts, policy = case.facts, case.policy.regulatory
    entries = facts.lineage
    missing = [name for name in policy.lineage if entries.get(name) in (None, "", {}, [])]
    expected: dict[str, Any] = {
        "data_digest": facts.manifest.get("table_sha256"),
        "split_digest": facts.split.digest,
        "contract_digest": facts.contract.digest,
        "policy_digest": case.policy.digest,
    }
    wrong = [name for name, digest in expected.items() if entries.get(name) and entries[name] != digest]
    unidentified = not entries.get("clean", False) and not entries.get("code_digest")
    common: dict[str, Any] = {
        "value": float(len(missing) + len(wrong) + unidentified),
        "n": len(policy.lineage),
        "threshold": f"0; required are {', '.join(policy.lineage)}",
        "threshold_source": RegulatoryPolicy.source("lineage"),
        "details": {"missing": missing, "wrong": wrong, "clean": entries.get("clean")},
    }
    problems = [f"missing {', '.join(missing)}"] * bool(missing) + [f"differs: {', '.join(wrong)}"] * bool(wrong)
    problems += ["uncommitted code without a digest of the source files"] * unidentified
    if problems:
        return Finding(
            Verdict.BLOCK, "; ".join(problems), "train again from a committed state with full lineage", **common
        )
    if not entries.get("clean", False):
        return Finding(
            Verdict.WARN, "uncommitted changes, identified by the digest of the source files", "commit them", **common
        )
    return Finding(
        Verdict.PASS, f"data, code, environment and settings are known; commit {entries['commit']}", **common
    )


@check(GATE, "RG12", "Training again gives the same model", "largest difference of a risk")
def reproducible(case: Case) -> Finding:
    """The recorded re-training of this model from the same data, code, settings and seed."""
    facts, policy = case.facts, case.policy.regulatory
    made = facts.reproduction
    common: dict[str, Any] = {
        "n": int(made is not None),
        "threshold": f"identical, or risks within {policy.reproduction_tolerance:g}",
        "threshold_source": RegulatoryPolicy.source("reproduction_tolerance"),
    }
    if made is None:
        remedy = f"`clinical reproduce {facts.cancer}` trains again and records what comes of it"
        return Finding(Verdict.INCONCLUSIVE, "the training has not been repeated", remedy, **common)
    difference = made.largest_difference
    common |= {"value": difference, "details": vars(made)}
    when = f"repeated on {made.performed_utc} by {made.actor}"
    if made.same_model and made.prediction_digest == made.reproduced_digest:
        return Finding(Verdict.PASS, f"{when}: the same model, the same predictions", **common)
    if difference <= policy.reproduction_tolerance:
        return Finding(
            Verdict.WARN, f"{when}: risks differ by up to {difference:.2g}", "find what rounds differently", **common
        )
    remedy = "find what is not fixed: row order, threads, seed, a library's version; then train and repeat again"
    return Finding(Verdict.BLOCK, f"{when}: another model, risks differ by up to {difference:.2g}", remedy, **common)


@check(GATE, "RG20", "Copies for people and machines, kept long enough", "years of retention")
def copies_and_retention(case: Case) -> Finding:
    """A bundle that people and machines read and that verifies without the platform; and how long it is kept."""
    facts, policy = case.facts, case.policy.regulatory
    bundle, years = facts.bundle, f"{policy.retention_years:g} years"
    common: dict[str, Any] = {
        "value": policy.retention_years,
        "n": len(bundle.readable) + len(bundle.electronic) if bundle else 0,
        "threshold": f"a copy of both kinds that verifies; at least {policy.min_retention_years:g} years",
        "threshold_source": f"21 CFR 11.10(b) and (c); {RegulatoryPolicy.source('min_retention_years')}",
        "details": vars(bundle) if bundle else {},
    }
    if policy.retention_years < policy.min_retention_years:
        reason = f"records are kept {years} only"
        return Finding(Verdict.BLOCK, reason, "raise gates.regulatory.retention_years", **common)
    write = f"`clinical evidence {facts.cancer}` writes it"
    if bundle is None and facts.first_verdict_utc is None:
        return Finding(Verdict.PASS, f"kept {years}; the bundle is written with the first verdict", **common)
    if bundle is None:
        return Finding(Verdict.INCONCLUSIVE, "the model was judged, and no bundle of it is there", write, **common)
    if bundle.faults:
        reason = f"bundle {bundle.digest[:12]} does not verify: {'; '.join(bundle.faults[:3])}"
        return Finding(Verdict.BLOCK, reason, f"remove it; {write} again", **common)
    missing = ["people"] * (not bundle.readable) + ["machines"] * (not bundle.electronic)
    if missing:
        reason = f"bundle {bundle.digest[:12]} has no copy for {' and '.join(missing)}"
        return Finding(Verdict.BLOCK, reason, write, **common)
    reason = f"bundle {bundle.digest[:12]} verifies offline: {len(bundle.readable)} files for people, "
    return Finding(Verdict.PASS, f"{reason}{len(bundle.electronic)} for machines; kept {years}", **common)

"""Gate 4, regulatory: no direct identifiers, signatures that belong to this model, a complete lineage.

A passed check says that a control has evidence here. It never says that a system complies: validation is the user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.gates.checks import Case, Finding, check, run_gate
from clinical_assets.gates.facts import ReleaseFacts, VerifiedApproval, utc_seconds
from clinical_assets.gates.identifiers import identifier_name, scan
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.thresholds import RegulatoryPolicy
from clinical_assets.gates.verdict import GateName, GateReport, Verdict
from clinical_assets.trials.data_status import SUBJECT_PREFIX
from clinical_assets.trials.placeholder import TO_BE_COMPLETED

GATE = GateName.REGULATORY
CLOCK_SKEW = 300.0
"""Seconds by which another machine's clock may run ahead when it issues a statement."""


def judge(facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    return run_gate(GATE, facts, policy)


@check(GATE, "RG1", "No identifier among the columns", "columns named like a direct identifier")
def identifier_columns(case: Case) -> Finding:
    """Columns of both frames and of the contract, source names included; the pseudonymous subject column is exempt."""
    facts = case.facts
    subject = {column.name for column in facts.contract.columns if column.role == "subject"} | {"subject_id"}
    kept = [column for column in facts.contract.columns if column.role == "feature" or column.sensitive]
    names = {*map(str, facts.train.columns), *map(str, facts.test.columns), *(column.name for column in kept)}
    names = (names | {column.source_name for column in kept}) - subject
    hits = {name: words for name in sorted(names) if (words := identifier_name(name)) is not None}
    common: dict[str, Any] = {
        "value": float(len(hits)),
        "n": len(names),
        "threshold": "0 of the 18 Safe Harbor classes",
        "threshold_source": "45 CFR 164.514(b)(2)",
        "details": {"columns": hits},
    }
    if hits:
        text = ", ".join(f"{name} ({words})" for name, words in hits.items())
        return Finding(
            Verdict.BLOCK, f"named like an identifier: {text}", "drop the column, or rename it if it is none", **common
        )
    return Finding(Verdict.PASS, f"none of {len(names)} columns", **common)


@check(GATE, "RG2", "No identifier among the values", "identifiers found")
def identifier_values(case: Case) -> Finding:
    """Distinct texts of every column, whole numbers too long for a measurement, kept texts, the model's files."""
    facts, policy = case.facts, case.policy.regulatory
    found, scanned = [], 0
    for place, values in _places(facts, policy.max_scanned_values):
        scanned += len(values)
        found += scan(place, values, policy.identifier_score, facts.known_contacts)
    common: dict[str, Any] = {
        "value": float(sum(entry.count for entry in found)),
        "n": scanned,
        "threshold": f"0 with score >= {policy.identifier_score:g}",
        "threshold_source": f"45 CFR 164.514(b)(2); {RegulatoryPolicy.source('identifier_score')}",
        "details": {"found": [vars(entry) for entry in found]},
    }
    if found:
        text = "; ".join(map(str, found[:5]))
        return Finding(
            Verdict.BLOCK,
            f"looks like identifiers: {text}",
            "remove the values at the source, then ingest again",
            **common,
        )
    return Finding(Verdict.PASS, f"none in {scanned} distinct values and lines", **common)


def _places(facts: ReleaseFacts, limit: int) -> Iterator[tuple[str, list[str]]]:
    """Where identifiers could hide, with the distinct texts there."""
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    for name in frame.columns:
        values = frame[name].dropna()
        if pd.api.types.is_datetime64_any_dtype(values):
            continue
        if pd.api.types.is_numeric_dtype(values):
            long = values[(values.abs() >= 1e8) & (values == values.round())]
            texts = [f"{name} {number:.0f}" for number in long.unique()]
        else:
            texts = [str(value) for value in values.unique()]
        yield f"column {name}", texts[:: -(-len(texts) // limit)] if len(texts) > limit else texts
    for name, text in facts.artifacts_text.items():
        yield name, text.splitlines()
    for path in _text_files(facts.model_dir):
        yield f"model file {path.name}", path.read_text(errors="replace").splitlines()


def _text_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.suffix in (".json", ".txt", ".md") and path.is_file())


@check(GATE, "RG6", "Audit trail verifies", "entries in the chain")
def audit_trail(case: Case) -> Finding:
    state = case.facts.audit
    common: dict[str, Any] = {
        "value": float(state.events),
        "n": state.events,
        "threshold": "chain intact",
        "threshold_source": "21 CFR 11.10(e); ICH E6(R3) 4.2.2",
    }
    if not state.chain_ok:
        return Finding(
            Verdict.BLOCK, f"audit chain broken: {state.problem}", "restore the log from its backup", **common
        )
    if state.events == 0:
        return Finding(Verdict.WARN, "the audit log is empty", "record the steps that led to this model", **common)
    return Finding(Verdict.PASS, f"{state.events} entries, chain intact", **common)


@check(GATE, "RG8", "Signatures belong to this model", "signatures that do not")
def signature_linking(case: Case) -> Finding:
    """Every signature verifies and names this digest, the model's own among them. A copied one names another model."""
    facts = case.facts
    broken = [f"{entry.kind} by {entry.signer}: {entry.problem or 'does not verify'}" for entry in facts.signatures
              if not entry.verified]  # fmt: skip
    foreign = [f"{entry.kind} by {entry.signer} covers another model" for entry in facts.signatures
               if entry.verified and entry.model_digest != facts.model_digest]  # fmt: skip
    common: dict[str, Any] = {
        "value": float(len(broken) + len(foreign)),
        "n": len(facts.signatures),
        "threshold": "0; at least the model's own signature present",
        "threshold_source": "21 CFR 11.70: signatures linked to their records",
        "details": {"broken": broken, "foreign": foreign},
    }
    if broken or foreign:
        return Finding(Verdict.BLOCK, "; ".join(broken + foreign), "sign this model anew", **common)
    if not any(entry.kind == "model" for entry in facts.signatures):
        return Finding(Verdict.BLOCK, "no signature over the model", "sign the model directory", **common)
    return Finding(Verdict.PASS, f"{len(facts.signatures)} signatures, all over this digest", **common)


@check(GATE, "RG10", "Approvals are valid", "approvals that are not")
def approval_validity(case: Case) -> Finding:
    """Approvals are needed for the last step only; those that are there must hold for this model, here and now."""
    facts, policy = case.facts, case.policy.regulatory
    faults = [
        f"{approval.name}: {fault}"
        for approval in facts.approvals
        for fault in _approval_faults(approval, facts, policy)
    ]
    common: dict[str, Any] = {
        "value": float(len(faults)),
        "n": len(facts.approvals),
        "threshold": f"0; at most {policy.approval_days:g} days, environment {policy.environment}, not by the author",
        "threshold_source": f"21 CFR 11.10(g), 11.50; {RegulatoryPolicy.source('approval_days')}",
        "details": {"faults": faults},
    }
    if faults:
        return Finding(Verdict.BLOCK, "; ".join(faults), "ask for a new approval of this model", **common)
    if not facts.approvals:
        return Finding(Verdict.WARN, "no approval yet; the last step of a rollout will need one", "", **common)
    return Finding(Verdict.PASS, f"approved by {', '.join(approval.name for approval in facts.approvals)}", **common)


def _approval_faults(approval: VerifiedApproval, facts: ReleaseFacts, policy: RegulatoryPolicy) -> list[str]:
    issued, expires = utc_seconds(approval.issued_utc), utc_seconds(approval.expires_utc)
    faults = {
        "is about another model": approval.model_digest != facts.model_digest,
        "is about another cancer type": approval.cancer != facts.cancer,
        f"is for environment {approval.environment}": approval.environment != policy.environment,
        "has expired": facts.now >= expires,
        f"is valid for more than {policy.approval_days:g} days": expires - issued
        > policy.approval_days * SECONDS_PER_DAY,
        "is issued in the future": issued > facts.now + CLOCK_SKEW,
        "comes from the author of the model": approval.name == facts.author,
    }
    return [what for what, fault in faults.items() if fault]


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


@check(GATE, "RG21", "Evidence comes from patients", "data status")
def evidence_from_patients(case: Case) -> Finding:
    """The manifest says whose data these are; subjects named like simulated ones are never taken for patients."""
    facts = case.facts
    status = facts.manifest.get("data_status")
    subjects = pd.concat([facts.train["subject_id"], facts.test["subject_id"]])
    invented = int(subjects.str.startswith(SUBJECT_PREFIX).sum())
    common: dict[str, Any] = {
        "value": status,
        "n": len(subjects),
        "threshold": "no simulated data; with them `shadow` at most",
        "threshold_source": "a verdict is about patients; a simulated cohort returns what was put into it",
        "details": {"simulated_identifiers": invented},
    }
    if status is None or (invented and status != "simulated"):
        return Finding(
            Verdict.BLOCK,
            f"{invented} subjects are named {SUBJECT_PREFIX}…, the manifest calls the data {status}",
            "declare `source.data_status` as it is, then ingest again",
            **common,
        )
    if status == "simulated":
        return Finding(
            Verdict.INCONCLUSIVE,
            "the data are simulated; they show that the platform works, not that the model does",
            "train on patients' data; no waiver replaces them",
            **common,
        )
    return Finding(Verdict.PASS, f"the data are {status}", **common)


@check(GATE, "RG13", "Declarations are complete", "declarations left to be completed")
def declarations(case: Case) -> Finding:
    """No placeholder of a draft stands in the contract, the manifest or a text that is kept."""
    facts = case.facts
    left = [f"contract.{key}" for key in _placeholders(facts.contract.model_dump(mode="json"))]
    left += [f"manifest.{key}" for key in _placeholders(facts.manifest)]
    left += [name for name, text in facts.artifacts_text.items() if TO_BE_COMPLETED in text]
    common: dict[str, Any] = {
        "value": float(len(left)),
        "n": 2 + len(facts.artifacts_text),
        "threshold": "0",
        "threshold_source": "TRIPOD+AI: data source, outcome and predictors with units; FDA 2025: context of use",
        "details": {"left": left},
    }
    if left:
        return Finding(
            Verdict.BLOCK,
            f"{len(left)} declarations are left to be completed: {', '.join(left[:5])}{', ...' * (len(left) > 5)}",
            f"replace each `{TO_BE_COMPLETED}` in the cancer type's file, then materialize it again",
            **common,
        )
    return Finding(Verdict.PASS, f"nothing is left open in {common['n']} texts", **common)


def _placeholders(value: Any, place: str = "") -> Iterator[str]:
    """Keys below which the placeholder stands; an entry of a list goes by its own name."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _placeholders(below, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for position, entry in enumerate(value):
            name = entry.get("name", position) if isinstance(entry, Mapping) else position
            yield from _placeholders(entry, f"{place}.{name}")
    elif isinstance(value, str) and TO_BE_COMPLETED in value:
        yield place

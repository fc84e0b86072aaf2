"""Faults of privacy, records, signatures and change control."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from benchmarks.gate_power.data_faults import chosen
from benchmarks.gate_power.fault import Severity, fault, generator
from benchmarks.gate_power.releases import Release
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.foundation.clock import SECONDS_PER_DAY, utc_iso
from clinical_assets.gates.facts import (
    AuditState,
    Baseline,
    ExportTable,
    PolicyLock,
    ReleaseFacts,
    SignatureFact,
    VerifiedApproval,
)
from clinical_assets.gates.verdict import GateName

GATE = GateName.REGULATORY
OTHER = "0" * 64


def with_column(release: Release, name: str, make: Callable[[pd.DataFrame], list[Any]]) -> ReleaseFacts:
    facts = release.facts
    train, test = (frame.assign(**{name: make(frame)}) for frame in (facts.train, facts.test))
    return replace(facts, train=train, test=test)


@fault(GATE, "a column named like an identifier", "RG1")
def identifier_column(release: Release, severity: Severity) -> ReleaseFacts:
    name = severity.of("postcode", "pat_mrn", "social_security_number")
    return with_column(release, name, lambda frame: [float(row % 90) for row in range(len(frame))])


@fault(GATE, "identifiers among the values", "RG2")
def identifier_values(release: Release, severity: Severity) -> ReleaseFacts:
    """A column of notes codes holds some e-mail addresses, telephone or social security numbers."""
    made = severity.of(
        lambda row: f"anna.b{row}@clinic{row % 7}.org", lambda row: f"+1 (212) 555-{row:04d}",
        lambda row: f"{536 + row % 90:03d}-{22 + row % 60:02d}-{4100 + row:04d}",
    )  # fmt: skip
    rng = generator(release, "identifier values")

    def values(frame: pd.DataFrame) -> list[str]:
        rows = chosen(frame, severity.of(0.005, 0.05, 1.0), rng, least=1)
        return [made(row) if hit else "A1" for row, hit in enumerate(rows)]

    return with_column(release, "code", values)


@fault(GATE, "free text among the columns", "RG3")
def free_text(release: Release, severity: Severity) -> ReleaseFacts:
    words = ("seen by doctor Miller on ward {0}", "patient {0} tolerated the treatment well and went home",
             "Mrs Smith, known since {0}, came with her daughter and complained about pain")  # fmt: skip
    rng = generator(release, "free text")

    def notes(frame: pd.DataFrame) -> list[str | None]:
        rows = chosen(frame, severity.of(0.05, 0.5, 1.0), rng)
        return [words[row % 3].format(row) if hit else None for row, hit in enumerate(rows)]

    return with_column(release, "remark", notes)


@fault(GATE, "an export with dates or high ages", "RG4")
def export_of_dates(release: Release, severity: Severity) -> ReleaseFacts:
    rows = len(release.facts.test)
    days = pd.Timestamp(2021, 1, 1) + pd.to_timedelta(range(rows), unit="D")
    column: dict[str, Any] = severity.of(
        {"age": [40.0 + number % 54 for number in range(rows)]}, {"seen_on": days},
        {"birth_date": days, "visit": days},
    )  # fmt: skip
    return replace(release.facts, exports=(ExportTable("extract", pd.DataFrame(column)),))


@fault(GATE, "an export with small groups", "RG5")
def small_groups(release: Release, severity: Severity) -> ReleaseFacts:
    """Counts by cell; the smallest is below the limit of eleven."""
    counts = [40, 25, severity.of(10, 5, 1)]
    table = ExportTable("table 1", pd.DataFrame({"group": ["a", "b", "c"], "patients": counts}), count="patients")
    return replace(release.facts, exports=(table,))


@fault(GATE, "a broken audit chain", "RG6")
def broken_chain(release: Release, severity: Severity) -> ReleaseFacts:
    """An entry without its reason, an entry that is gone, a chain that does not verify."""
    events = release.facts.audit.events
    return replace(
        release.facts,
        audit=severity.of(
            AuditState(True, events, gaps=("entry 3 has no reason",)),
            AuditState(True, events - 1, gaps=("decision record not in the trail",)),
            AuditState(False, events, "entry 5 does not continue entry 4"),
        ),
    )


@fault(GATE, "a forged signature", "RG8")
def forged(release: Release, severity: Severity) -> ReleaseFacts:
    kind = severity.of("waiver", "approval", "model")
    entry = SignatureFact(kind, "Dr Unknown", release.facts.model_digest, False, "the key is not on file")
    return replace(release.facts, signatures=(*release.facts.signatures, entry))


@fault(GATE, "a signature copied from another model", "RG8")
def copied(release: Release, severity: Severity) -> ReleaseFacts:
    entry = SignatureFact(severity.of("waiver", "approval", "model"), "Dr Weber", OTHER, True)
    return replace(release.facts, signatures=(*release.facts.signatures, entry))


def _approved(release: Release, **changes: Any) -> ReleaseFacts:
    facts = release.facts
    issued = facts.now - SECONDS_PER_DAY
    good = VerifiedApproval("Dr Weber", "biostatistician", "approval", facts.cancer, facts.model_digest,
                            release.policy.regulatory.environment, utc_iso(issued),
                            utc_iso(issued + 30 * SECONDS_PER_DAY), authentication="passphrase")  # fmt: skip
    judged = utc_iso(facts.now - 2 * SECONDS_PER_DAY)
    return replace(facts, approvals=(replace(good, **changes),), first_verdict_utc=judged)


@fault(GATE, "an expired approval", "RG10")
def expired(release: Release, severity: Severity) -> ReleaseFacts:
    days = severity.of(0.1, 5.0, 300.0)
    ended = release.facts.now - days * SECONDS_PER_DAY
    issued = utc_iso(ended - 30 * SECONDS_PER_DAY)
    facts = _approved(release, issued_utc=issued, expires_utc=utc_iso(ended))
    return replace(facts, first_verdict_utc=issued)


@fault(GATE, "an approval for elsewhere", "RG10")
def elsewhere(release: Release, severity: Severity) -> ReleaseFacts:
    return _approved(
        release,
        **severity.of({"environment": "staging"}, {"cancer": "another_cancer"}, {"model_digest": OTHER}),
    )


@fault(GATE, "approved by the author", "RG9", "RG10")
def self_approval(release: Release, severity: Severity) -> ReleaseFacts:
    return _approved(release, name=release.facts.author)


@fault(GATE, "approved before the gates had judged", "RG9")
def early_approval(release: Release, severity: Severity) -> ReleaseFacts:
    judged = utc_iso(release.facts.now - SECONDS_PER_DAY * (1.0 - severity.of(0.05, 0.5, 0.9)))
    return replace(_approved(release), first_verdict_utc=judged)


@fault(GATE, "a signature without meaning", "RG7")
def meaningless(release: Release, severity: Severity) -> ReleaseFacts:
    return _approved(release, **severity.of({"meaning": "ok"}, {"role": " "}, {"name": ""}))


@fault(GATE, "lineage with holes", "RG11")
def lineage(release: Release, severity: Severity) -> ReleaseFacts:
    lost = severity.of(("seed",), ("lock_digest",), ("data_digest", "split_digest", "commit"))
    return replace(
        release.facts, lineage={key: value for key, value in release.facts.lineage.items() if key not in lost}
    )


@fault(GATE, "policy changed after the test split was opened", "RG9")
def moved_policy(release: Release, severity: Severity) -> ReleaseFacts:
    """The policy on record was stricter: one threshold, several, or a check that was required."""
    content = json.loads(json.dumps(release.policy.content))
    performance = content["policy"]["performance"]
    performance["min_test_events"] += 1
    if severity is not Severity.MILD:
        performance["non_inferiority_margin"] /= 2
        performance["ici_max"] /= 2
    if severity is Severity.SEVERE:
        content["required"][GATE.value].append("RG12")
    lock = PolicyLock(sha256_json(content), content, "2026-01-01T00:00:00+00:00")
    return replace(release.facts, policy_lock=lock)


def _baseline(release: Release, use: str | None = None, **card: Any) -> ReleaseFacts:
    """A model that was approved before, equal to the candidate but for `card`."""
    facts = release.facts
    known = json.loads((facts.model_dir / "model.json").read_text())
    own = facts.declared.context_of_use.digest if facts.declared else OTHER
    approved = Baseline(OTHER, "Dr Weber", "2026-01-01T00:00:00+00:00", known | card, facts.manifest,
                        {**facts.lineage, "intended_use_digest": use or own})  # fmt: skip
    return replace(facts, baseline=approved)


@fault(GATE, "a change outside the change plan", "RG14")
def outside_plan(release: Release, severity: Severity) -> ReleaseFacts:
    """Another decision threshold, a feature that was not approved, another horizon."""
    card = json.loads((release.facts.model_dir / "model.json").read_text())
    threshold = float(card["decision_threshold"])
    moved = threshold - 0.06 if threshold > 0.06 else threshold + 0.06
    changed: dict[str, Any] = severity.of(
        {"decision_threshold": moved}, {"features": card["features"][1:] or [{"name": "other"}]}, {"horizon": 1.0}
    )
    return _baseline(release, **changed)


@fault(GATE, "another intended use", "RG14")
def another_use(release: Release, severity: Severity) -> ReleaseFacts:
    return _baseline(release, use=OTHER)


@fault(GATE, "a blinded trial's arm in use", "RG16")
def unblinded(release: Release, severity: Severity) -> ReleaseFacts | None:
    facts = release.facts
    if facts.declared is None:
        return None
    names = tuple(column.name for column in facts.contract.features)[: severity.of(1, 1, 2)]
    trial = facts.declared.trial.model_copy(update={"blinded": True, "unblinding_columns": names})
    return replace(facts, declared=facts.declared.model_copy(update={"trial": trial}))

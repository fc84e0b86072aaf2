"""From checks to a gate's verdict, and from five gates to the scope that they grant together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from clinical_assets.gates.facts import VerifiedWaiver, utc_seconds
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Scope, Tier, Verdict

NON_INFERIORITY = frozenset({"MP9", "MP10"})
"""INCONCLUSIVE here grants `shadow`: the paired evidence collected there decides."""

SAMPLE_SIZE = frozenset({"DQ17", "BI1", "BI2", "BI5", "BI6", "BI7", "BI12", "SE13"})
"""Checks that are INCONCLUSIVE only because a cohort, or a group in it, is small. The research tier tolerates them."""

SIMULATED = frozenset({"RG21"})
"""INCONCLUSIVE here grants `shadow` in both tiers, and no waiver widens it: no patient stands behind the evidence."""


@dataclass(frozen=True)
class Limit:
    """One reason why the scope is not wider than `scope`."""

    scope: Scope
    gate: GateName
    check_id: str
    reason: str


def gate_verdict(checks: Sequence[CheckResult], required: Sequence[str]) -> Verdict:
    """BLOCK for any BLOCK or ERROR, any required check that did not run, or no check at all.

    Then INCONCLUSIVE if a required check is, WARN if any check is less than PASS, else PASS.
    """
    verdicts = {check.verdict for check in checks}
    if not checks or set(required) - {check.id for check in checks}:
        return Verdict.BLOCK
    if verdicts & {Verdict.BLOCK, Verdict.ERROR}:
        return Verdict.BLOCK
    if any(check.verdict is Verdict.INCONCLUSIVE and check.id in required for check in checks):
        return Verdict.INCONCLUSIVE
    return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.WARN


def limits(
    reports: Mapping[GateName, GateReport], tier: Tier, waivers: Iterable[VerifiedWaiver], now: float
) -> list[Limit]:
    """Every reason that keeps the scope below `traffic`. The reports' own `verdict` fields are not trusted.

    now: seconds since the epoch; a waiver counts up to, and not at, its expiry.
    """
    waivers = tuple(waivers)
    found: list[Limit] = []
    subjects = {(report.cancer, report.model_digest) for report in reports.values()}
    if len(subjects) > 1:
        gate = next(iter(reports))
        found.append(Limit(Scope.NONE, gate, "", "the gate reports are about different models or cancer types"))
    for gate in GateName:
        report = reports.get(gate)
        if report is None or report.gate is not gate:
            found.append(Limit(Scope.NONE, gate, "", f"the {gate.value} gate did not run"))
            continue
        found += _blocks(report)
        for check in report.checks:
            if check.verdict is Verdict.INCONCLUSIVE and check.id in report.required:
                granted = _granted(check, report, tier, waivers, now)
                if granted is not Scope.TRAFFIC:
                    found.append(Limit(granted, gate, check.id, f"{check.id} is inconclusive: {check.reason}"))
    return found


def scope(reports: Mapping[GateName, GateReport], tier: Tier, waivers: Iterable[VerifiedWaiver], now: float) -> Scope:
    """What the five reports grant: `none`, `shadow` or `traffic` (research tier: on the research route only).

    A waiver counts only for exactly this check, cancer type and model digest, while unexpired, and up to its own scope.
    """
    return min((limit.scope for limit in limits(reports, tier, waivers, now)), key=_rank, default=Scope.TRAFFIC)


def _blocks(report: GateReport) -> list[Limit]:
    ran = {check.id for check in report.checks}
    if not ran or not report.required:
        return [Limit(Scope.NONE, report.gate, "", f"the {report.gate.value} gate ran or required no check")]
    missing = [
        Limit(Scope.NONE, report.gate, id, f"required check {id} did not run")
        for id in report.required
        if id not in ran
    ]
    failed = [
        Limit(Scope.NONE, report.gate, check.id, f"{check.id} {check.verdict}: {check.reason}")
        for check in report.checks
        if check.verdict in (Verdict.BLOCK, Verdict.ERROR)
    ]
    return missing + failed


def _granted(
    check: CheckResult, report: GateReport, tier: Tier, waivers: Sequence[VerifiedWaiver], now: float
) -> Scope:
    """What one INCONCLUSIVE required check leaves."""
    if check.id in SIMULATED:
        return Scope.SHADOW
    if tier is Tier.RESEARCH and check.id in NON_INFERIORITY | SAMPLE_SIZE:
        return Scope.TRAFFIC
    floor = Scope.SHADOW if check.id in NON_INFERIORITY else Scope.NONE
    waived = [waiver.scope for waiver in waivers if covers(waiver, check.id, report.cancer, report.model_digest, now)]
    return max([floor, *waived], key=_rank)


def covers(waiver: VerifiedWaiver, check_id: str, cancer: str, model_digest: str, now: float) -> bool:
    """Whether the waiver is about exactly this check on exactly this model, and still in force."""
    named = (waiver.check_id, waiver.cancer, waiver.model_digest) == (check_id, cancer, model_digest)
    return named and bool(model_digest) and now < utc_seconds(waiver.expires_utc)


def _rank(granted: Scope) -> int:
    return list(Scope).index(granted)

"""The five gates as asset checks: shown where people look, re-runnable for one partition, stopping a run early.

What a check shows grants nothing. The signed record of `gate_verdict` does, and it judges for itself.
"""

import time
from collections.abc import Iterable

import dagster as dg

from clinical_assets import metadata
from clinical_assets.audit.decision import DecisionRecord
from clinical_assets.catalog import load_catalog
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Scope, Verdict
from clinical_assets.gates.verdicts import limits
from clinical_assets.partitions import cancer_types
from clinical_assets.references import ModelReference, SnapshotReference, VerdictReference
from clinical_assets.rollout.champion import champion_of
from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry
from resources.object_store import ObjectStore

MODEL_GATES = (GateName.PERFORMANCE, GateName.BIAS, GateName.REGULATORY, GateName.SECURITY)
_WORST_FIRST = (Verdict.ERROR, Verdict.BLOCK, Verdict.INCONCLUSIVE, Verdict.WARN, Verdict.PASS)


@dg.asset_check(
    asset="raw_trial_data",
    name=GateName.DATA_QUALITY.value,
    blocking=True,
    partitions_def=cancer_types,
    description="Contract, values, units, dates, duplicates, outcomes, drift, provenance. BLOCK stops the run here.",
)
def data_quality_gate(
    context: dg.AssetCheckExecutionContext,
    raw_trial_data: SnapshotReference,
    object_store: ObjectStore,
    ledger_store: LedgerStore,
) -> dg.AssetCheckResult:
    from clinical_assets.release import data_facts, judge
    from clinical_assets.training_data import open_snapshot

    cancer = load_catalog()[raw_trial_data.cancer]
    champion = champion_of(ledger_store.ledger(), cancer.slug)
    facts = data_facts(cancer, open_snapshot(cancer.slug, raw_trial_data, object_store), champion, object_store)
    return as_check(judge(GateName.DATA_QUALITY, facts, cancer))


@dg.multi_asset_check(
    name="model_gates",
    specs=[dg.AssetCheckSpec(gate.value, asset="trained_model", partitions_def=cancer_types) for gate in MODEL_GATES],
    can_subset=True,
)
def model_gates(
    context: dg.AssetCheckExecutionContext,
    trained_model: ModelReference,
    object_store: ObjectStore,
    model_registry: ModelRegistry,
    ledger_store: LedgerStore,
) -> Iterable[dg.AssetCheckResult]:
    from clinical_assets.release import gather, judge, standing_record, verdict_input

    cancer = load_catalog()[trained_model.cancer]
    champion = champion_of(ledger_store.ledger(), cancer.slug)
    input_sha = verdict_input(cancer, trained_model, champion, ledger_store)
    standing = standing_record(cancer, trained_model, input_sha, object_store, ledger_store)
    gates = sorted(GateName(key.name) for key in context.selected_asset_check_keys)
    if standing is not None:
        reports = [standing.record.reports[gate] for gate in gates]
    else:
        facts = gather(cancer, trained_model, champion, object_store, model_registry, ledger_store)
        reports = [judge(gate, facts, cancer) for gate in gates]
    for report in reports:
        yield as_check(report, check_name=report.gate.value, asset_key=dg.AssetKey("trained_model"))


@dg.asset_check(
    asset="gate_verdict",
    name="grants_a_scope",
    blocking=True,
    partitions_def=cancer_types,
    description="Fails when the signed record grants nothing: no deployment follows in this run.",
)
def grants_a_scope(
    context: dg.AssetCheckExecutionContext, gate_verdict: VerdictReference, ledger_store: LedgerStore
) -> dg.AssetCheckResult:
    records = ledger_store.records()
    signed = records.find(gate_verdict.model_digest)
    if signed is None:
        return dg.AssetCheckResult(passed=False, description="no decision record; materialize gate_verdict")
    record = signed.record
    waivers = records.statements.waivers(record.cancer, record.model_digest, time.time())
    reasons = [limit.reason for limit in limits(record.reports, record.tier, waivers, time.time())]
    checks = [check for report in record.reports.values() for check in report.checks]
    return dg.AssetCheckResult(
        passed=record.scope is not Scope.NONE,
        description="; ".join(reasons) or f"the record grants {record.scope}",
        metadata={"scope": record.scope.value, "record": signed.digest, "checks": findings(checks)},
    )


def as_check(report: GateReport, **identity: object) -> dg.AssetCheckResult:
    """A report as the UI shows it: BLOCK fails, less than PASS fails as a warning, the worst findings come first."""
    blocked = report.verdict in (Verdict.BLOCK, Verdict.ERROR)
    worst = [check for check in ordered(report.checks) if check.verdict is not Verdict.PASS]
    return dg.AssetCheckResult(
        passed=report.verdict is Verdict.PASS,
        severity=dg.AssetCheckSeverity.ERROR if blocked else dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{check.id} {check.verdict}: {check.reason}" for check in worst) or "all checks passed",
        metadata={"verdict": report.verdict.value, "checks": findings(report.checks)},
        **identity,  # pyright: ignore[reportArgumentType]
    )


def ordered(checks: Iterable[CheckResult]) -> list[CheckResult]:
    return sorted(checks, key=lambda check: _WORST_FIRST.index(check.verdict))


def summary(record: DecisionRecord) -> str:
    """A short Markdown text on a record: what it grants, then what did not pass, worst first, each with its remedy."""
    checks = [check for report in record.reports.values() for check in report.checks]
    worst = [check for check in ordered(checks) if check.verdict is not Verdict.PASS]
    lines = [f"**Grants {record.scope}**: {len(checks) - len(worst)} of {len(checks)} checks passed.", ""]
    for check in worst:
        remedy = f" *What to do: {check.remedy}.*" if check.remedy else ""
        lines.append(f"- **{check.verdict}** {check.id} {check.title}: {check.reason}{remedy}")
    return "\n".join(lines)


def findings(checks: Iterable[CheckResult]) -> dg.TableMetadataValue | dg.TextMetadataValue:
    return metadata.table(
        [
            {
                "check": check.id,
                "verdict": check.verdict.value,
                "title": check.title,
                "value": ""
                if check.value is None
                else f"{check.value:.4g}"
                if isinstance(check.value, float)
                else check.value,
                "interval": f"{check.interval[0]:.4g} to {check.interval[1]:.4g}" if check.interval else "",
                "threshold": check.threshold,
                "n": check.n if check.n is not None else "",
                "events": check.events if check.events is not None else "",
                "reason": check.reason,
                "remedy": check.remedy,
            }
            for check in ordered(checks)
        ]
    )

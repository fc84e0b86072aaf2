"""Asset 4: one signed record of what five gates said about one model digest. A refusal is recorded like a pass."""

import time

import dagster as dg

from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.gate_checks import findings
from clinical_assets.gates.verdict import GateName, GateReport, Scope
from clinical_assets.lineage import code_digest, environment_digest
from clinical_assets.partitions import cancer_types
from clinical_assets.references import ModelReference, VerdictReference
from clinical_assets.rollout.champion import champion_of
from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry
from resources.object_store import ObjectStore


@dg.asset(
    partitions_def=cancer_types,
    group_name="trial_to_route",
    kinds={"json"},
    owners=["team:quality-assurance"],
    code_version=code_digest("gates"),
)
def gate_verdict(
    context: dg.AssetExecutionContext,
    trained_model: ModelReference,
    object_store: ObjectStore,
    model_registry: ModelRegistry,
    ledger_store: LedgerStore,
) -> dg.MaterializeResult[VerdictReference]:
    """The signed decision record of the five gates, bound to the model digest."""
    from clinical_assets.audit.records import Refused
    from clinical_assets.release import AUTHOR, gather, judge

    cancer = load_catalog()[context.partition_key]
    records = ledger_store.records()
    champion = champion_of(ledger_store.ledger(), cancer.slug)
    waivers = records.statements.waivers(cancer.slug, trained_model.digest, time.time())
    input_sha = sha256_json(
        [
            trained_model.model_dump(), cancer.gates.digest, cancer.tier, champion, [str(waiver) for waiver in waivers],
            code_digest("gates"), environment_digest(),
        ]
    )  # fmt: skip
    known = object_store.recall("gate_verdict", cancer.slug, input_sha, VerdictReference)
    if known is not None and known.scope != Scope.NONE:
        try:
            signed = records.require(trained_model.digest, cancer.slug, Scope(known.scope), time.time())
        except Refused as refusal:
            context.log.info(f"{cancer.slug}: judging again, because {refusal}")
        else:
            if signed.digest == known.record:
                return _result(known, list(signed.record.reports.values()), reused=True)

    facts = gather(cancer, trained_model, champion, object_store, model_registry, ledger_store)
    reports = []
    for gate in GateName:
        reports.append(judge(gate, facts, cancer))
        context.log.info(f"{cancer.slug}: {gate.value} gate: {reports[-1].verdict}")
    signed = records.issue(
        cancer=cancer.slug,
        model_digest=trained_model.digest,
        data_digests={key: str(facts.lineage[key]) for key in ("data_digest", "features_digest", "split_digest")},
        policy_digest=cancer.gates.digest,
        lineage=facts.lineage,
        reports=reports,
        tier=cancer.tier,
        actor=AUTHOR,
        now=time.time(),
        valid_days=cancer.gates.regulatory.approval_days,
    )
    reference = VerdictReference(
        cancer=cancer.slug, model_digest=trained_model.digest, record=signed.digest, scope=signed.record.scope.value
    )
    object_store.remember("gate_verdict", cancer.slug, input_sha, reference)
    return _result(reference, reports, reused=False)


def _result(
    reference: VerdictReference, reports: list[GateReport], reused: bool
) -> dg.MaterializeResult[VerdictReference]:
    checks = [check for report in reports for check in report.checks]
    return dg.MaterializeResult(
        value=reference,
        data_version=dg.DataVersion(reference.record),
        metadata={
            "reused": reused,
            "scope": reference.scope,
            "model_digest": reference.model_digest,
            "record": reference.record,
            **{report.gate.value: report.verdict.value for report in reports},
            "checks": findings(checks),
        },
    )

"""Asset 4: one signed record of what five gates said about one model digest. A refusal is recorded like a pass."""

import time
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from clinical_assets.audit.decision import SignedRecord
from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.evidence_bundle import StoredEvidence, store_evidence
from clinical_assets.gate_checks import findings, summary
from clinical_assets.gates.verdict import GateName
from clinical_assets.lineage import code_digest
from clinical_assets.partitions import cancer_types
from clinical_assets.references import ModelReference, VerdictReference
from clinical_assets.rollout.champion import champion_of
from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    from clinical_assets.gates.facts import ReleaseFacts


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
    from clinical_assets.release import AUTHOR, gather, judge, standing_record, verdict_input

    cancer = load_catalog()[context.partition_key]
    champion = champion_of(ledger_store.ledger(), cancer.slug)
    input_sha = verdict_input(cancer, trained_model, champion, ledger_store)
    standing = standing_record(cancer, trained_model, input_sha, object_store, ledger_store)

    @cache
    def facts() -> "ReleaseFacts":
        return gather(cancer, trained_model, champion, object_store, model_registry, ledger_store)

    if standing is not None:
        return _result(
            cancer, standing, store_evidence(cancer, standing, facts, object_store, ledger_store), reused=True
        )

    reports = []
    for gate in GateName:
        reports.append(judge(gate, facts(), cancer))
        context.log.info(f"{cancer.slug}: {gate.value} gate: {reports[-1].verdict}")
    signed = ledger_store.records().issue(
        cancer=cancer.slug,
        model_digest=trained_model.digest,
        data_digests={key: str(facts().lineage[key]) for key in ("data_digest", "features_digest", "split_digest")},
        policy_digest=cancer.gates.digest,
        lineage=facts().lineage,
        reports=reports,
        tier=cancer.tier,
        actor=AUTHOR,
        now=time.time(),
        valid_days=cancer.gates.regulatory.approval_days,
    )
    object_store.remember("gate_verdict", cancer.slug, input_sha, _reference(signed))
    return _result(cancer, signed, store_evidence(cancer, signed, facts, object_store, ledger_store), reused=False)


def _reference(signed: SignedRecord) -> VerdictReference:
    record = signed.record
    return VerdictReference(
        cancer=record.cancer, model_digest=record.model_digest, record=signed.digest, scope=record.scope.value
    )


def _result(
    cancer: CancerType, signed: SignedRecord, evidence: StoredEvidence, reused: bool
) -> dg.MaterializeResult[VerdictReference]:
    record = signed.record
    return dg.MaterializeResult(
        value=_reference(signed),
        data_version=dg.DataVersion(signed.digest),
        metadata={
            "reused": reused,
            "data_status": cancer.source.data_status,
            "scope": record.scope.value,
            "tier": record.tier.value,
            "model_digest": record.model_digest,
            "record": signed.digest,
            "expires": record.expires_utc,
            **{gate.value: report.verdict.value for gate, report in record.reports.items()},
            "summary": dg.MetadataValue.md(summary(record)),
            "report": dg.MetadataValue.path(evidence.report),
            "evidence": dg.MetadataValue.path(evidence.archive),
            "evidence_digest": evidence.reference.digest,
            "evidence_lock": evidence.lock,
            "checks": findings(check for report in record.reports.values() for check in report.checks),
        },
    )

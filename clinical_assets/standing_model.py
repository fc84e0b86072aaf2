"""The model of a cancer type that stands now, with the facts and the five reports on it, outside a Dagster run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clinical_assets.catalog import load_catalog
from clinical_assets.references import ModelReference
from clinical_assets.rollout.champion import champion_of

if TYPE_CHECKING:
    from clinical_assets.catalog import CancerType
    from clinical_assets.evidence_bundle import StoredEvidence
    from clinical_assets.gates.facts import ReleaseFacts
    from clinical_assets.gates.verdict import GateName, GateReport


class NoModel(ValueError):
    """Nothing has been trained for this cancer type."""


def standing_model(cancer: str) -> ModelReference:
    """What `trained_model` handed on last.

    Raises:
        NoModel: nothing has been trained.
        UnknownCancerType: no such cancer type; the message names the nearest.
    """
    from resources.object_store import ReferenceIOManager

    slug = load_catalog()[cancer].slug
    found = ReferenceIOManager().find("trained_model", slug, ModelReference)
    if found is None:
        raise NoModel(f"{slug}: no model has been trained; run `clinical backfill {slug}`")
    return found


def judge_standing_model(cancer: CancerType) -> tuple[ReleaseFacts, dict[GateName, GateReport]]:
    """The five gates on the model that stands now, by the functions that the run uses; nothing is recorded."""
    from clinical_assets.definitions import default_resources
    from clinical_assets.gates.verdict import GateName
    from clinical_assets.release import gather, judge

    model = standing_model(cancer.slug)
    resources = default_resources()
    store, registry, ledger = (resources[name] for name in ("object_store", "model_registry", "ledger_store"))
    facts = gather(cancer, model, champion_of(ledger.ledger(), cancer.slug), store, registry, ledger)
    return facts, {gate: judge(gate, facts, cancer) for gate in GateName}


def standing_evidence(cancer: CancerType) -> StoredEvidence | None:
    """The bundle of the model that stands now, outside a run; None before it has a decision record.

    Raises:
        NoModel: nothing has been trained.
    """
    from clinical_assets.definitions import default_resources
    from clinical_assets.evidence_bundle import store_evidence
    from clinical_assets.release import gather

    model = standing_model(cancer.slug)
    resources = default_resources()
    store, registry, ledger = (resources[name] for name in ("object_store", "model_registry", "ledger_store"))
    signed = ledger.records().find(model.digest)
    if signed is None:
        return None

    def facts() -> ReleaseFacts:
        return gather(cancer, model, champion_of(ledger.ledger(), cancer.slug), store, registry, ledger)

    return store_evidence(cancer, signed, facts, store, ledger)

"""What each asset is made from, as one digest a stage; with it, unchanged inputs are recognised without any work."""

from __future__ import annotations

from clinical_assets.catalog import CancerType
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.lineage import code_digest, environment_digest
from clinical_assets.references import FeaturesReference, ModelReference, SnapshotReference, VerdictReference
from clinical_assets.trials.sources.state import source_state
from resources.ledger_store import LedgerStore
from resources.object_store import ObjectStore, ReferenceIOManager


def snapshot_input(cancer: CancerType, data_cut: str) -> str:
    """
    Raises:
        SourceError: the source cannot be seen: a package or a file is missing.
    """
    source = cancer.source.model_dump(mode="json")
    return sha256_json([source_state(cancer.source), source, cancer.contract.digest, data_cut, code_digest("trials")])


def features_input(cancer: CancerType, snapshot: SnapshotReference) -> str:
    split = cancer.split.model_dump(mode="json")
    return sha256_json([snapshot.digest, cancer.contract.digest, split, code_digest("trials")])


def model_input(cancer: CancerType, features: FeaturesReference) -> str:
    options = cancer.models.model_dump(mode="json")
    return sha256_json(
        [features.digest, cancer.contract.digest, options, code_digest("modeling"), environment_digest()]
    )


def stale_asset(
    cancer: CancerType, object_store: ObjectStore, handed_on: ReferenceIOManager, ledger_store: LedgerStore
) -> str:
    """Name of the first asset whose inputs changed since it was made, or whose verdict no longer stands; "" if none.

    Costs a look at version numbers, file status and the index; no data are read.

    Raises:
        SourceError: the source cannot be seen: a package or a file is missing.
    """
    from clinical_assets.release import standing_answer, verdict_input
    from clinical_assets.rollout.champion import champion_of

    def standing(asset: str, input_sha: str, kind: type) -> object:
        made = object_store.recall(asset, cancer.slug, input_sha, kind)
        return made if made is not None and made == handed_on.find(asset, cancer.slug, kind) else None

    snapshot = standing("raw_trial_data", snapshot_input(cancer, data_cut=""), SnapshotReference)
    if not isinstance(snapshot, SnapshotReference):
        return "raw_trial_data"
    features = standing("features", features_input(cancer, snapshot), FeaturesReference)
    if not isinstance(features, FeaturesReference):
        return "features"
    model = standing("trained_model", model_input(cancer, features), ModelReference)
    if not isinstance(model, ModelReference):
        return "trained_model"
    champion = champion_of(ledger_store.ledger(), cancer.slug)
    input_sha = verdict_input(cancer, model, champion, ledger_store)
    verdict = standing("gate_verdict", input_sha, VerdictReference)
    if not isinstance(verdict, VerdictReference) or standing_answer(verdict, ledger_store) is None:
        return "gate_verdict"
    return ""

"""Asset 3: the best model that the data allow, calibrated, in data-only formats, tested on untouched patients."""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dagster as dg

from clinical_assets import evaluation, metadata
from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.freshness import model_input
from clinical_assets.lineage import code_digest
from clinical_assets.partitions import cancer_types
from clinical_assets.references import FeaturesReference, FittedModel, ModelReference
from clinical_assets.release import AUTHOR
from clinical_assets.training_data import TrainingData, open_training_data, provenance
from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry
from resources.network_fits import NetworkFitting
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    from clinical_assets.modeling.families import Fitter
    from clinical_assets.modeling.search import SearchResult


@dg.asset(
    partitions_def=cancer_types,
    group_name="trial_to_route",
    kinds={"mlflow", "xgboost", "pytorch"},
    owners=["team:machine-learning"],
    code_version=code_digest("modeling"),
)
def trained_model(
    context: dg.AssetExecutionContext,
    features: FeaturesReference,
    object_store: ObjectStore,
    model_registry: ModelRegistry,
    ledger_store: LedgerStore,
    network_fitting: NetworkFitting,
) -> dg.MaterializeResult[ModelReference]:
    """Cross-validated choice among families; the test split is opened once for each version."""
    cancer = load_catalog()[context.partition_key]
    input_sha = model_input(cancer, features)
    reference = object_store.recall("trained_model", cancer.slug, input_sha, ModelReference)
    if reference is not None:
        numbers = evaluation.load_headline(object_store.fetch("predictions", cancer.slug, reference.digest))
        return dg.MaterializeResult(
            value=reference,
            data_version=dg.DataVersion(reference.digest),
            metadata={
                "reused": True,
                "data_status": cancer.source.data_status,
                "family": reference.family,
                **_rounded(numbers),
            },
        )

    from clinical_assets.model_plots import pictures

    data = open_training_data(cancer, features, object_store)
    fitted = object_store.recall("fitted_model", cancer.slug, input_sha, FittedModel)
    if fitted is None:
        families = ", ".join(cancer.models.families)
        context.log.info(f"{cancer.slug}: searching {families} over {len(data.train)} patients")
        fits = network_fitting.fits(context, cancer)
        fitted = _fit(cancer, features, input_sha, data, fits, object_store, ledger_store)
        fits.forget()
    digest = fitted.digest
    predictions = object_store.fetch("predictions", cancer.slug, digest)
    numbers = evaluation.load_headline(predictions)
    plots = pictures(cancer, data.test, evaluation.load(predictions / "test.npz"))
    registered = model_registry.register(
        cancer=cancer.slug,
        digest=digest,
        model_dir=object_store.model(digest),
        contract=cancer.contract,
        parameters={
            **cancer.models.model_dump(mode="json"),
            "family": fitted.family,
            "chosen_because": fitted.chosen_because,
        },
        metrics={f"test_{name}": value for name, value in numbers.items()},
        plots=plots,
        tags={
            "cancer": cancer.slug,
            "data_status": cancer.source.data_status,
            "features": features.digest,
            "snapshot": features.snapshot.digest,
        },
    )
    reference = ModelReference(
        cancer=cancer.slug,
        digest=digest,
        family=fitted.family,
        input_sha=input_sha,
        features=features,
        mlflow_run=registered.run_id,
        mlflow_version=registered.version,
    )
    object_store.remember("trained_model", cancer.slug, input_sha, reference)
    return dg.MaterializeResult(
        value=reference,
        data_version=dg.DataVersion(digest),
        metadata={
            "reused": False,
            "data_status": cancer.source.data_status,
            "model_digest": digest,
            "family": fitted.family,
            "chosen_because": fitted.chosen_because,
            "mlflow": f"{registered.name} version {registered.version}",
            "evidence_tier": cancer.tier.value,
            **_rounded(numbers),
            "cross_validation": metadata.table(json.loads((predictions / "choice.json").read_text())["table"]),
            **{title: metadata.picture(png) for title, png in plots.items()},
        },
    )


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"test_{name}": round(value, 4) for name, value in numbers.items()}


def _fit(
    cancer: CancerType,
    features: FeaturesReference,
    input_sha: str,
    data: TrainingData,
    fits: "Fitter",
    object_store: ObjectStore,
    ledger_store: LedgerStore,
) -> FittedModel:
    """Search, store, sign and predict; kept, so that a registry that is away costs no second training."""
    from clinical_assets.modeling.search import search

    found = search(data.train, cancer.contract, cancer.models, fitter=fits)
    digest = _publish(cancer, found, features, input_sha, object_store, ledger_store)
    _open_test_split(cancer, digest, data, ledger_store)
    _predict(cancer, digest, found, data, object_store)
    fitted = FittedModel(digest=digest, family=found.family, chosen_because=found.reason)
    object_store.remember("fitted_model", cancer.slug, input_sha, fitted)
    return fitted


def _publish(
    cancer: CancerType,
    found: "SearchResult",
    features: FeaturesReference,
    input_sha: str,
    object_store: ObjectStore,
    ledger_store: LedgerStore,
) -> str:
    """Write the model directory under its digest, and its signature beside it."""
    from clinical_assets.audit.artifact_signature import sign_directory
    from clinical_assets.modeling.artifact import publish_model

    origin = provenance(cancer, features, input_sha)
    objects = object_store.objects()
    with TemporaryDirectory(prefix="model-") as aside:
        made = publish_model(found.candidate, Path(aside), cancer.contract, cancer.slug, origin)
        digest, signature = made.name, made.with_suffix(".sig")
        directory = objects.publish(f"models/{digest}", lambda place: shutil.copytree(made, place, dirs_exist_ok=True))
        if objects.read(f"models/{digest}.sig") is None:
            sign_directory(directory, signature, ledger_store.signer.key_store())
            objects.write_new(f"models/{digest}.sig", signature.read_bytes())
    return digest


def _open_test_split(cancer: CancerType, digest: str, data: TrainingData, ledger_store: LedgerStore) -> None:
    """Put on record which policy was fixed before this model first saw the test split."""
    from clinical_assets.audit.openings import TestSplitOpenings

    TestSplitOpenings(ledger_store.audit_log()).open(
        actor=AUTHOR,
        cancer=cancer.slug,
        model_digest=digest,
        split_digest=data.split_digest,
        policy=cancer.gates,
        now=time.time(),
    )


def _predict(
    cancer: CancerType, digest: str, found: "SearchResult", data: TrainingData, object_store: ObjectStore
) -> None:
    """Predictions of candidate and reference on the test split and out of fold, kept under the model's digest."""
    test = evaluation.predict(found.candidate, data.test, cancer.contract)
    kept = {
        "test": test,
        "reference_test": evaluation.predict(found.reference, data.test, cancer.contract),
        "out_of_fold": evaluation.out_of_fold(found.out_of_fold, found.subject_ids),
        "reference_out_of_fold": evaluation.out_of_fold(found.reference_out_of_fold, found.subject_ids),
    }
    choice: dict[str, Any] = {
        "family": found.family,
        "reason": found.reason,
        "table": found.cv_table,
        "seed": found.seed,
    }

    def fill(aside: Path) -> None:
        for name, predictions in kept.items():
            evaluation.save(aside / f"{name}.npz", predictions)
        choice["reference"] = found.reference.name
        (aside / "choice.json").write_bytes(canonical_json(choice))
        evaluation.save_headline(aside, evaluation.headline(data.test, cancer.contract, test))

    object_store.publish("predictions", cancer.slug, digest, fill)

"""A training repeated: same data, code, settings and seed must give the same model, file by file."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clinical_assets import evaluation
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.foundation.clock import utc_iso
from clinical_assets.gates.facts import Predictions, Reproduction
from clinical_assets.standing_model import standing_model
from clinical_assets.training_data import open_training_data, provenance

if TYPE_CHECKING:
    from clinical_assets.catalog import CancerType
    from resources.ledger_store import LedgerStore


class NotRepeatable(ValueError):
    """The inputs of the standing model are no longer those of its training."""


def repeat(cancer: CancerType, actor: str, ledger_store: LedgerStore) -> Reproduction:
    """Train again, compare with the standing model, and put the outcome on record. The test split stays closed.

    Raises:
        NoModel: nothing has been trained.
        NotRepeatable: code, settings or environment changed since; names the remedy.
    """
    from clinical_assets.audit.reproductions import record_reproduction
    from clinical_assets.freshness import model_input
    from clinical_assets.modeling.artifact import publish_model
    from clinical_assets.modeling.search import search
    from resources.object_store import ObjectStore

    store, model = ObjectStore(), standing_model(cancer.slug)
    if model_input(cancer, model.features) != model.input_sha:
        raise NotRepeatable(
            f"{cancer.slug}: code, settings or environment changed since model {model.digest[:12]} was trained; "
            "go back to its commit and lock file, or train anew"
        )
    data = open_training_data(cancer, model.features, store)
    found = search(data.train, cancer.contract, cancer.models)
    origin = provenance(cancer, model.features, model.input_sha)
    with tempfile.TemporaryDirectory(prefix="repeat-") as aside:
        again = publish_model(found.candidate, Path(aside), cancer.contract, cancer.slug, origin).name
    before = evaluation.load(store.fetch("predictions", cancer.slug, model.digest) / "out_of_fold.npz")
    after = evaluation.out_of_fold(found.out_of_fold, found.subject_ids)
    made = Reproduction(
        performed_utc=utc_iso(time.time()),
        actor=actor,
        same_model=again == model.digest,
        prediction_digest=prediction_digest(before),
        reproduced_digest=prediction_digest(after),
        largest_difference=largest_difference(before, after),
    )
    record_reproduction(ledger_store.audit_log(), cancer.slug, model.digest, made)
    return made


def prediction_digest(predictions: Predictions) -> str:
    """SHA-256 over subjects and risks, in order of subject, bit by bit."""
    order = np.argsort(predictions.subject_ids.astype(str), kind="stable")
    subjects = predictions.subject_ids.astype(str)[order].tolist()
    return sha256_bytes(canonical_json(subjects) + predictions.risk[order].astype("<f8").tobytes())


def largest_difference(one: Predictions, other: Predictions) -> float:
    """Between the risks of the same subjects; 1 when they are not the same subjects."""
    orders = [np.argsort(each.subject_ids.astype(str), kind="stable") for each in (one, other)]
    subjects = [each.subject_ids.astype(str)[order] for each, order in zip((one, other), orders, strict=True)]
    if not np.array_equal(subjects[0], subjects[1]):
        return 1.0
    return float(np.max(np.abs(one.risk[orders[0]] - other.risk[orders[1]]), initial=0.0))

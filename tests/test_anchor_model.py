"""The first approved model is found in the records and scored on the patients of today's test split."""

from __future__ import annotations

import numpy as np
import pytest

from clinical_assets.anchor_model import anchor_predictions
from clinical_assets.training_data import TrainingData
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from resources.object_store import ObjectStore

from .gates.cohorts import ROOT, release, with_contract


@pytest.fixture(scope="module")
def data() -> TrainingData:
    from clinical_assets.catalog import load_catalog

    facts, cancer = release("colon"), load_catalog()["colon"]
    snapshot = ingest("colon", cancer.source, cancer.contract, SnapshotStore(ROOT))
    return TrainingData(snapshot, facts.train, facts.test, facts.split.digest)


@pytest.fixture
def store() -> ObjectStore:
    return ObjectStore(root=str(ROOT))


def test_it_is_scored_on_the_test_split(data, store):
    facts = release("colon")
    found = anchor_predictions(facts.model_digest, facts.contract, data, store)
    assert found is not None
    assert np.array_equal(found.risk, facts.test_pred.risk)


def test_without_an_anchor_there_is_nothing_to_compare(data, store):
    assert anchor_predictions("", release("colon").contract, data, store) is None


def test_a_model_that_is_gone_or_was_made_for_other_columns_is_not_compared(data, store):
    facts = release("colon")
    assert anchor_predictions("0" * 64, facts.contract, data, store) is None
    other = with_contract(facts, "differ", role="ignored", reason="no longer recorded").contract
    assert anchor_predictions(facts.model_digest, other, data, store) is None

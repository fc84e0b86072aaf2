"""Real cohorts from the catalogue, and one fitted model of each family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest

from clinical_assets.catalog import load_catalog
from clinical_assets.modeling.encoder import features_of
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.snapshot import SnapshotStore, ingest


@dataclass(frozen=True)
class Cohort:
    """One cancer type's canonical table with its contract, split into training and test rows."""

    slug: str
    frame: pd.DataFrame
    contract: CohortContract
    in_training: np.ndarray

    @property
    def train(self) -> pd.DataFrame:
        return self.frame[self.in_training].reset_index(drop=True)

    @property
    def test(self) -> pd.DataFrame:
        return self.frame[~self.in_training].reset_index(drop=True)

    @property
    def horizon(self) -> float | None:
        return self.contract.endpoint.horizon_days

    def outcomes(self, frame: pd.DataFrame) -> Outcomes:
        return Outcomes.from_frame(frame, self.contract.endpoint)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cohort]:
    store = SnapshotStore(tmp_path_factory.mktemp("store"))

    @cache
    def read(slug: str) -> Cohort:
        cancer = load_catalog()[slug]
        frame = ingest(slug, cancer.source, cancer.contract, store).read()
        side = cancer.subject_split.assign(frame["subject_id"].to_numpy())
        return Cohort(slug, frame, cancer.contract, side == "train")

    return read


@pytest.fixture(scope="session")
def fitted(cohort: Callable[[str], Cohort]) -> Callable[[str, str], FamilyModel]:
    """`fitted(slug, family)`: fitted on the cohort's training subjects."""

    @cache
    def fit(slug: str, family: str) -> FamilyModel:
        data = cohort(slug)
        model = FamilyModel(family, features_of(data.contract), data.contract.endpoint.kind, 7, data.horizon)
        return model.fit(data.train, data.outcomes(data.train))

    return fit


@pytest.fixture
def censored() -> tuple[Outcomes, np.ndarray]:
    """Simulated follow-up with tied times and an informative risk."""
    rng = np.random.default_rng(3)
    score = rng.normal(size=150)
    event_time = rng.exponential(np.exp(-score)) * 400.0
    censor_time = rng.uniform(50.0, 900.0, size=150)
    time = np.ceil(np.minimum(event_time, censor_time) / 20.0) * 20.0
    return Outcomes.survival(time, event_time <= censor_time), np.round(score, 1)

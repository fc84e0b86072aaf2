"""The cohorts of the catalogue as tables with outcomes, and the outer folds that all procedures share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.canonical_table import canonical_table
from clinical_assets.trials.sources.read import read_source
from clinical_assets.trials.table_digest import table_sha256


class Subjects(StrEnum):
    """Whose data the comparison uses."""

    ALL = "all"
    TRAINING = "training"


@dataclass(frozen=True)
class Cohort:
    """Canonical table `frame` with its `outcomes`; `data_sha256` covers the values, the contract and the choice."""

    cancer: CancerType
    frame: pd.DataFrame
    outcomes: Outcomes
    data_sha256: str

    def describe(self) -> dict[str, Any]:
        """What a reader of the results needs to know of the cohort; no patient's data."""
        endpoint = self.cancer.contract.endpoint
        return {
            "title": self.cancer.title,
            "kind": self.outcomes.kind,
            "endpoint": endpoint.name,
            "horizon_days": self.horizon,
            "subjects": self.outcomes.n,
            "events": self.outcomes.events,
            "events_by_horizon": int(self.strata.sum()),
            "features": len(self.cancer.contract.features),
            "source": self.cancer.source.label,
            "data_status": self.cancer.source.data_status,
            "data_sha256": self.data_sha256,
        }

    @property
    def horizon(self) -> float | None:
        return self.cancer.contract.endpoint.horizon_days

    @property
    def strata(self) -> np.ndarray:
        """(n,) bool: the label, or an event by the horizon; only such events count in the truncated measures."""
        return (
            self.outcomes.flag if self.horizon is None else self.outcomes.flag & (self.outcomes.times() < self.horizon)
        )

    def folds(self, folds: int, repeats: int, seed: int) -> list[np.ndarray]:
        """One (n,) assignment to 0..folds-1 for each repeat, the same for every procedure.

        Raises:
            ValueError: fewer early events than folds.
        """
        strata = Outcomes.binary(self.strata)
        return [stratified_folds(strata, folds, seed + repeat) for repeat in range(repeats)]


@lru_cache(maxsize=1)
def load_cohort(slug: str, subjects: Subjects) -> Cohort:
    """Read a cohort from its source; `training` leaves the locked test split closed.

    Raises:
        TrialDataError: the source is absent, changed, or breaks its contract.
        UnknownCancerType: no such slug.
    """
    cancer = load_catalog()[slug]
    frame = canonical_table(read_source(cancer.source, cancer.contract), cancer.contract)
    if subjects is Subjects.TRAINING:
        frame, _ = cancer.subject_split.parts(frame)
    digest = sha256_json([table_sha256(frame), cancer.contract.digest, subjects.value])
    return Cohort(cancer, frame, Outcomes.from_frame(frame, cancer.contract.endpoint), digest)

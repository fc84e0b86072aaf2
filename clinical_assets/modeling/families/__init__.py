"""Model families: each learns a score from encoded rows. Adding one means one module and one line in `TRAINERS`."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np

from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.scores import Score

TRAINERS = {
    "cox": "clinical_assets.modeling.families.cox",
    "xgboost": "clinical_assets.modeling.families.xgboost_model",
    "torch": "clinical_assets.modeling.families.torch_model",
}


class Trainer(Protocol):
    """Learns a log hazard ratio for survival outcomes, log odds for binary ones."""

    def __call__(self, encoded: np.ndarray, outcomes: Outcomes, seed: int) -> Score: ...


def trainer(family: str) -> Trainer:
    """The family's `train` function; its libraries are imported here and not before.

    Raises:
        KeyError: unknown family.
    """
    if family not in TRAINERS:
        raise KeyError(f"unknown model family {family!r}; known: {', '.join(TRAINERS)}")
    return import_module(TRAINERS[family]).train

"""Model families: each learns predictors from encoded rows. Adding one means one module and one line in `TRAINERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clinical_assets.modeling.options import Device
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import LogOdds, Predictor, ProportionalHazards
from clinical_assets.modeling.scores import Score

if TYPE_CHECKING:
    from clinical_assets.modeling.batched_networks import Fitted, Network

TRAINERS = {
    "cox": "clinical_assets.modeling.families.cox",
    "discrete": "clinical_assets.modeling.families.discrete",
    "xgboost": "clinical_assets.modeling.families.xgboost_model",
    "torch": "clinical_assets.modeling.families.torch_model",
    "rsf": "clinical_assets.modeling.families.survival_forest",
}


Fitter = Callable[[Sequence["Network"], str], list["Fitted"]]
"""Fits a batch of networks on a device, wherever that is; the weights come in the order of the networks."""


@dataclass(frozen=True)
class Job:
    """One training set: `encoded` (n, columns), standardised by an encoder that saw these rows alone, with their
    `outcomes`; `horizon` in days at which risk will be stated, None for a binary endpoint; `device` for families that
    can use a GPU; `fitter` for those that can be fitted elsewhere, None for this process."""

    encoded: np.ndarray
    outcomes: Outcomes
    horizon: float | None
    seed: int
    device: Device = "cpu"
    fitter: Fitter | None = None

    def predictor(self, score: Score) -> Predictor:
        """What a score of one output predicts: hazard ratios over Breslow's baseline, or log odds."""
        if self.outcomes.kind == "survival":
            return ProportionalHazards.fit(score, self.encoded, self.outcomes)
        return LogOdds(score)


class Trainer(Protocol):
    """Learns many training sets at once, so that a family may train them as one batch; one predictor per job."""

    def __call__(self, jobs: Sequence[Job]) -> list[Predictor]: ...


def trainer(family: str) -> Trainer:
    """The family's `train` function; its libraries are imported here and not before.

    Raises:
        KeyError: unknown family.
    """
    if family not in TRAINERS:
        raise KeyError(f"unknown model family {family!r}; known: {', '.join(TRAINERS)}")
    return import_module(TRAINERS[family]).train

"""What new data are compared with: the champion's training data if a champion answers, else training against test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case
from clinical_assets.trials.contract import CohortContract, Column


@dataclass(frozen=True)
class Comparison:
    """`current` rows against `reference` rows; `name` says which they are. Neither is empty."""

    name: str
    reference: pd.DataFrame
    current: pd.DataFrame

    def columns(self, contract: CohortContract) -> tuple[Column, ...]:
        """The value columns of the contract that both frames hold."""
        held = set(self.reference.columns) & set(self.current.columns)
        return tuple(column for column in contract.attributes if column.name in held)


def comparisons(case: Case) -> tuple[Comparison, ...]:
    """Both sides of the split against the champion's training data, or the test split against the training split."""
    facts = case.facts
    if facts.champion_train is not None and len(facts.champion_train):
        pairs = [(f"{side} against the champion's training data", facts.champion_train, frame)
                 for side, frame in (("train", facts.train), ("test", facts.test))]  # fmt: skip
    else:
        pairs = [("test against train", facts.train, facts.test)]
    return tuple(Comparison(*pair) for pair in pairs if len(pair[1]) and len(pair[2]))


def measured(frame: pd.DataFrame, name: str) -> np.ndarray:
    """The finite numbers of a column, float64; text that is no number counts as missing."""
    values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return values[np.isfinite(values)]


def categories(frame: pd.DataFrame, name: str) -> pd.Series:
    """Rows per category, missing values left out; index of text."""
    return frame[name].dropna().astype(str).value_counts()

"""The design matrix of a careful analyst: median imputation with indicators, one-hot levels, standardised columns.

Learnt on the training part of each fold, with scikit-learn alone: the platform's encoder has no part in it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.model_quality.task import Task

RARE = 5
"""Levels with fewer training subjects are merged; a column on which fewer subjects deviate is dropped."""
_ABSENT = "not recorded"


def linear_design(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """(n, p) training and test matrices without gaps, standardised, one reference level per category left out."""
    train, test = _design(task, imputed=True, drop="first")
    scaler = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def forest_design(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """(n, p) matrices without gaps on the original scale, every level."""
    return _design(task, imputed=True, drop=None)


def boosting_design(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """(n, p) matrices on the original scale, every level; numbers that are missing stay NaN, which XGBoost handles."""
    return _design(task, imputed=False, drop=None)


def _design(task: Task, imputed: bool, drop: str | None) -> tuple[np.ndarray, np.ndarray]:
    features = task.cancer.contract.features
    numeric = [column.name for column in features if column.dtype != "category"]
    categories = [column.name for column in features if column.dtype == "category"]
    numbers = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    levels = OneHotEncoder(
        drop=drop, min_frequency=RARE, handle_unknown="infrequent_if_exist", sparse_output=False, dtype=np.float64
    )
    columns = ColumnTransformer(
        [("numbers", numbers if imputed else "passthrough", numeric), ("levels", levels, categories)]
    )
    train = columns.fit_transform(_typed(task.train, numeric, categories))
    test = columns.transform(_typed(task.test, numeric, categories))
    varied = [_deviating(column) >= RARE for column in train.T]
    return train[:, varied], test[:, varied]


def _typed(frame: pd.DataFrame, numeric: list[str], categories: list[str]) -> pd.DataFrame:
    text = frame[categories].astype(object)
    return pd.concat([frame[numeric].astype(np.float64), text.where(text.notna(), _ABSENT)], axis=1)


def _deviating(column: np.ndarray) -> int:
    """How many subjects do not hold the most common value; gaps count as one value."""
    _, counts = np.unique(column, return_counts=True, equal_nan=True)
    return len(column) - int(counts.max())

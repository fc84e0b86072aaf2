"""From named clinical columns to the standardised matrix that every family learns on.

Missing numbers take the training median and raise an indicator column where training data had enough gaps to learn
from; long-tailed non-negative numbers are logged; categories become one column per level of the contract. Everything
learnt is plain data, so the serving path needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from clinical_assets.trials.contract import CohortContract

SKEW_LIMIT = 2.0
INDICATOR_ROWS = 10
_QUANTILES = np.linspace(0.01, 0.99, 11)


@dataclass(frozen=True)
class Feature:
    """One model input. `levels` are the categories in contract order, empty for numbers and booleans."""

    name: str
    dtype: str
    levels: tuple[str, ...] = ()

    def code(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        """(n,) float64: the number, or the position of the level; NaN where missing.

        Raises:
            ValueError: a value that is no level, or no finite number.
        """
        if self.dtype != "category":
            try:
                numbers = np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(f"feature {self.name!r}: not a number in {len(values)} rows ({error})") from error
            if np.isinf(numbers).any():
                raise ValueError(f"feature {self.name!r}: {int(np.isinf(numbers).sum())} infinite values")
            return numbers
        position = {level: float(index) for index, level in enumerate(self.levels)}
        coded = [np.nan if _absent(value) else position.get(str(value)) for value in values]
        unknown = sum(value is None for value in coded)
        if unknown:
            raise ValueError(
                f"feature {self.name!r}: {unknown} of {len(coded)} rows hold a category outside the contract "
                f"({', '.join(self.levels)}); correct the data or extend `categories`"
            )
        return np.asarray(coded, dtype=np.float64)


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


@dataclass(frozen=True)
class Encoder:
    """Learnt encoding. Arrays have one entry per output column: `source` is the input feature, `level` the category
    position (-1 number, -2 missing indicator), then log flag, fill value, mean and scale."""

    features: tuple[Feature, ...]
    source: np.ndarray
    level: np.ndarray
    logged: np.ndarray
    fill: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    profile: dict[str, dict[str, Any]]

    @classmethod
    def fit(cls, features: Sequence[Feature], frame: pd.DataFrame) -> Encoder:
        """Learn the encoding from the training rows alone."""
        features = tuple(features)
        codes = encode_columns(features, frame)
        columns: list[tuple[int, int, bool, float]] = []
        profile = {}
        for index, feature in enumerate(features):
            values = codes[:, index]
            seen = values[~np.isnan(values)]
            profile[feature.name] = _profile(feature, values, seen)
            if feature.dtype == "category":
                columns += [(index, level, False, np.nan) for level in range(len(feature.levels))]
            else:
                logged = feature.dtype != "boolean" and _long_tailed(seen)
                fill = float(np.median(seen)) if len(seen) else 0.0
                columns.append((index, -1, logged, fill))
            if min(len(seen), len(values) - len(seen)) >= INDICATOR_ROWS:
                columns.append((index, -2, False, np.nan))
        source, level, logged_flags, fills = (np.asarray(part) for part in zip(*columns, strict=True))
        width = len(columns)
        draft = cls(features, source, level, logged_flags, fills, np.zeros(width), np.ones(width), profile)
        raw = draft._encode(codes)
        spread = raw.std(axis=0)
        scale = np.where(spread > 1e-12, spread, 1.0)
        return cls(features, source, level, logged_flags, fills, raw.mean(axis=0), scale, profile)

    def transform(self, frame: pd.DataFrame | Sequence[Mapping[str, Any]]) -> np.ndarray:
        """(n, columns) standardised matrix; the order of the input columns does not matter.

        Raises:
            ValueError: a feature is absent or holds an impossible value; the message names it.
        """
        return self._encode(encode_columns(self.features, frame))

    def _encode(self, codes: np.ndarray) -> np.ndarray:
        values = codes[:, self.source]
        gaps = np.isnan(values)
        numbers = np.where(gaps, self.fill, values)
        np.log1p(numbers, out=numbers, where=self.logged & (numbers > -1.0))
        encoded = np.where(self.level >= 0, values == self.level, np.where(self.level == -2, gaps, numbers))
        return (encoded - self.mean) / self.scale

    @property
    def column_names(self) -> list[str]:
        """Names of the encoded columns, for coefficient tables."""
        names = []
        for source, level in zip(self.source, self.level, strict=True):
            feature = self.features[source]
            suffix = {-1: "", -2: " missing"}.get(int(level)) if level < 0 else f"={feature.levels[level]}"
            names.append(f"{feature.name}{suffix}")
        return names

    def state(self) -> dict[str, Any]:
        """Plain data from which `from_state` rebuilds the encoder exactly."""
        return {
            "features": [{"name": f.name, "dtype": f.dtype, "levels": list(f.levels)} for f in self.features],
            "source": self.source.tolist(),
            "level": self.level.tolist(),
            "logged": self.logged.tolist(),
            "fill": [None if np.isnan(value) else float(value) for value in self.fill],
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "profile": self.profile,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(
            tuple(Feature(f["name"], f["dtype"], tuple(f["levels"])) for f in state["features"]),
            np.asarray(state["source"], dtype=np.int64),
            np.asarray(state["level"], dtype=np.int64),
            np.asarray(state["logged"], dtype=bool),
            np.asarray([np.nan if value is None else value for value in state["fill"]], dtype=np.float64),
            np.asarray(state["mean"], dtype=np.float64),
            np.asarray(state["scale"], dtype=np.float64),
            dict(state["profile"]),
        )


def encode_columns(features: Sequence[Feature], frame: pd.DataFrame | Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(n, len(features)) float64 codes, columns taken by name.

    Raises:
        ValueError: a feature is absent; the message names all that are.
    """
    rows = len(frame)
    columns: dict[str, Any]
    if isinstance(frame, Sequence):
        absent = [f.name for f in features if any(f.name not in row for row in frame)]
        columns = {f.name: [row[f.name] for row in frame] for f in features if f.name not in absent}
    else:
        absent = [f.name for f in features if f.name not in frame.columns]
        columns = {f.name: frame[f.name] for f in features if f.name not in absent}
    if absent:
        raise ValueError(f"{rows} rows lack the feature column {', '.join(map(repr, absent))}")
    codes = np.empty((rows, len(features)))
    for index, feature in enumerate(features):
        codes[:, index] = feature.code(_values(columns[feature.name]))
    return codes


def _values(column: pd.Series | Sequence[Any]) -> Sequence[Any] | np.ndarray:
    """Numbers as they are; everything else as Python objects with None for missing."""
    if isinstance(column, Sequence):
        return column
    if column.dtype.kind in "fiub":
        return column.to_numpy()
    return column.astype(object).where(column.notna(), None).tolist()


def features_of(contract: CohortContract) -> tuple[Feature, ...]:
    """Model inputs of a contract, in its order."""
    return tuple(Feature(column.name, column.dtype, column.categories or ()) for column in contract.features)


def _long_tailed(values: np.ndarray) -> bool:
    """Skewness above 2 on non-negative values, as for node counts and receptor levels."""
    if len(values) < 20 or values.min() < 0 or values.std() == 0:
        return False
    return float(np.mean(((values - values.mean()) / values.std()) ** 3)) > SKEW_LIMIT


def _profile(feature: Feature, values: np.ndarray, seen: np.ndarray) -> dict[str, Any]:
    """Marginal distribution in training: quantiles or level frequencies, and the share missing. No patient's row."""
    missing = 1.0 - len(seen) / max(len(values), 1)
    if feature.dtype == "category":
        counts = np.bincount(seen.astype(int), minlength=len(feature.levels))
        return {"missing": missing, "frequencies": (counts / max(len(seen), 1)).tolist()}
    quantiles = np.quantile(seen, _QUANTILES).tolist() if len(seen) else []
    return {"missing": missing, "quantiles": quantiles}

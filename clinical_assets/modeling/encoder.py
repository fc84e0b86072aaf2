"""From named clinical columns to the standardised matrix that every family learns on.

Missing numbers take the training median and raise an indicator column where training data had enough gaps to learn
from; long-tailed non-negative numbers are logged; categories become one column per level of the contract and, from
three levels on, a column of the level's position, since contracts list stages and grades in order. Everything learnt is
plain data, so the serving path needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from clinical_assets.trials.contract import CohortContract

SKEW_LIMIT = 2.0
INDICATOR_ROWS = 10
_QUANTILES = np.linspace(0.01, 0.99, 11)
_UNKNOWN = -1.0
_CONSTANT = 1e-9
_FEW = 64
_BLOCK = 1 << 14


@dataclass(frozen=True)
class Feature:
    """One model input. `levels` are the categories in contract order, empty for numbers and booleans."""

    name: str
    dtype: str
    levels: tuple[str, ...] = ()

    @cached_property
    def _position(self) -> dict[str, float]:
        return {level: float(index) for index, level in enumerate(self.levels)}

    def code(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        """(n,) float64: the number, or the position of the level; NaN where missing.

        Raises:
            ValueError: a value that is no level, or no finite number.
        """
        return self._codes_of_levels(values) if self.dtype == "category" else self._numbers(values)

    def code_one(self, value: Any) -> float:
        """The same for one value.

        Raises:
            KeyError, TypeError, ValueError: an impossible value, which `code` explains.
        """
        if _absent(value):
            return np.nan
        return self._position[str(value)] if self.dtype == "category" else float(value)

    def _numbers(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        try:
            present = values if isinstance(values, np.ndarray) else [np.nan if v is None else v for v in values]
            numbers = np.asarray(present, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"feature {self.name!r}: not a number in {len(values)} rows ({error})") from error
        if np.isinf(numbers).any():
            raise ValueError(f"feature {self.name!r}: {int(np.isinf(numbers).sum())} infinite values")
        return numbers

    def _codes_of_levels(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Each distinct value is looked up once."""
        if len(values) > _FEW:
            which, distinct = pd.factorize(np.asarray(values, dtype=object), use_na_sentinel=True)
        else:
            which, distinct = np.arange(len(values)), values
        found = [np.nan if _absent(value) else self._position.get(str(value), _UNKNOWN) for value in distinct]
        codes = np.array([*found, np.nan])[which]
        unknown = int((codes == _UNKNOWN).sum())
        if unknown:
            raise ValueError(
                f"feature {self.name!r}: {unknown} of {len(codes)} rows hold a category outside the contract "
                f"({', '.join(self.levels)}); correct the data or extend `categories`"
            )
        return codes


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


@dataclass(frozen=True)
class Encoder:
    """Learnt encoding. Arrays have one entry per output column: `source` is the input feature, `level` the category
    position (-1 the code itself, -2 missing indicator), then the unit in which a long-tailed number is logged (0: not),
    fill value, mean and scale."""

    features: tuple[Feature, ...]
    source: np.ndarray
    level: np.ndarray
    log_unit: np.ndarray
    fill: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    profile: dict[str, dict[str, Any]]

    @classmethod
    def fit(cls, features: Sequence[Feature], frame: pd.DataFrame) -> Encoder:
        """Learn the encoding from the training rows alone."""
        return cls.learn(features, encode_columns(features, frame))

    @classmethod
    def learn(cls, features: Sequence[Feature], codes: np.ndarray) -> Encoder:
        """The same from the codes (n, features) that `encode_columns` gives; columns that do not vary are left out."""
        features = tuple(features)
        columns: list[tuple[int, int, float, float]] = []
        profile = {}
        for index, feature in enumerate(features):
            values = codes[:, index]
            seen = values[~np.isnan(values)]
            profile[feature.name] = _profile(feature, values, seen)
            middle = float(np.median(seen)) if len(seen) else 0.0
            if feature.dtype == "category":
                columns += [(index, level, 0.0, 0.0) for level in range(len(feature.levels))]
            if feature.dtype != "category" or len(feature.levels) > 2:
                unit = _log_unit(seen) if feature.dtype in ("number", "integer") else 0.0
                columns.append((index, -1, unit, middle))
            if min(len(seen), len(values) - len(seen)) >= INDICATOR_ROWS:
                columns.append((index, -2, 0.0, 0.0))
        source, level, unit, fill = (np.asarray(part) for part in zip(*columns, strict=True))
        width = len(columns)
        raw = cls(features, source, level, unit, fill, np.zeros(width), np.ones(width), profile).encode(codes)
        spread = np.array([column.std() for column in raw.T])
        varies = spread > _CONSTANT * np.maximum(raw.max(axis=0), -raw.min(axis=0))
        kept = np.flatnonzero(varies) if varies.any() else np.array([0])
        scale = np.where(varies, spread, 1.0)
        source, level, unit, fill, mean, scale = (
            part[kept] for part in (source, level, unit, fill, raw.mean(axis=0), scale)
        )
        return cls(features, source, level, unit, fill, mean, scale, profile)

    def transform(self, frame: pd.DataFrame | Sequence[Mapping[str, Any]]) -> np.ndarray:
        """(n, columns) standardised matrix; the order of the input columns does not matter.

        Raises:
            ValueError: a feature is absent or holds an impossible value; the message names it.
        """
        return self.encode(encode_columns(self.features, frame))

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """(n, columns) standardised matrix from codes (n, features), in blocks that bound the memory needed."""
        if len(codes) <= _BLOCK:
            return self._encode(codes)
        encoded = np.empty((len(codes), len(self.source)))
        for start in range(0, len(codes), _BLOCK):
            encoded[start : start + _BLOCK] = self._encode(codes[start : start + _BLOCK])
        return encoded

    def _encode(self, codes: np.ndarray) -> np.ndarray:
        values = codes[:, self.source]
        gaps = np.isnan(values)
        numbers = np.where(gaps, self.fill, values)
        at = self._logged
        if len(at):
            numbers[:, at] = np.log1p(np.maximum(numbers[:, at], 0.0) / self.log_unit[at])
        encoded = np.where(self._is_level, values == self.level, np.where(self._is_indicator, gaps, numbers))
        return (encoded - self.mean) / self.scale

    @cached_property
    def _logged(self) -> np.ndarray:
        return np.flatnonzero(self.log_unit)

    @cached_property
    def _is_level(self) -> np.ndarray:
        return self.level >= 0

    @cached_property
    def _is_indicator(self) -> np.ndarray:
        return self.level == -2

    @property
    def column_names(self) -> list[str]:
        """Names of the encoded columns, for coefficient tables."""
        names = []
        for source, level in zip(self.source, self.level, strict=True):
            feature = self.features[source]
            own = " position" if feature.dtype == "category" else ""
            suffix = {-1: own, -2: " missing"}[int(level)] if level < 0 else f"={feature.levels[level]}"
            names.append(f"{feature.name}{suffix}")
        return names

    def state(self) -> dict[str, Any]:
        """Plain data from which `from_state` rebuilds the encoder exactly."""
        return {
            "features": [{"name": f.name, "dtype": f.dtype, "levels": list(f.levels)} for f in self.features],
            "source": self.source.tolist(),
            "level": self.level.tolist(),
            "log_unit": self.log_unit.tolist(),
            "fill": self.fill.tolist(),
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
            np.asarray(state["log_unit"], dtype=np.float64),
            np.asarray(state["fill"], dtype=np.float64),
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
        if (quickly := _code_rows(features, frame)) is not None:
            return quickly
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


def _code_rows(features: Sequence[Feature], rows: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """The codes of a request's rows, value by value; None where something is wrong and the slow way will say what."""
    try:
        codes = np.array([[feature.code_one(row[feature.name]) for feature in features] for row in rows])
    except (KeyError, TypeError, ValueError):
        return None
    return codes if len(rows) and not np.isinf(codes).any() else None


def _values(column: pd.Series | Sequence[Any]) -> Sequence[Any] | np.ndarray:
    """Numbers as they are; everything else as Python objects with None for missing."""
    if isinstance(column, Sequence):
        return column
    if column.dtype.kind in "fiub":
        return column.to_numpy()
    return column.astype(object).where(column.notna(), None).to_list()


def features_of(contract: CohortContract) -> tuple[Feature, ...]:
    """Model inputs of a contract, in its order."""
    return tuple(Feature(column.name, column.dtype, column.categories or ()) for column in contract.features)


def _log_unit(values: np.ndarray) -> float:
    """The median of the positive values where skewness is above 2, as for node counts and receptor levels; else 0.

    Logging in a unit that the data set makes the encoding the same in ng/mL and ug/L.
    """
    if len(values) < 20 or values.min() < 0 or values.std() == 0:
        return 0.0
    skewness = float(np.mean(((values - values.mean()) / values.std()) ** 3))
    return float(np.median(values[values > 0])) if skewness > SKEW_LIMIT else 0.0


def _profile(feature: Feature, values: np.ndarray, seen: np.ndarray) -> dict[str, Any]:
    """Marginal distribution in training: quantiles or level frequencies, and the share missing. No patient's row."""
    missing = 1.0 - len(seen) / max(len(values), 1)
    if feature.dtype == "category":
        counts = np.bincount(seen.astype(int), minlength=len(feature.levels))
        return {"missing": missing, "frequencies": (counts / max(len(seen), 1)).tolist()}
    quantiles = np.quantile(seen, _QUANTILES).tolist() if len(seen) else []
    return {"missing": missing, "quantiles": quantiles}

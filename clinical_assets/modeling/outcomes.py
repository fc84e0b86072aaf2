"""What was observed for each subject: time and event, or a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.trials.contract import Endpoint

Kind = Literal["survival", "binary"]


@dataclass(frozen=True)
class Outcomes:
    """Survival: `time` (n,) in days and `event` (n,) bool. Binary: `label` (n,) bool.

    Raises:
        ValueError: an array is missing, of the wrong length, negative or not finite.
    """

    kind: Kind
    time: np.ndarray | None = None
    event: np.ndarray | None = None
    label: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.kind == "binary":
            if self.label is None or self.time is not None or self.event is not None:
                raise ValueError("binary outcomes hold a label and nothing else")
            return
        if self.time is None or self.event is None or self.label is not None:
            raise ValueError("survival outcomes hold time and event and nothing else")
        if self.time.shape != self.event.shape:
            raise ValueError(f"time has shape {self.time.shape}, event has {self.event.shape}")
        bad = int((~np.isfinite(self.time) | (self.time < 0)).sum())
        if bad:
            raise ValueError(f"follow-up time: {bad} of {len(self.time)} values are negative, infinite or missing")

    @classmethod
    def survival(cls, time: np.ndarray, event: np.ndarray) -> Outcomes:
        return cls("survival", time=np.asarray(time, dtype=np.float64), event=_flags(event, "event"))

    @classmethod
    def binary(cls, label: np.ndarray) -> Outcomes:
        return cls("binary", label=_flags(label, "label"))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, endpoint: Endpoint) -> Outcomes:
        """Read the canonical columns `time` and `event`, or `label`.

        Raises:
            ValueError: a column is absent, or holds values that are no outcome.
        """
        needed = ("label",) if endpoint.kind == "binary" else ("time", "event")
        absent = [name for name in needed if name not in frame.columns]
        if absent:
            raise ValueError(
                f"endpoint {endpoint.name!r} ({endpoint.kind}): the frame has no column {', '.join(absent)}"
            )
        if endpoint.kind == "binary":
            return cls.binary(frame["label"].to_numpy())
        return cls.survival(frame["time"].to_numpy(), frame["event"].to_numpy())

    @property
    def n(self) -> int:
        return len(self.flag)

    @property
    def events(self) -> int:
        return int(self.flag.sum())

    @property
    def flag(self) -> np.ndarray:
        """(n,) bool: the event indicator or the label."""
        values = self.label if self.kind == "binary" else self.event
        assert values is not None
        return values

    def take(self, index: np.ndarray) -> Outcomes:
        if self.kind == "binary":
            return Outcomes("binary", label=self.flag[index])
        assert self.time is not None
        return Outcomes("survival", time=self.time[index], event=self.flag[index])

    def times(self) -> np.ndarray:
        """(n,) follow-up in days.

        Raises:
            TypeError: the outcome is binary.
        """
        if self.time is None:
            raise TypeError("a binary outcome has no follow-up time")
        return self.time


def _flags(values: np.ndarray, name: str) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    bad = int((~np.isin(numbers, (0.0, 1.0))).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {numbers.size} values are neither 0 nor 1")
    return numbers == 1.0

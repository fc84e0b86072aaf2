"""Time as a port. A recorded replay clock lets five years of follow-up pass in seconds, and every record says so."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from clinical_assets.foundation.files import write_atomic

SECONDS_PER_DAY = 86_400.0


class Clock(Protocol):
    """`now()` is in seconds since the Unix epoch, on the clinical time line."""

    def now(self) -> float: ...


@dataclass(frozen=True)
class SystemClock:
    def now(self) -> float:
        return time.time()


@dataclass(frozen=True)
class ReplayClock:
    """Clinical time runs `speed` times as fast as real time since `real_start`."""

    real_start: float
    clinical_start: float
    speed: float

    def now(self) -> float:
        return self.clinical_start + (time.time() - self.real_start) * self.speed

    def save(self, path: Path) -> None:
        write_atomic(path, json.dumps(asdict(self)).encode())


def read_clock(path: Path) -> Clock:
    """The replay clock recorded at `path`, else the system clock."""
    try:
        return ReplayClock(**json.loads(path.read_text()))
    except FileNotFoundError:
        return SystemClock()


def utc_iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

"""What is predicted: how events are coded, to which horizon risk can be stated, how often the event happens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.drafting.errors import DraftError
from clinical_assets.drafting.names import words
from clinical_assets.gates.data_quality.outcome_sanity import kaplan_meier_risk
from clinical_assets.trials.codes import codes

EVENT_WORDS = frozenset({
    "dead", "death", "died", "deceased", "event", "yes", "y", "true", "relapse", "relapsed", "recurrence", "recurred",
    "progressed", "progression", "malignant", "positive", "case",
})  # fmt: skip

MAX_CODES = 10
"""With more different codes, a column is no event indicator, and its values are not shown."""

HORIZONS = (1826.25, 1095.75, 730.5, 365.25, 182.625, 91.3125, 30.4375, 7.0)
"""Five, three, two years, one year, half, a quarter, a month, a week."""
FOLLOWED = 0.20
"""Share of subjects who must still be followed at the proposed horizon."""


@dataclass(frozen=True)
class EventCoding:
    """`recode` of the event column, None when it holds 0 and 1 already, with the reading in words."""

    recode: dict[str, int] | None
    said: str


def event_coding(name: str, values: pd.Series, stated: tuple[str, ...]) -> EventCoding:
    """Which codes of column `name` are the event: the `stated` ones, or what is customary.

    Raises:
        DraftError: a stated code does not occur, or nothing customary fits.
    """
    found = sorted(set(codes(values).dropna()))
    shown = f" (the column holds {', '.join(found)})" if len(found) <= MAX_CODES else ""
    remedy = f"say which mean the event: --event-value CODE{shown}"
    if len(found) != 2 and not stated and words(name)[:1] != ["cnsr"]:
        raise DraftError(f"column {name!r} holds {len(found)} different codes, an event has two; {remedy}")
    if unknown := sorted(set(stated) - set(found)):
        raise DraftError(f"column {name!r} does not hold {', '.join(unknown)}; {remedy}")
    if stated:
        events = set(stated)
    elif words(name)[:1] == ["cnsr"]:
        events = {"0", "0.0"} & set(found)
    elif {code.lower() for code in found} in ({"0", "1"}, {"0.0", "1.0"}, {"false", "true"}):
        return EventCoding(None, f"{found[1]} is the event")
    elif set(found) in ({"1", "2"}, {"1.0", "2.0"}):
        events = {found[1]}
    else:
        events = {code for code in found if EVENT_WORDS & set(words(code))}
    if not events or len(events) == len(found):
        raise DraftError(f"column {name!r}: it is not clear which code is the event; {remedy}")
    return EventCoding({code: int(code in events) for code in found}, f"{' or '.join(sorted(events))} is the event")


def proposed_horizon(time: np.ndarray) -> float:
    """The longest customary horizon, in days, at which a fifth of the subjects are still followed.

    Raises:
        DraftError: nobody is followed for a week.
    """
    for horizon in HORIZONS:
        if (time >= horizon).mean() >= FOLLOWED:
            return horizon
    raise DraftError(
        f"fewer than {FOLLOWED:.0%} of {len(time)} subjects are followed for a week; is --time-unit right? "
        "else give --horizon in days"
    )


def event_rate(frame: pd.DataFrame, horizon: float | None) -> tuple[float, tuple[float, float]]:
    """Event probability by the horizon (1 - Kaplan-Meier), or share of positive labels, and a band around it.

    The band is the 95 % interval, wider by 5 % points on either side: outside it, something other than chance changed.
    """
    if horizon is None:
        from scipy.stats import binomtest

        label = frame["label"].to_numpy(float)
        rate = float(label.mean())
        interval = binomtest(int(label.sum()), len(label)).proportion_ci(method="wilson")
        low, high = float(interval.low), float(interval.high)
    else:
        time, event = frame["time"].to_numpy(float), frame["event"].to_numpy(float) == 1
        rate, (low, high) = kaplan_meier_risk(time, event, horizon)
    return rate, (max(0.0, math.floor(100 * (low - 0.05)) / 100), min(1.0, math.ceil(100 * (high + 0.05)) / 100))

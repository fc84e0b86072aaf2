"""DQ9: can these outcomes be what the endpoint says? Times, codes, data cut, event rate, censoring indicator."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.gates.checks import Case, Finding
from clinical_assets.gates.data_quality.reference_cohort import comparisons
from clinical_assets.gates.data_quality.unit_conversion import follow_up_converted
from clinical_assets.gates.thresholds import DataQualityPolicy
from clinical_assets.gates.verdict import Verdict
from clinical_assets.trials.contract import CohortContract, Endpoint

Rate = tuple[float, tuple[float, float]]
"""An event probability and its interval."""
MIN_PER_ARM = 10
"""Subjects with, and without, an event below which rates and orderings say nothing."""
REMEDY = "check the coding of the outcome (ADaM: CNSR = 0 means event), its time unit and the data cut"


def survival_outcome(case: Case) -> Finding:
    """Structure, polarity of the event indicator, unit of the times, then 1 - Kaplan-Meier at the horizon against the
    band: of everybody, and of either side alone, because a new extract may differ alone."""
    facts, policy = case.facts, case.policy.data_quality
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    endpoint = facts.contract.endpoint
    horizon = float(endpoint.horizon_days or 0.0)
    time, event = frame["time"].to_numpy(float), frame["event"].to_numpy(float)
    problems = _structure(frame, time, event, facts.manifest.get("data_cut"))
    had = event == 1
    common = _common(case, len(frame), int(had.sum()))
    if problems:
        return Finding(Verdict.BLOCK, "; ".join(problems), REMEDY, **common)
    if had.sum() < MIN_PER_ARM:
        return Finding(Verdict.INCONCLUSIVE, f"{int(had.sum())} events cannot show the event rate", REMEDY, **common)
    risk, interval = kaplan_meier_risk(time, had, horizon)
    common |= {"value": risk, "interval": interval}
    sides = (("", frame), ("in train, ", facts.train), ("in test, ", facts.test))
    exchanged = ""
    for where, side in sides:
        times, events = side["time"].to_numpy(float), side["event"].to_numpy(float) == 1
        if events.sum() < MIN_PER_ARM:
            continue
        text, details = _exchanged(side, times, events, facts.manifest.get("data_cut"), policy)
        common["details"] = common["details"] or details
        exchanged = exchanged or (text and where + text)
    if exchanged:
        common["threshold_source"] = DataQualityPolicy.source("polarity_floor")
        return Finding(Verdict.BLOCK, f"{exchanged}: the censoring indicator looks exchanged", REMEDY, **common)
    converted = [hit for comparison in comparisons(case) for hit in follow_up_converted(comparison, policy)]
    if converted:
        return Finding(Verdict.BLOCK, "; ".join(map(str, converted)), REMEDY, **common)
    off_protocol = _median_off(time, had, policy)
    if off_protocol:
        common["threshold_source"] = DataQualityPolicy.source("protocol_median_days")
        return Finding(Verdict.BLOCK, off_protocol, REMEDY, **common)
    if not (time >= horizon).any():
        return Finding(
            Verdict.INCONCLUSIVE, "nobody was followed up to the horizon", "shorten the horizon or wait", **common
        )
    rates = {
        where: rate
        for where, side in sides[1:]
        if (rate := event_rate(side, endpoint, 1.0 - (1.0 - policy.block_confidence) / 2.0)) is not None
    }
    return _in_band(risk, interval, endpoint.event_rate_band, rates, common)


def _exchanged(
    frame: pd.DataFrame, time: np.ndarray, had: np.ndarray, data_cut: date | str | None, policy: DataQualityPolicy
) -> tuple[str, dict[str, float]]:
    """Why events look like censorings, or "", with the numbers.

    After a data cut, who is followed up to the cut is censored there. Without one, censored subjects are followed
    longer than those with an event; a cut turns that order round, because who entered late is censored soon.
    """
    from scipy.stats import mannwhitneyu

    if data_cut is not None:
        entered, cut = _days(frame, data_cut)
        at_cut = entered + time >= cut - 1.0
        if at_cut.sum() < MIN_PER_ARM:
            return "", {}
        share = float(had[at_cut].mean())
        text = f"{share:.0%} of the subjects followed up to the data cut have their event on that day"
        return (text if share > 0.5 else ""), {"events_at_data_cut": share}
    if (~had).sum() < MIN_PER_ARM:
        return "", {}
    earlier = float(1.0 - mannwhitneyu(time[had], time[~had]).statistic / (had.sum() * (~had).sum()))
    highest = earlier + 1.96 * ordering_error(earlier, int(had.sum()), int((~had).sum()))
    text = f"subjects with an event were followed longer than the others (P(event first) {earlier:.2f})"
    found = {"event_before_censoring": earlier, "at_most": highest}
    return (text if highest < policy.polarity_floor else ""), found


def ordering_error(probability: float, events: int, censored: int) -> float:
    """Standard error of the share of (event, censored) pairs in that order (Hanley & McNeil 1982)."""
    q1, q2 = probability / (2.0 - probability), 2.0 * probability**2 / (1.0 + probability)
    square = probability**2
    spread = probability - square + (events - 1) * (q1 - square) + (censored - 1) * (q2 - square)
    return float(np.sqrt(spread / (events * censored)))


def kaplan_meier_risk(
    time: np.ndarray, event: np.ndarray, horizon: float, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """1 - S(horizon) with its interval (Greenwood's variance, log-log scale)."""
    import greenwood

    followed = np.minimum(time, horizon)
    had = (event & (time <= horizon)).astype(int)
    curve = greenwood.KaplanMeier(conf_type="log-log", conf_level=level).fit(greenwood.Surv(followed, event=had))
    last = np.flatnonzero(np.isfinite(curve.conf_low_))[-1]
    return 1.0 - float(curve.survival_[-1]), (1.0 - float(curve.conf_high_[last]), 1.0 - float(curve.conf_low_[last]))


def kaplan_meier_median(time: np.ndarray, event: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Median in days with its 95 % interval (Brookmeyer & Crowley 1982, log-log scale); infinite where not reached."""
    import greenwood

    curve = greenwood.KaplanMeier(conf_type="log-log").fit(greenwood.Surv(time, event=event.astype(int)))

    def first_below(survival: np.ndarray) -> float:
        below = np.flatnonzero(np.asarray(survival) <= 0.5)
        return float(curve.time_[below[0]]) if len(below) else float("inf")

    return first_below(curve.survival_), (first_below(curve.conf_low_), first_below(curve.conf_high_))


def _median_off(time: np.ndarray, had: np.ndarray, policy: DataQualityPolicy) -> str:
    """Why the median cannot be the protocol's, or ""; it can as long as its interval touches the protocol's range."""
    if policy.protocol_median_days is None:
        return ""
    low, high = policy.protocol_median_days
    median, (at_least, at_most) = kaplan_meier_median(time, had)
    if at_least > high or at_most < low:
        return f"the median of {median:.0f} days lies outside the {low:g} to {high:g} days that the protocol expects"
    return ""


def binary_outcome(case: Case) -> Finding:
    """Labels are 0 or 1, both occur, and the share of positives lies in the band."""
    from scipy.stats import binomtest

    frame = pd.concat([case.facts.train, case.facts.test], ignore_index=True)
    label = frame["label"].to_numpy(float)
    bad, positive = int((~np.isin(label, (0.0, 1.0))).sum()), int((label == 1).sum())
    common = _common(case, len(frame), positive)
    if bad:
        return Finding(Verdict.BLOCK, f"{bad} labels are neither 0 nor 1", REMEDY, **common)
    if min(positive, len(frame) - positive) < MIN_PER_ARM:
        return Finding(Verdict.INCONCLUSIVE, f"{positive} positives among {len(frame)} labels", REMEDY, **common)
    interval = binomtest(positive, len(frame)).proportion_ci(method="wilson")
    common |= {"value": positive / len(frame), "interval": (float(interval.low), float(interval.high))}
    band = case.facts.contract.endpoint.event_rate_band
    level = 1.0 - (1.0 - case.policy.data_quality.block_confidence) / 2.0
    rates = {
        where: side
        for where, rows in (("in train, ", case.facts.train), ("in test, ", case.facts.test))
        if (side := event_rate(rows, case.facts.contract.endpoint, level)) is not None
    }
    return _in_band(positive / len(frame), common["interval"], band, rates, common)


def event_rate(frame: pd.DataFrame, endpoint: Endpoint, level: float, horizon: float | None = None) -> Rate | None:
    """Probability of the event by `horizon` (default: the endpoint's), with its interval; None: too few patients.

    By Kaplan-Meier; for a label, and where nearly everybody or nobody had the event, the share among those whose
    outcome is known, with Wilson's interval.
    """
    if endpoint.kind == "binary":
        had, seen = frame["label"] == 1, pd.Series(True, index=frame.index)
    else:
        horizon = float(endpoint.horizon_days or 0.0) if horizon is None else horizon
        had = (frame["event"] == 1) & (frame["time"] <= horizon)
        seen = had | (frame["time"] >= horizon)
    if seen.sum() < 2 * MIN_PER_ARM:
        return None
    if endpoint.kind == "survival" and min(had.sum(), (~had).sum()) >= MIN_PER_ARM:
        assert horizon is not None
        return kaplan_meier_risk(frame["time"].to_numpy(float), frame["event"].to_numpy() == 1, horizon, level)
    return proportion(int(had.sum()), int(seen.sum()), level)


def proportion(count: int, n: int, level: float = 0.95) -> Rate:
    """A share with Wilson's interval."""
    from scipy.stats import binomtest

    interval = binomtest(count, n).proportion_ci(confidence_level=level, method="wilson")
    return count / n, (float(interval.low), float(interval.high))


def _in_band(
    rate: float,
    interval: tuple[float, float],
    band: tuple[float, float],
    sides: dict[str, Rate],
    common: dict[str, Any],
) -> Finding:
    for where, (own, (low, high)) in sides.items():
        if low > band[1] or high < band[0]:
            text = f"{where}event probability {own:.3f} is outside the declared band"
            return Finding(Verdict.BLOCK, text, REMEDY, **common)
    if band[0] <= rate <= band[1]:
        return Finding(Verdict.PASS, f"event probability {rate:.3f} lies in the declared band", **common)
    if interval[0] > band[1] or interval[1] < band[0]:
        return Finding(Verdict.BLOCK, f"event probability {rate:.3f} is outside the declared band", REMEDY, **common)
    return Finding(
        Verdict.INCONCLUSIVE, f"event probability {rate:.3f} is outside the band, its interval is not", REMEDY, **common
    )


def known_outcome(frame: pd.DataFrame, contract: CohortContract) -> tuple[np.ndarray, np.ndarray]:
    """(n,) who had the event by the horizon, and (n,) of whom that is known."""
    if contract.endpoint.kind == "binary":
        label = frame["label"].to_numpy(np.float64)
        return label == 1, np.isin(label, (0.0, 1.0))
    horizon = float(contract.endpoint.horizon_days or 0.0)
    time, event = frame["time"].to_numpy(np.float64), frame["event"].to_numpy(np.float64) == 1
    return event & (time <= horizon), (event & (time <= horizon)) | (time > horizon)


def _structure(frame: pd.DataFrame, time: np.ndarray, event: np.ndarray, data_cut: date | str | None) -> list[str]:
    counts = {
        "follow-up times are missing or infinite": ~np.isfinite(time),
        "follow-up times are not positive": np.isfinite(time) & (time <= 0),
        "event indicators are neither 0 nor 1": ~np.isin(event, (0.0, 1.0)),
    }
    if data_cut is not None:
        entered, cut = _days(frame, data_cut)
        counts[f"subjects are followed beyond the data cut {data_cut}"] = entered + time > cut + 1.0
    return [f"{int(bad.sum())} {what}" for what, bad in counts.items() if bad.any()]


def _days(frame: pd.DataFrame, data_cut: date | str) -> tuple[np.ndarray, float]:
    """Index dates (n,) and the data cut, in days since the epoch."""
    entered = frame["index_date"].to_numpy("datetime64[s]").astype(float) / SECONDS_PER_DAY
    return entered, pd.Timestamp(data_cut).timestamp() / SECONDS_PER_DAY


def _common(case: Case, n: int, events: int) -> dict[str, Any]:
    low, high = case.facts.contract.endpoint.event_rate_band
    return {
        "n": n,
        "events": events,
        "threshold": f"declared band {low:g} to {high:g}; follow-up positive and within the data cut; 0/1 coding",
        "threshold_source": "the contract's endpoint; coding as in ADaM ADTTE",
        "details": {},
    }

"""Predictions joined to outcomes: the sets of patients on which a model is judged, and how their findings combine.

Small cohorts are judged on nested out-of-fold predictions; the locked test split counts as well where it holds enough
events. What speaks against a model is looked for in each set and in all of them together (see `simultaneous`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.curves import horizon_labels
from clinical_assets.modeling.metrics.bootstrap import Draws, Interval
from clinical_assets.modeling.outcomes import Outcomes

TEST, OUT_OF_FOLD = "test", "out of fold"
WAIT = "wait for more events or pool sites; until then use a waiver or the research tier"


@dataclass(frozen=True)
class Evidence:
    """One set of patients whom the model had not seen. Arrays are in the order of `frame`.

    Of a very large set an even draw of patients is judged: `rows` (n,) are their places in `whole`.
    """

    name: str
    frame: pd.DataFrame
    outcomes: Outcomes
    predictions: Predictions
    draws: Draws
    events: int
    whole: pd.DataFrame | None = None
    rows: np.ndarray | None = None

    @property
    def risk(self) -> np.ndarray:
        return self.predictions.risk

    def of(self, other: Predictions) -> np.ndarray:
        """(n,) another model's risks for the same patients."""
        if self.whole is None:
            return aligned(self.frame, other).risk
        risk = aligned(self.whole, other).risk
        return risk if self.rows is None else risk[self.rows]


def evidence_sets(case: Case) -> tuple[Evidence, ...]:
    """The test split, then the out-of-fold predictions if there are any.

    Raises:
        ValueError: predictions and rows are not about the same subjects.
    """
    facts, policy = case.facts, case.policy.performance
    found = []
    for name, frame, predictions in ((TEST, facts.test, facts.test_pred), (OUT_OF_FOLD, facts.train, facts.oof)):
        if predictions is None:
            continue
        joined, whole = aligned(frame, predictions), frame
        rows = _drawn(len(frame), policy.max_judged_patients, policy.bootstrap_seed)
        if rows is not None:
            frame, joined = whole.iloc[rows].reset_index(drop=True), taken(joined, rows)
        outcomes = Outcomes.from_frame(frame, facts.contract.endpoint)
        draws = Draws.make(frame["subject_id"].to_numpy(), policy.bootstrap_seed, policy.bootstrap_replicates)
        events = events_by_horizon(facts, outcomes)
        found.append(Evidence(name, frame, outcomes, joined, draws, events, whole, rows))
    return tuple(found)


def judged_sets(case: Case) -> tuple[Evidence, ...]:
    """Those sets with enough patients of either kind, by the horizon, to estimate anything at all."""
    least = case.policy.performance.min_events_to_estimate
    return tuple(
        one for one in case.once(evidence_sets) if min(one.events, one.outcomes.n - one.events) >= least
    )  # fmt: skip


def too_few(case: Case) -> Finding:
    """What a check says when no set can be judged."""
    events = {one.name: one.events for one in case.once(evidence_sets)}
    counted = ", ".join(f"{number} on {name}" for name, number in events.items())
    needed = case.policy.performance.min_events_to_estimate
    return Finding(
        Verdict.INCONCLUSIVE,
        f"too few events to estimate anything ({counted}; {needed} of each kind are needed)",
        WAIT,
        n=len(case.facts.test),
        events=max(events.values(), default=0),
        threshold=f">= {needed} events in a set",
        threshold_source=case.policy.performance.source("min_events_to_estimate"),
    )


def aligned(frame: pd.DataFrame, predictions: Predictions) -> Predictions:
    """The predictions in the order of the rows.

    Raises:
        ValueError: a row without prediction, a prediction without row, or a subject twice.
    """
    subjects = pd.Index(predictions.subject_ids.astype(str))
    if not subjects.is_unique or len(subjects) != len(frame):
        raise ValueError(f"{len(frame)} rows but {len(subjects)} predictions for {subjects.nunique()} subjects")
    order = subjects.get_indexer(frame["subject_id"].astype(str))
    if (order < 0).any():
        raise ValueError(f"{int((order < 0).sum())} rows have no prediction")
    return taken(predictions, order)


def taken(predictions: Predictions, rows: np.ndarray) -> Predictions:
    """The predictions at `rows`, in that order."""
    survival = None if predictions.survival is None else predictions.survival[rows]
    return replace(
        predictions, subject_ids=predictions.subject_ids[rows], risk=predictions.risk[rows], survival=survival
    )


def _drawn(n: int, most: int, seed: int) -> np.ndarray | None:
    """Places of the patients to judge, in order; None for all of them."""
    return None if n <= most else np.sort(np.random.default_rng(seed).choice(n, size=most, replace=False))


def events_by_horizon(facts: ReleaseFacts, outcomes: Outcomes) -> int:
    """Events up to the horizon; for a label, subjects of the rarer class."""
    if outcomes.kind == "binary":
        return min(outcomes.events, outcomes.n - outcomes.events)
    horizon = facts.contract.endpoint.horizon_days
    return int(horizon_labels(outcomes, float(horizon or 0.0)).label.sum())


def combined(case: Case, found: Sequence[tuple[Evidence, Finding]], against: str = "", remedy: str = "") -> Finding:
    """One finding from several sets: the first conclusive set with enough events decides, unless there is evidence
    `against` the model, in words, which blocks.

    Too few events in every set make the finding INCONCLUSIVE. All numbers go into `details`.
    """
    if not found:
        return too_few(case)
    policy = case.policy.performance
    needed = {TEST: policy.min_test_events, OUT_OF_FOLD: policy.min_out_of_fold_events}
    details = {
        evidence.name: {
            "value": finding.value, "interval": finding.interval, "n": evidence.outcomes.n, "events": evidence.events,
            "verdict": finding.verdict, "reason": finding.reason, **finding.details,
        }
        for evidence, finding in found
    }  # fmt: skip
    large = [finding for evidence, finding in found if evidence.events >= needed[evidence.name]]
    conclusive = [finding for finding in large if finding.verdict is not Verdict.INCONCLUSIVE]
    evidence, largest = max(found, key=lambda pair: pair[0].events)
    if against:
        shown = (conclusive or large or [largest])[0]
        return replace(
            shown, verdict=Verdict.BLOCK, reason=f"{against}; {shown.reason}", remedy=remedy, details=details
        )
    if conclusive or large:
        return replace((conclusive or large)[0], details=details)
    reason = f"only {evidence.events} events, {needed[evidence.name]} are needed; found {largest.reason}"
    return replace(largest, verdict=Verdict.INCONCLUSIVE, reason=reason, remedy=WAIT, details=details)


def bounds(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high

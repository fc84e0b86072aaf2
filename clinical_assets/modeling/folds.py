"""Subject-level folds and samples with the same share of events in each."""

from __future__ import annotations

import numpy as np

from clinical_assets.modeling.outcomes import Outcomes


def fewest_of_a_kind(outcomes: Outcomes) -> int:
    """Events of a survival endpoint, subjects with the rarer label of a binary one."""
    return min(outcomes.events, outcomes.n - outcomes.events) if outcomes.kind == "binary" else outcomes.events


def stratified_folds(outcomes: Outcomes, folds: int, seed: int) -> np.ndarray:
    """(n,) fold numbers 0..folds-1, balanced over events and non-events; one row is one subject.

    Raises:
        ValueError: fewer events (or event-free subjects) than folds.
    """
    flag = outcomes.flag
    if fewest_of_a_kind(outcomes) < folds:
        raise ValueError(f"{outcomes.n} subjects with {outcomes.events} events cannot fill {folds} folds")
    rng = np.random.default_rng(seed)
    assignment = np.empty(outcomes.n, dtype=np.int64)
    offset = 0
    for stratum in (np.flatnonzero(flag), np.flatnonzero(~flag)):
        assignment[rng.permutation(stratum)] = (np.arange(len(stratum)) + offset) % folds
        offset = len(stratum) % folds
    return assignment


def stratified_sample(outcomes: Outcomes, size: int, seed: int) -> np.ndarray:
    """(size,) row numbers in increasing order, events in the share that they have among all rows."""
    flag = outcomes.flag
    rng = np.random.default_rng(seed)
    events = round(size * outcomes.events / outcomes.n)
    drawn = [
        rng.choice(np.flatnonzero(stratum), count, replace=False)
        for stratum, count in ((flag, events), (~flag, size - events))
    ]
    return np.sort(np.concatenate(drawn))

"""Equal rows in a cohort of coarse columns: how many chance makes, reckoned from halves of the columns.

No single column need be fine. Within each outcome (label, or event indicator) the columns, follow-up time included, are
dealt into two halves; each half's probability of agreement is counted over all pairs of patients, with whatever
dependence the half holds, and the halves are taken as independent. Of several deals the one that expects most counts.

Where rows of one split agree as well, coincidence happens, and the halves may underrate it. Then the patterns that
exactly two rows share must also lie across the split (or within the test split) more often than a split that does not
look at them would put them there: a binomial tail, exact under a random split whatever the dependence.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from clinical_assets.gates.data_quality.duplicates import EqualPairs, crossing_pairs, pairs, row_keys
from clinical_assets.trials.contract import CohortContract

DEALS = 4
"""Ways of dealing the columns into halves that are tried."""
PRUDENCE = 10.0
"""Factor on what the halves expect: they are not quite independent."""


def across(train: pd.DataFrame, test: pd.DataFrame, contract: CohortContract) -> EqualPairs:
    """Pairs of a training and a test row that agree in all features and the outcome."""
    return _more_telling(train, test, contract, within_test=False)


def inside_test(train: pd.DataFrame, test: pd.DataFrame, contract: CohortContract) -> EqualPairs:
    """Pairs of test rows that do."""
    return _more_telling(train, test, contract, within_test=True)


def _more_telling(train: pd.DataFrame, test: pd.DataFrame, contract: CohortContract, within_test: bool) -> EqualPairs:
    """The more telling outcome; its tail is shared out among the outcomes."""
    frame = pd.concat([train, test], ignore_index=True)
    tested = np.arange(len(frame)) >= len(train)
    names = [*(column.name for column in contract.attributes), *contract.outcome_names]
    outcome = next(name for name in ("label", "event") if name in names)
    columns = np.column_stack([row_keys(frame[[name]]) for name in names])
    strata = [frame[outcome].to_numpy() == code for code in (0, 1)]
    found = [_stratum(columns[rows], tested[rows], within_test) for rows in strata]
    best = min(found, key=lambda one: one.tail)
    return EqualPairs(best.found, best.expected, min(best.tail * len(strata), 1.0))


def _stratum(columns: np.ndarray, tested: np.ndarray, within_test: bool) -> EqualPairs:
    """(n, k) keys of the columns; (n,) who is in the test split."""
    from scipy.stats import binom, poisson

    n, m = len(columns), int(tested.sum())
    rows = _joined(columns)
    found = pairs(rows[tested]) if within_test else crossing_pairs(rows[~tested], rows[tested])
    total = n * (n - 1) / 2.0
    asked = m * (m - 1) / 2.0 if within_test else float(m * (n - m))
    if not found or not asked or columns.shape[1] < 2:
        return EqualPairs(0, 0.0, 1.0)
    expected = PRUDENCE * asked * max(_agreement(columns, total, deal) for deal in range(DEALS))
    tail = float(poisson.sf(found - 1, expected))
    if pairs(rows) > found:
        keys, position, counts = np.unique(rows, return_inverse=True, return_counts=True)
        in_test = np.bincount(position, weights=tested, minlength=len(keys))[counts == 2]
        wanted = int((in_test == (2 if within_test else 1)).sum())
        tail = max(tail, float(binom.sf(wanted - 1, len(in_test), asked / total)))
    return EqualPairs(found, expected, tail)


def _agreement(columns: np.ndarray, total: float, deal: int) -> float:
    """Probability that two patients agree in all columns, from the two halves of one deal; each count plus one."""
    order = np.random.default_rng(deal).permutation(columns.shape[1])
    halves = (_joined(columns[:, order[half::2]]) for half in (0, 1))
    return float(np.prod([(pairs(half) + 1.0) / total for half in halves]))


def _joined(columns: np.ndarray) -> np.ndarray:
    """(n,) one key for each row."""
    return pd.util.hash_pandas_object(pd.DataFrame(columns), index=False).to_numpy()

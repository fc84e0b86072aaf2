"""Equal rows of coarse columns: copies are told from coincidences, and coincidences from copies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinical_assets.gates.data_quality.coincidences import across, inside_test
from clinical_assets.gates.verdict import Verdict

from .cohorts import checked, cohort, with_frames


def contract(columns: int) -> Any:
    names = [SimpleNamespace(name=f"x{place}") for place in range(columns)]
    return SimpleNamespace(attributes=names, outcome_names=("label",))


def coarse(rng: np.random.Generator, n: int, columns: int = 8, levels: int = 4) -> pd.DataFrame:
    """Columns of few levels that depend on one another through a hidden state of the patient."""
    state = rng.normal(size=n)
    values = np.clip(np.round(state[:, None] + rng.normal(0, 0.8, (n, columns))), -levels, levels)
    frame = pd.DataFrame(values, columns=pd.Index([f"x{place}" for place in range(columns)]))
    return frame.assign(label=(state + rng.normal(0, 0.5, n) > 0).astype(int))


@pytest.mark.parametrize("columns", [5, 8, 14])
def test_a_random_split_is_hardly_ever_blamed_for_coincidences(columns):
    rng, found = np.random.default_rng(columns), 0
    for _ in range(60):
        frame = coarse(rng, 400, columns)
        tested = rng.random(len(frame)) < 0.3
        sides = frame[~tested].reset_index(drop=True), frame[tested].reset_index(drop=True)
        found += across(*sides, contract(columns)).beyond_chance + inside_test(*sides, contract(columns)).beyond_chance
    assert found <= 2


def test_the_pairs_are_those_that_brute_force_counts():
    rng = np.random.default_rng(3)
    frame = coarse(rng, 120, 3)
    train, test = frame[:80], frame[80:]
    keys = [tuple(row) for row in frame.itertuples(index=False)]
    for pairs, wanted in (
        (across(train, test, contract(3)), [(a, b) for a in keys[:80] for b in keys[80:]]),
        (inside_test(train, test, contract(3)), [(keys[i], keys[j]) for i in range(80, 120) for j in range(80, i)]),
    ):
        equal = {label: sum(a == b and a[-1] == label for a, b in wanted) for label in (0, 1)}
        assert pairs.found in equal.values()


class TestBreastBiopsies:
    """Nine scores of one to ten: benign biopsies agree by the hundred, no two malignant ones do."""

    def test_it_has_coincidences_only(self):
        facts = cohort("breast_biopsy")
        assert checked(facts, "DQ6").verdict is Verdict.WARN
        assert checked(facts, "DQ7").verdict is Verdict.WARN

    def test_malignant_biopsies_under_a_new_identifier_block(self):
        facts = cohort("breast_biopsy")
        copies = facts.train[facts.train["label"] == 1].iloc[:3].assign(subject_id=["a", "b", "c"])
        leaked = with_frames(facts, test=pd.concat([facts.test, copies], ignore_index=True))
        result = checked(leaked, "DQ7")
        assert result.verdict is Verdict.BLOCK
        assert "new identifier" in result.reason

    def test_malignant_test_biopsies_counted_twice_block(self):
        facts = cohort("breast_biopsy")
        copies = facts.test[facts.test["label"] == 1].iloc[:3].assign(subject_id=["a", "b", "c"])
        twice = with_frames(facts, test=pd.concat([facts.test, copies], ignore_index=True))
        assert checked(twice, "DQ6").verdict is Verdict.BLOCK

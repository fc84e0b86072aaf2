"""Only arrays that form a predictor are read as one; everything else is refused before it can be evaluated."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.modeling.curves import StepCurve
from clinical_assets.modeling.predictor_format import Structure, Tensors, assemble, dismantle
from clinical_assets.modeling.predictors import (
    DiscreteHazards,
    ForestHazards,
    LogOdds,
    Pool,
    Predictor,
    ProportionalHazards,
)
from clinical_assets.modeling.scores import LinearScore, NetworkScore
from clinical_assets.modeling.trees import Trees, TreeScore, at_most

WIDTH = 3
ROWS = np.random.default_rng(0).normal(size=(7, WIDTH))
TIMES = np.array([0.0, 0.5, 1.0, 2.5, 4.0, 9.0])
BASELINE = StepCurve(np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.3, 0.6]), 0.0)


def linear(outputs: int = 1) -> LinearScore:
    return LinearScore(np.linspace(-1.0, 1.0, WIDTH * outputs).reshape(WIDTH, outputs), np.zeros(outputs))


def network(outputs: int = 1) -> NetworkScore:
    rng = np.random.default_rng(1)
    shapes = ((2, WIDTH, 4), (2, 4), (2, 4, outputs), (2, WIDTH, 1), (2, outputs))
    return NetworkScore(*(rng.normal(size=shape) for shape in shapes))


def trees() -> Trees:
    """x1 < 0.5 ? node 1 : (x2 < 0 ? node 3 : node 4), and a second tree that is a leaf."""
    return Trees(
        roots=np.array([0, 5], dtype=np.int32),
        feature=np.array([1, 0, 2, 0, 0, 0], dtype=np.int32),
        threshold=np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.0], dtype=np.float32),
        left=np.array([1, 1, 3, 3, 4, 5], dtype=np.int32),
        right=np.array([2, 1, 4, 3, 4, 5], dtype=np.int32),
    )


def tree_score() -> TreeScore:
    """1, 2 or 3 from the first tree, 10 from the second."""
    return TreeScore(trees(), np.array([[0.0], [1.0], [0.0], [2.0], [3.0], [10.0]]), np.array([0.25]))


def forest() -> ForestHazards:
    """Node 1 rises by 0.5 at time 2; node 3 by 0.2 at 1 and 0.3 at 4; node 4 never; the second tree by 0.1 at 1."""
    return ForestHazards(
        trees=trees(),
        starts=np.array([0, 0, 1, 1, 3, 3, 4], dtype=np.int32),
        step=np.array([1, 0, 2, 0], dtype=np.int32),
        rise=np.array([0.5, 0.2, 0.3, 0.1]),
        times=np.array([1.0, 2.0, 4.0]),
    )


def pool() -> Pool:
    discrete = DiscreteHazards(network(outputs=4), np.array([1.0, 2.0, 3.0, 5.0]))
    members = (ProportionalHazards(linear(), BASELINE), ProportionalHazards(tree_score(), BASELINE), discrete, forest())
    return Pool(members, np.array([0.4, 0.2, 0.2, 0.2]))


def test_trees_send_rows_where_their_splits_say() -> None:
    rows = np.array([[0.0, 0.4, 5.0], [0.0, 0.5, -1.0], [0.0, 0.5, 0.0]])
    np.testing.assert_array_equal(tree_score()(rows)[:, 0], [11.25, 12.25, 13.25])
    assert trees().depth == 2


def test_a_forest_averages_the_hazards_of_its_leaves() -> None:
    rows = np.array([[0.0, 0.4, 5.0], [0.0, 0.5, -1.0], [0.0, 0.5, 0.0]])
    asked = np.array([4.0, 0.5, 2.0, 1.0])
    expected = np.array([[0.6, 0.0, 0.6, 0.1], [0.6, 0.0, 0.3, 0.3], [0.1, 0.0, 0.1, 0.1]]) / 2.0
    np.testing.assert_allclose(np.exp(forest().log_cumulative_hazard(rows, asked)), expected)


@given(st.floats(-(2.0**100), 2.0**100), st.floats(-(2.0**100), 2.0**100, width=32))
def test_at_most_a_threshold_is_less_than_its_bound(threshold: float, value: float) -> None:
    bound = at_most(np.array([threshold]))[0]
    assert (np.float32(value) < bound) == (value <= threshold)
    nearest = np.float32(threshold)
    assert (nearest < bound) == (float(nearest) <= threshold)


@pytest.mark.parametrize(
    "predictor",
    [pool(), Pool((pool(), ProportionalHazards(linear(), BASELINE)), np.array([0.9, 0.1]))],
    ids=["pool", "pool of pools"],
)
def test_a_predictor_comes_back_exactly(predictor: Predictor) -> None:
    structure, tensors = dismantle(predictor)
    again = assemble(structure, tensors, WIDTH)
    np.testing.assert_array_equal(
        again.log_cumulative_hazard(ROWS, TIMES), predictor.log_cumulative_hazard(ROWS, TIMES)
    )
    assert dismantle(again)[0] == structure


def test_binary_predictors_come_back_exactly() -> None:
    predictor = Pool((LogOdds(linear()), LogOdds(tree_score())), np.array([0.5, 0.5]))
    again = assemble(*dismantle(predictor), WIDTH)
    assert again.kind == "binary"
    np.testing.assert_array_equal(again.logit(ROWS), predictor.logit(ROWS))


def reshaped(name: str, value: object) -> Callable[[Structure, Tensors], None]:
    def damage(_: Structure, tensors: Tensors) -> None:
        tensors[name] = np.asarray(value)

    return damage


def changed(name: str, index: int, value: float) -> Callable[[Structure, Tensors], None]:
    def damage(_: Structure, tensors: Tensors) -> None:
        tensors[name] = tensors[name].copy()
        tensors[name][index] = value

    return damage


def entry(**values: object) -> Callable[[Structure, Tensors], None]:
    return lambda structure, _: structure.update(values)


def nested(structure: Structure, _: Tensors) -> None:
    for _level in range(12):
        structure["members"] = [deepcopy(structure)]


TREE = "members.1.score.trees."
DAMAGES = {
    "an unknown kind": (entry(kind="lambda"), "none of"),
    "a part where another belongs": (entry(kind="linear"), "none of"),
    "an unknown entry": (entry(code="import os"), "unknown entries code"),
    "no member": (entry(members=[]), "1 to 16 parts"),
    "endless nesting": (nested, "none of"),
    "a tensor of no part": (reshaped("extra", [1.0]), "belong to no part: extra"),
    "a value that is not finite": (changed("weights", 0, np.nan), "no finite numbers"),
    "text": (reshaped("weights", ["a", "b", "c", "d"]), "no finite numbers"),
    "weights that do not sum to 1": (changed("weights", 0, 0.75), "sum 1"),
    "a negative weight": (reshaped("weights", [1.5, -0.25, 0.0, -0.25]), "positive"),
    "too few weights": (reshaped("weights", [0.5, 0.5]), "4 members"),
    "coefficients for other columns": (reshaped("members.0.score.coefficients", np.zeros((4, 1))), "for 3 columns"),
    "a falling baseline": (changed("members.0.baseline.values", 2, 0.2), "non-decreasing"),
    "a baseline below 0": (changed("members.0.baseline.initial", 0, -0.1), "starts at 0"),
    "baseline times out of order": (changed("members.0.baseline.times", 0, 3.0), "increasing times"),
    "breaks out of order": (changed("members.2.breaks", 0, 2.5), "increasing times above 0"),
    "a break at 0": (changed("members.2.breaks", 0, 0.0), "increasing times above 0"),
    "fewer breaks than logits": (reshaped("members.2.breaks", [1.0, 2.0]), "4 outputs where 2"),
    "a network of another width": (reshaped("members.2.score.hidden", np.zeros((2, 9, 4))), "for 3 columns"),
    "a network without members": (reshaped("members.2.score.hidden", np.zeros((0, 3, 4))), "for 3 columns"),
    "a cycle": (changed(TREE + "left", 0, 0), "form a tree"),
    "a step backwards": (changed(TREE + "left", 2, 1), "form a tree"),
    "a child outside": (changed(TREE + "right", 0, 6), "form a tree"),
    "a child with two parents": (changed(TREE + "right", 0, 3), "several parents, or none"),
    "a root outside": (changed(TREE + "roots", 1, 9), "starts outside"),
    "a split on no column": (changed(TREE + "feature", 0, 3), "beyond the 3"),
    "a split on a negative column": (changed(TREE + "feature", 0, -1), "beyond the 3"),
    "positions that are not whole": (reshaped(TREE + "left", np.array([1.0, 1, 3, 3, 4, 5])), "whole numbers"),
    "too few nodes": (reshaped(TREE + "threshold", np.zeros(5, np.float32)), "do not fit together"),
    "a falling forest": (changed("members.3.rise", 1, -0.2), "falls"),
    "a step at no time": (changed("members.3.step", 0, 3), "not listed"),
    "steps before the first": (changed("members.3.starts", 0, 1), "do not fit together"),
    "steps beyond the last": (changed("members.3.starts", 6, 5), "do not fit together"),
    "steps out of order": (changed("members.3.starts", 2, 4), "falls"),
    "fewer steps than rises": (reshaped("members.3.step", np.array([0, 1])), "do not fit together"),
    "forest times out of order": (changed("members.3.times", 0, 3.0), "increasing times"),
    "leaves of another number": (reshaped("members.1.score.leaf", np.zeros((5, 1))), "leaf values for 6 nodes"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_no_predictor_is_refused(name: str) -> None:
    damage, reason = DAMAGES[name]
    structure, tensors = dismantle(pool())
    assemble(structure, tensors, WIDTH)
    damage(structure, tensors)
    with pytest.raises(ValueError, match=reason):
        assemble(structure, tensors, WIDTH)


def test_a_missing_tensor_is_refused() -> None:
    structure, tensors = dismantle(pool())
    del tensors["members.0.baseline.values"]
    with pytest.raises(KeyError, match=r"members\.0\.baseline\.values"):
        assemble(structure, tensors, WIDTH)


def test_a_pool_of_survival_and_label_is_refused() -> None:
    structure, tensors = dismantle(Pool((LogOdds(linear()), LogOdds(linear())), np.array([0.5, 0.5])))
    other, more = dismantle(ProportionalHazards(linear(), BASELINE))
    structure["members"][1] = other
    tensors |= {f"members.1.{name}": tensor for name, tensor in more.items()}
    with pytest.raises(ValueError, match="different kinds"):
        assemble(structure, tensors, WIDTH)

"""Policy, plan, stages and the guard of every route write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout import stages
from clinical_assets.rollout.evidence.maturity import CensoringCurve
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import AlphaSplit, RolloutPolicy
from clinical_assets.rollout.routing import RouteConflict, RouteState, guard

A, B, C = "a" * 64, "b" * 64, "c" * 64
PLAN = RolloutPlan(cancer="colon", champion=A, challenger=B, champion_brier=0.08)
digests = st.sampled_from([A, B, C])
routes = st.builds(
    lambda champion, challenger, weight, mirror: RouteState(
        "colon", "r", champion, None if challenger == champion else challenger,
        0 if challenger == champion else weight, challenger != champion and mirror,
    ),
    digests, digests, st.integers(0, 100), st.booleans(),
)  # fmt: skip


class Book:
    """Records what was asked; grants nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Scope]] = []

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> None:
        self.asked.append((model_digest, needed))


def test_rollback_budget_cannot_be_overspent() -> None:
    with pytest.raises(ValidationError, match=r"exceeds 0\.05"):
        AlphaSplit(service=0.04, harm=0.02)


@pytest.mark.parametrize("ramp", [(), (10, 5), (5, 5), (0, 50), (50, 100)])
def test_a_ramp_must_rise(ramp: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="ramp must rise"):
        RolloutPolicy(ramp=ramp)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="dwel_days"):
        RolloutPolicy.model_validate({"dwel_days": 3})


def test_the_digest_follows_every_value() -> None:
    assert RolloutPolicy().digest == RolloutPolicy().digest != RolloutPolicy(dwell_days=6.9).digest
    assert PLAN.digest != PLAN.model_copy(update={"champion_brier": 0.081}).digest


def test_the_plan_derives_margin_objective_and_weight_bound() -> None:
    curve = CensoringCurve(times=(100.0, 900.0), survival=(0.5, 0.1))
    plan = PLAN.model_copy(update={"horizon_days": 365.0, "censoring": curve, "champion_error_rate": 0.01})
    assert plan.margin == pytest.approx(0.004)
    assert plan.max_weight == 2.0, "what happens after the horizon does not widen the range"
    assert plan.error_objective == pytest.approx(0.02)
    assert PLAN.error_objective == 0.002


def test_a_comparison_needs_the_champion_s_brier_and_two_models() -> None:
    with pytest.raises(ValidationError, match="champion_brier"):
        RolloutPlan(cancer="colon", champion=A, challenger=B)
    with pytest.raises(ValidationError, match="already the champion"):
        RolloutPlan(cancer="colon", champion=A, challenger=A, champion_brier=0.1)


def test_high_risk_needs_approval_whatever_the_policy_says() -> None:
    relaxed = RolloutPolicy(approval_required=False)
    assert PLAN.model_copy(update={"policy": relaxed}).needs_approval
    assert not PLAN.model_copy(update={"policy": relaxed, "risk_class": "low"}).needs_approval


def test_stages_and_their_routes() -> None:
    assert stages.path(PLAN) == ("opening", "shadow", "5", "10", "25", "50", "approval", "100", "watch", "done")
    shares = {s: stages.route(PLAN, "r", s).weights.get(B, 0) for s in (*stages.path(PLAN), "rolled_back")}
    assert list(shares.values()) == [0, 0, 5, 10, 25, 50, 50, 100, 100, 100, 0]
    mirrored = [s for s in stages.path(PLAN) if stages.route(PLAN, "r", s).mirror]
    assert mirrored == ["shadow", "100", "watch"], "whoever answers nobody scores copies"
    assert stages.route(PLAN, "r", "watch").champion == A, "the old champion stays one write away"
    assert stages.preceding(PLAN, "approval") == "25"
    assert stages.preceding(PLAN, "5") == "shadow"


def test_a_first_deployment_goes_from_approval_to_all_patients() -> None:
    plan = RolloutPlan(cancer="colon", challenger=B)
    assert stages.path(plan) == ("opening", "approval", "100", "done")
    assert stages.route(plan, "r", "approval") is None
    assert stages.route(plan, "r", "100") == RouteState("colon", "r", B)
    assert stages.needed_scope(plan, "opening") is Scope.TRAFFIC


@pytest.mark.parametrize("weight", [-1, 101, 5.0, True])
def test_a_weight_is_a_whole_per_cent(weight: object) -> None:
    with pytest.raises(ValueError, match="whole per cent"):
        RouteState("colon", "r", A, B, weight)


def test_a_route_cannot_be_lopsided() -> None:
    with pytest.raises(ValueError, match="need a challenger"):
        RouteState("colon", "r", A, None, 0, mirror=True)
    with pytest.raises(ValueError, match="same model"):
        RouteState("colon", "r", A, A)
    with pytest.raises(ValueError, match="champion digest"):
        RouteState("colon", "r", "")


@given(routes)
def test_weights_always_sum_to_one_hundred(route: RouteState) -> None:
    assert sum(route.weights.values()) == 100


@given(routes)
def test_a_rollback_never_asks_for_a_verdict(route: RouteState) -> None:
    book = Book()
    guard(route.at_rest(), route, book, 0.0)
    assert book.asked == []


@given(routes, routes)
def test_whoever_gains_patients_is_verified(new: RouteState, current: RouteState) -> None:
    book = Book()
    guard(new, current, book, 0.0)
    for digest, weight in new.weights.items():
        if weight > current.weights.get(digest, 0) and digest != current.champion:
            assert (digest, Scope.TRAFFIC) in book.asked
    if new.mirror and new.challenger != current.challenger:
        assert {(new.challenger, Scope.SHADOW), (new.challenger, Scope.TRAFFIC)} & set(book.asked)


def test_a_route_of_another_cancer_is_refused() -> None:
    with pytest.raises(RouteConflict, match="breast"):
        guard(RouteState("breast", "r", A), RouteState("colon", "r", A), Book(), 0.0)

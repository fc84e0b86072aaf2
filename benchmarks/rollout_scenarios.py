"""Streams of simulated patients on which the rollout's tests and other rules are compared.

10 % prevalence, champion AUROC .79; every scenario returns, per rule and replication, the patients until it acts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import rollout_rules as rules
from clinical_assets.rollout.evidence.bets import FRACTION_WEIGHTS, FRACTIONS
from clinical_assets.rollout.evidence.latency import QUANTILES, SlowRate
from clinical_assets.rollout.evidence.winsorised import tail, tail_bound
from clinical_assets.rollout.policy import AlphaSplit, RolloutPolicy
from tests.rollout.patients import BRIER, INTERCEPT, MARGIN, SHIFT, SLOPE, cohort, score, sigmoid

Outcome = dict[str, np.ndarray]
SCENARIOS: dict[str, Callable[[np.random.Generator, int], Outcome]] = {}


def scenario(name: str) -> Callable[[Callable[[np.random.Generator, int], Outcome]], Any]:
    def register(function: Callable[[np.random.Generator, int], Outcome]) -> Any:
        SCENARIOS[name] = function
        return function

    return register


def _paired(rng: np.random.Generator, shape: tuple[int, int], worse: int = 0) -> tuple[np.ndarray, ...]:
    a, b, y = cohort(shape, rng, worse)
    return a, b, (a - y) ** 2, (b - y) ** 2


def _others(w: np.ndarray, scale: float = MARGIN) -> Outcome:
    return {
        "naive z": rules.naive_z(w),
        "fixed horizon": rules.fixed_horizon(w),
        "O'Brien-Fleming": rules.obrien_fleming(w),
        "mSPRT": rules.msprt(w, scale),
    }


def _harm(rng: np.random.Generator, r: int, worse: int, n: int = 2500) -> Outcome:
    _, _, loss_a, loss_b = _paired(rng, (r, n), worse)
    z = loss_b - loss_a
    found = {"M0": rules.rejects(rules.bounded(z, -1)), **_others(z)}
    for name, rule in (("Flagger", rules.flagger_like), ("Argo", rules.argo_like), ("Kayenta", rules.kayenta_like)):
        found[f"{name}-like"] = rule(loss_a, loss_b)
    if worse:
        found["oracle SPRT"] = rules.oracle_sprt(z, float(z.mean()), float(z.var()))
    return found


for _worse in (0, 10, 25, 50):
    scenario("harm, equal model" if not _worse else f"harm, +{_worse} %")(
        lambda rng, r, worse=_worse: _harm(rng, r, worse)
    )


def _proofs(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, z: np.ndarray, pool_heavy: bool = False) -> Outcome:
    pool_a, pool_b, _ = cohort((20_000,), rng)
    if pool_heavy:
        rare = rng.uniform(size=pool_a.shape) < RARE
        pool_a, pool_b = np.where(rare, 0.95, pool_a), np.where(rare, 0.02, pool_b)
    eta = tail_bound(tail(pool_b, pool_a))
    found = {"M0": rules.rejects(rules.bounded(MARGIN - z, MARGIN - 1.01)), **_others(MARGIN - z)}
    if eta < MARGIN:
        found["M2"] = rules.winsorised(z, tail(b, a), eta, MARGIN)
    else:
        found["M2"] = rules.rejects(rules.bounded(MARGIN - z, MARGIN - 1.01) + np.log(0.25), 0.04)
    return found


@scenario("promotion, model at the margin")
def _at_margin(rng: np.random.Generator, r: int) -> Outcome:
    a, b, loss_a, loss_b = _paired(rng, (r, 2500))
    z = loss_b - loss_a
    return _proofs(rng, a, b, z + (MARGIN - z.mean()))


@scenario("promotion, equal model")
def _equal(rng: np.random.Generator, r: int) -> Outcome:
    a, b, loss_a, loss_b = _paired(rng, (r, 2500))
    found = _proofs(rng, a, b, loss_b - loss_a)
    z = MARGIN - (loss_b - loss_a)
    return {**found, "oracle SPRT": rules.oracle_sprt(z, float(z.mean()), float(z.var()))}


RARE = 0.0045


def _rare(rng: np.random.Generator, r: int, current_pool: bool) -> Outcome:
    """A rare subgroup carries the whole loss; the mean is the margin (checked in expectation, not per stream)."""
    a, b, y = cohort((r, 2500), rng)
    rare = rng.uniform(size=a.shape) < RARE
    a, b = np.where(rare, 0.95, a), np.where(rare, 0.02, b)
    y = np.where(rare, rng.uniform(size=a.shape) < 0.95, y)
    z = (b - y) ** 2 - (a - y) ** 2
    return _proofs(rng, a, b, z + (MARGIN - z.mean()), current_pool)


scenario("promotion, rare heavy losses")(lambda rng, r: _rare(rng, r, True))
scenario("promotion, rare heavy losses, stale pool")(lambda rng, r: _rare(rng, r, False))


def _ramp(rng: np.random.Generator, r: int, prevalences: tuple[float, float], n: int = 4000) -> Outcome:
    """Equal models while the weight rises 5, 10, 25, 50 and the prevalence moves."""
    share = np.repeat([0.05, 0.1, 0.25, 0.5], n // 4)[None, :]
    drift = np.log(np.linspace(*prevalences, n)) - np.log(0.1)
    x = rng.normal(size=(r, n))
    a, b = score(x, rng), score(x, rng)
    y = rng.uniform(size=x.shape) < sigmoid(INTERCEPT + SLOPE * x + drift)
    return _split(rng, a, b, y, share)


def _split(
    rng: np.random.Generator, a: np.ndarray, b: np.ndarray, y: np.ndarray, share: np.ndarray, worse: int = 0
) -> Outcome:
    arm = rng.uniform(size=a.shape) < share
    loss = np.where(arm, (b - y) ** 2, (a - y) ** 2)
    inverse = np.where(arm, 1 / share, -1 / (1 - share))
    centre = (1 - share) * (b**2 + a * (1 - 2 * b)) + share * (a**2 + a * (1 - 2 * a))
    z = (loss - centre) * inverse
    found = {"M4": rules.rejects(rules.split(z, share))}
    if worse:
        found["oracle SPRT"] = rules.oracle_sprt(z, float(z.mean()), float(z.var()))
    found["IPW"] = rules.rejects(rules.split((loss - BRIER) * inverse, share))
    n_b, n_a = (rules.at_looks(np.where(side, 1.0, 0.0)) for side in (arm, ~arm))
    s_b, s_a = (rules.at_looks(np.where(side, loss, 0.0)) for side in (arm, ~arm))
    q = rules.at_looks(loss**2) / (n_a + n_b)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (s_b / n_b - s_a / n_a) / np.sqrt(q * (1 / n_a + 1 / n_b))
    found["pooled naive z"] = rules.first_look((z > 1.645) & (np.minimum(n_a, n_b) >= 20))
    return found


scenario("split, equal, ramp, prevalence 6 to 15 %")(lambda rng, r: _ramp(rng, r, (0.06, 0.15)))
scenario("split, equal, ramp, prevalence 15 to 6 %")(lambda rng, r: _ramp(rng, r, (0.15, 0.06)))


def _still(rng: np.random.Generator, r: int, share: float, worse: int, n: int) -> Outcome:
    a, b, y = cohort((r, n), rng, worse)
    return _split(rng, a, b, y, np.full((1, n), share), worse)


scenario("split 10 %, equal")(lambda rng, r: _still(rng, r, 0.1, 0, 4000))
scenario("split 50 %, +25 %")(lambda rng, r: _still(rng, r, 0.5, 25, 6000))


@scenario("all guardrails, equal model")
def _many(rng: np.random.Generator, r: int, n: int = 2500) -> Outcome:
    """Outcome, nine subgroups, errors and three latency rates together, each at its share of alpha."""
    alpha = AlphaSplit()
    a, b, y = cohort((r, n), rng)
    z = (b - y) ** 2 - (a - y) ** 2
    missed = y * ((a >= 0.1).astype(float) - (b >= 0.1))
    sex, age, race = (rng.integers(k, size=z.shape) for k in (2, 3, 4))
    groups = [sex == 0, sex == 1, *(age == k for k in range(3)), *(race == k for k in range(4))]
    margin = RolloutPolicy().subgroup_margin
    logs = [rules.bounded(np.where(group, missed - margin * y, 0.0), -1 - margin) for group in groups]
    subgroup = np.logaddexp.reduce(logs, axis=0) - np.log(len(groups))
    crossed = [rules.rejects(rules.bounded(z, -1), alpha.harm / 2), rules.rejects(subgroup, alpha.subgroup)]
    naive = [rules.naive_z(z), *(rules.naive_z(np.where(group, missed, 0.0)) for group in groups)]
    slow = [SlowRate(100.0, 1 - q) for q in QUANTILES]
    rates = [(0.001, 0.002, rules.error_alternatives(0.002), alpha.service / 2)]
    rates += [(s.reference, s.objective, rules.latency_alternatives(s.objective), alpha.latency / 6) for s in slow]
    for rate, p0, alternatives, share in rates:
        on_b = rng.uniform(size=z.shape) < 0.5
        fail = (rng.uniform(size=z.shape) < rate).astype(float)
        crossed.append(rules.rejects(rules.rate_ratio(fail, on_b, 0.5), share))
        crossed.append(rules.rejects(rules.rate_objective(fail, on_b, p0, alternatives), share))
        naive.append(rules.naive_z(np.where(on_b, fail, -fail)))
    return {"guardrails": np.min(crossed, axis=0), "naive z on each": np.min(naive, axis=0)}


@scenario("errors .1 to 1 %, requests of the challenger")
def _errors(rng: np.random.Generator, r: int, n: int = 4000) -> Outcome:
    fail = (rng.uniform(size=(r, n)) < 0.01).astype(float)
    objective = rules.rate_objective(fail, np.ones_like(fail, dtype=bool), 0.002, rules.error_alternatives(0.002))
    return {"objective": rules.rejects(objective, AlphaSplit().service / 2)}


def _survival(rng: np.random.Generator, r: int, worse: int, weekly: int = 70, weeks: int = 76) -> Outcome:
    """Calendar weeks from go-live; horizon 52 weeks, a fifth censored on the way. Waiting: no censoring (flattered)."""
    entry = np.repeat(np.arange(weeks), weekly) + np.tile(np.arange(weekly) / weekly, weeks)
    x = rng.normal(size=(r, entry.size))
    event = rng.exponential(size=x.shape) / -np.log1p(-sigmoid(INTERCEPT + SLOPE * x))
    lost = rng.exponential(size=x.shape) / -np.log(0.8)
    a, b = score(x, rng), score(x, rng, SHIFT[worse])
    harm, proof = rules.person_time(a, b, np.where(event <= lost, event, -lost), entry, weeks)
    y = event <= 1
    mature = (b - y) ** 2 - (a - y) ** 2
    waited = [np.log1p(f * mature).reshape(r, weeks, weekly).sum(axis=2).cumsum(axis=1) for f in FRACTIONS]
    wait = np.logaddexp.reduce([w + np.log(q) for w, q in zip(waited, FRACTION_WEIGHTS, strict=True)], axis=0)
    wait = np.concatenate([np.zeros((r, 52)), wait[:, : weeks - 52]], axis=1)
    found = {"M5 harm": harm, "wait for the horizon, M0 harm": wait, "M5 promotion": proof}
    return {name: rules.rejects(log_e) // rules.EVERY for name, log_e in found.items()}


scenario("survival in weeks, equal")(lambda rng, r: _survival(rng, r, 0))
scenario("survival in weeks, +25 %")(lambda rng, r: _survival(rng, r, 25))


@scenario("promotion, worse model (risks too low), labels come over a year")
def _delayed(rng: np.random.Generator, r: int, weekly: int = 70, weeks: int = 52) -> Outcome:
    """One year after go-live: nobody is mature; who counts early events or takes the unlabelled as free is fooled."""
    n = weekly * weeks
    x = rng.normal(size=(r, n))
    y = rng.uniform(size=x.shape) < sigmoid(INTERCEPT + SLOPE * x)
    a, b = score(x, rng), score(x, rng, -1.0)
    known_after = np.where(y, rng.uniform(size=x.shape), 1.0)
    waited = 1 - np.arange(n) / n
    event_free = np.where(y & (known_after <= waited), 1.0, 0.0)
    seen = (event_free - b) ** 2 - (event_free - a) ** 2
    mature = np.where(waited >= 1, MARGIN - seen, 0.0)
    return {
        "M0, mature patients only": rules.rejects(rules.bounded(mature, MARGIN - 1)),
        "unlabelled = no event, z": rules.naive_z(MARGIN - seen),
        "unlabelled = no event, M0": rules.rejects(rules.bounded(MARGIN - seen, MARGIN - 1)),
    }

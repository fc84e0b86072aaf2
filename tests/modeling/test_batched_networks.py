"""A batch of networks against each network alone, against autograd, closed forms and Newton's ridge regression."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.batched_search import train_alone
from clinical_assets.modeling import batched_networks
from clinical_assets.modeling.batched_networks import (
    Fitted,
    Loss,
    Network,
    Sample,
    Schedule,
    initial_weights,
    train,
)
from clinical_assets.modeling.families.cox import fit_penalised
from clinical_assets.modeling.outcomes import Outcomes

PARTS = ("hidden", "bias", "output", "skip", "intercept")
SHORT = Schedule(epochs=25, patience=6)


def sample(rng: np.random.Generator, n: int, columns: int, survival: bool) -> Sample:
    """Rows whose first two columns carry risk; follow-up has ties, and the first row has the event."""
    rows = rng.normal(size=(n, columns))
    log_hazard = rows[:, 0] + rows[:, 0] * (rows[:, -1] > 0)
    if not survival:
        return Sample(rows, rng.random(n) < 1.0 / (1.0 + np.exp(-log_hazard)))
    died, left = np.ceil(rng.exponential(np.exp(-log_hazard)) * 20.0) / 10.0, rng.uniform(0.5, 4.0, n)
    event = (died <= left) | (np.arange(n) == 0)
    return Sample(rows, event, np.where(event, died, left))


def network(seed: int, loss: Loss | None = None) -> Network:
    """A network of random shape, loss, rate and penalties."""
    rng = np.random.default_rng(seed)
    chosen: Loss = loss or ("cox", "hazard", "binomial")[seed % 3]
    columns, survival = int(rng.integers(1, 30)), chosen != "binomial"
    return Network(
        sample(rng, int(rng.integers(8, 300)), columns, survival),
        sample(rng, int(rng.integers(4, 120)), columns, survival),
        chosen,
        seed,
        units=int(rng.integers(0, 20)),
        learning_rate=10.0 ** rng.uniform(-2.5, -1.3),
        skip_penalty=10.0 ** rng.uniform(-3.0, 0.0),
        unit_penalty=10.0 ** rng.uniform(-3.0, 0.0),
        breaks=np.sort(rng.uniform(0.2, 4.0, int(rng.integers(1, 11)))) if chosen == "hazard" else None,
    )


POOL = [network(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def alone() -> list[Fitted]:
    """Each network of the pool, trained in a batch of its own."""
    return [train([one], SHORT)[0] for one in POOL]


def identical(a: Fitted, b: Fitted) -> bool:
    same = all(np.array_equal(getattr(a.weights, part), getattr(b.weights, part)) for part in PARTS)
    return same and a.epoch == b.epoch and a.held_out_loss == b.held_out_loss


def test_a_batch_equals_autograd_and_adam_on_each_network_alone() -> None:
    networks = [network(seed) for seed in range(36)]
    by_themselves = [train_alone(one, SHORT, dtype=torch.float64) for one in networks]
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 5e-5)):
        for one, together, alone in zip(networks, train(networks, SHORT, dtype=dtype), by_themselves, strict=True):
            rows = one.held_out.rows
            assert together.epoch == alone.epoch
            assert together.held_out_loss == pytest.approx(alone.held_out_loss, abs=tolerance)
            np.testing.assert_allclose(together.weights(rows), alone.weights(rows), atol=tolerance)


@given(chosen=st.lists(st.integers(0, len(POOL) - 1), min_size=1, max_size=20), at_once=st.integers(1, 20))
@settings(max_examples=12, deadline=None)
def test_company_and_order_do_not_change_a_single_bit(alone: list[Fitted], chosen: list[int], at_once: int) -> None:
    together = train([POOL[index] for index in chosen], SHORT, at_once=at_once)
    assert all(identical(fitted, alone[index]) for fitted, index in zip(together, chosen, strict=True))


@pytest.mark.parametrize("loss", ["cox", "hazard", "binomial"])
def test_many_networks_of_one_shape_retire_one_after_the_other_without_a_trace(loss: Loss) -> None:
    common = network(41, loss)
    networks = [
        replace(common, seed=seed, learning_rate=0.002 * 1.4**seed, unit_penalty=0.001 * 2.0**seed)
        for seed in range(11)
    ]
    together = train(networks, Schedule(epochs=40, patience=3, slack=0.0))
    assert len({fitted.epoch for fitted in together}) > 3
    for one, fitted in zip(networks, together, strict=True):
        assert identical(fitted, train([one], Schedule(epochs=40, patience=3, slack=0.0))[0])


def test_threads_do_not_change_a_single_bit_and_come_back(alone: list[Fitted]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert all(identical(a, b) for a, b in zip(train(POOL, SHORT), alone, strict=True))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_agrees_with_the_cpu(alone: list[Fitted]) -> None:
    for one, here, there in zip(POOL, alone, train(POOL, SHORT, "cuda"), strict=True):
        np.testing.assert_allclose(there.weights(one.held_out.rows), here.weights(one.held_out.rows), atol=1e-3)


@pytest.mark.parametrize("loss", ["cox", "hazard", "binomial"])
def test_an_epoch_stays_on_its_device_and_reads_nothing_back(loss: Loss) -> None:
    common = network(41, loss)
    shape = batched_networks._Shape.of(common)
    batch = batched_networks._Batch(
        [common, replace(common, seed=1)], shape, {"device": torch.device("meta"), "dtype": torch.float32}
    )
    with torch.no_grad():  # tensors of this device hold no values: reading one, or mixing in a CPU's, is an error
        batch._validate(0, SHORT)
        batch._step(1)
    assert {batch.weights.device.type, batch.best.device.type, batch.running.device.type} == {"meta"}


@given(rows=st.integers(1, 100_000), columns=st.integers(1, 300), units=st.integers(0, 64))
@settings(max_examples=200, deadline=None)
def test_padding_is_bounded(rows: int, columns: int, units: int) -> None:
    held = Sample(np.zeros((1, columns)), np.ones(1, dtype=bool))
    shape = batched_networks._Shape.of(Network(held, held, "binomial", 0, units=units))
    assert columns + 1 <= shape.columns <= columns + 4
    assert units <= shape.units <= units + 7
    assert rows <= batched_networks._padded_rows(rows) <= max(rows * 1.125 + 1, rows + 31)


def test_the_partial_likelihood_is_its_definition_with_ties(censored) -> None:
    outcomes, score = censored
    held_out = Sample(score[:, None], outcomes.event, outcomes.time)
    fitted = train([Network(held_out, held_out, "cox", 1)], Schedule(epochs=0), dtype=torch.float64)[0]
    score = fitted.weights(held_out.rows)[:, 0]
    at_risk = outcomes.time[:, None] <= outcomes.time
    each = np.log(at_risk @ np.exp(score)) - score
    assert fitted.held_out_loss == pytest.approx(each[outcomes.event].sum() / outcomes.n, rel=1e-12)


def test_the_likelihood_of_hazards_is_that_of_the_survival_curve_they_make(censored) -> None:
    outcomes, score = censored
    breaks = np.array([100.0, 250.0, 400.0, 900.0])
    held_out = Sample(score[:, None], outcomes.event, outcomes.time)
    network = Network(held_out, held_out, "hazard", 1, breaks=breaks)
    fitted = train([network], Schedule(epochs=0), dtype=torch.float64)[0]
    hazard = np.logaddexp(0.0, fitted.weights(held_out.rows))
    total = 0.0
    for row in range(outcomes.n):
        knots, cumulative = np.append(0.0, breaks), np.append(0.0, np.cumsum(hazard[row]))
        time = float(outcomes.time[row])
        if outcomes.event[row] and time <= breaks[-1]:
            interval = int(np.searchsorted(breaks, time))
            total -= np.log(np.exp(-cumulative[interval]) - np.exp(-cumulative[interval + 1]))
        else:
            total += np.interp(time, knots, cumulative)
    assert fitted.held_out_loss == pytest.approx(total / outcomes.n, rel=1e-12)


def test_under_a_strong_penalty_on_its_units_a_network_is_the_ridge_regression() -> None:
    tied = sample(np.random.default_rng(5), 250, 4, survival=True)
    cohort = replace(tied, times=tied.times + 1e-6 * np.arange(250))
    per_event = 0.1 * cohort.flag.mean()
    network = Network(cohort, cohort, "cox", 0, units=4, learning_rate=0.02, skip_penalty=per_event, unit_penalty=100.0)
    fitted = train([network], Schedule(epochs=600, slack=100.0), dtype=torch.float64)[0]
    ridge = fit_penalised(cohort.rows, Outcomes.survival(cohort.times, cohort.flag), 0.1)
    np.testing.assert_allclose(fitted.weights.skip, ridge.coefficients, atol=1e-4)
    np.testing.assert_allclose(fitted.weights.output, 0.0, atol=1e-4)


def test_initial_weights_belong_to_the_seed() -> None:
    one = network(3)
    again, other = initial_weights(network(3)), initial_weights(replace(one, seed=4))
    np.testing.assert_array_equal(initial_weights(one).hidden, again.hidden)
    assert not np.array_equal(again.hidden, other.hidden)


def test_a_network_stops_by_its_own_held_out_rows() -> None:
    rng = np.random.default_rng(0)
    learning, noise = sample(rng, 200, 5, survival=False), sample(rng, 200, 5, survival=False)
    noise = Sample(noise.rows, ~noise.flag)
    schedule = Schedule(epochs=60, patience=5, slack=0.0)
    free = Network(learning, learning, "binomial", 1, skip_penalty=0.0, unit_penalty=0.0)
    hopeful, misled = train([free, replace(free, held_out=noise)], schedule)
    assert hopeful.epoch == 60
    assert misled.epoch < 5


@pytest.mark.parametrize("loss", ["cox", "hazard", "binomial"])
def test_wild_values_give_finite_weights(loss: Loss) -> None:
    one = network(50, loss)
    wild = Sample(one.training.rows * 1e4, one.training.flag, one.training.times)
    fitted = train([replace(one, training=wild, held_out=wild, skip_penalty=0.0, unit_penalty=0.0)], SHORT)[0]
    assert np.isfinite(fitted.held_out_loss)
    assert all(np.isfinite(getattr(fitted.weights, part)).all() for part in PARTS)


def test_what_cannot_be_trained_is_named() -> None:
    rows, flag, times = np.ones((3, 2)), np.array([True, False, True]), np.arange(1.0, 4.0)
    survival, label = Sample(rows, flag, times), Sample(rows, flag)
    with pytest.raises(ValueError, match="not finite"):
        Sample(np.full((3, 2), np.nan), flag)
    with pytest.raises(ValueError, match="with outcomes"):
        Sample(rows, flag[:2])
    with pytest.raises(ValueError, match="no follow-up time"):
        Network(label, label, "cox", 1)
    with pytest.raises(ValueError, match="no event among 3 rows"):
        Network(survival, Sample(rows, ~flag & False, times), "cox", 1)
    with pytest.raises(ValueError, match="breaks belong"):
        Network(survival, survival, "hazard", 1)
    with pytest.raises(ValueError, match="2 and of 1 columns"):
        Network(label, Sample(rows[:, :1], flag), "binomial", 1)


def test_the_file_runs_alone_with_torch_and_numpy(tmp_path: Path) -> None:
    shutil.copy(Path(batched_networks.__file__), tmp_path / "elsewhere.py")
    code = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); import elsewhere as e\n"
        "rows = np.random.default_rng(0).normal(size=(40, 3)); one = e.Sample(rows, rows[:, 0] > 0)\n"
        "print(len(e.train([e.Network(one, one, 'binomial', 1)], e.Schedule(2))))\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted({'clinical_assets', 'pandas', 'scipy', 'sklearn'} & loaded))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.split("\n")[:2] == ["1", "[]"]

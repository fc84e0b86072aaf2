"""What holds for a fitted model of every family and endpoint, whatever it is made of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache

import numpy as np
import pandas as pd
import pytest

from clinical_assets.modeling.calibration import Recalibration, from_link, to_link
from clinical_assets.modeling.encoder import Feature
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.modeling.options import FAMILIES
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictor_format import assemble, dismantle

HORIZON = 1.0
KINDS = ("survival", "binary")
SURVIVAL = [pytest.param("survival", family, id=family) for family in FAMILIES]
EVERY = [(kind, family) for kind in KINDS for family in FAMILIES if (kind, family) != ("binary", "rsf")]
FEATURES = (
    Feature("age", "number"),
    Feature("nodes", "integer"),
    Feature("stage", "category", ("I", "II", "III", "IV")),
    Feature("treated", "boolean"),
)
every = pytest.mark.parametrize(("kind", "family"), EVERY)


def cohort(kind: str, rows: int = 160, seed: int = 0) -> tuple[pd.DataFrame, Outcomes]:
    """Gaps in every column, a level that nobody has, a long tail; risk rises with age, nodes and stage."""
    rng = np.random.default_rng(seed)
    age, nodes = rng.normal(60.0, 10.0, rows), np.floor(rng.exponential(3.0, rows) ** 1.5)
    stage, treated = rng.integers(0, 3, rows), rng.integers(0, 2, rows).astype(float)
    link = 0.05 * (age - 60.0) + 0.4 * np.log1p(nodes) + 0.5 * stage - 0.4 * treated - 1.0
    frame = pd.DataFrame({"age": age, "nodes": nodes, "stage": np.array(["I", "II", "III"])[stage], "treated": treated})
    frame = frame.astype({"stage": object}).mask(rng.uniform(size=frame.shape) < 0.06)
    if kind == "binary":
        return frame, Outcomes.binary(rng.uniform(size=rows) < 1.0 / (1.0 + np.exp(-link)))
    time, censored = rng.exponential(np.exp(-link)), rng.uniform(0.2, 4.0, rows)
    return frame, Outcomes.survival(np.ceil(np.minimum(time, censored) * 100.0) / 100.0, time <= censored)


def unfitted(kind: str, family: str, features: tuple[Feature, ...] = FEATURES) -> FamilyModel:
    return FamilyModel(family, features, kind, 7, HORIZON if kind == "survival" else None)


@cache
def fitted(kind: str, family: str) -> FamilyModel:
    return unfitted(kind, family).fit(*cohort(kind))


def tensors(model: FamilyModel) -> dict[str, np.ndarray]:
    return dismantle(model.predictor_)[1]


@every
def test_learning_twice_gives_the_same_bits(kind: str, family: str) -> None:
    first, second = tensors(fitted(kind, family)), tensors(unfitted(kind, family).fit(*cohort(kind)))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])


@every
def test_the_order_of_columns_does_not_matter(kind: str, family: str) -> None:
    frame, outcomes = cohort(kind)
    other = unfitted(kind, family).fit(frame[frame.columns[::-1]].assign(unused=1.0), outcomes)
    np.testing.assert_array_equal(other.risk(frame, HORIZON), fitted(kind, family).risk(frame, HORIZON))


@every
def test_the_order_of_rows_does_not_change_what_a_row_gets(kind: str, family: str) -> None:
    frame, _ = cohort(kind)
    order = np.random.default_rng(1).permutation(len(frame))
    model = fitted(kind, family)
    shuffled = model.risk(frame.iloc[order], HORIZON)
    np.testing.assert_allclose(shuffled, model.risk(frame, HORIZON)[order], rtol=0, atol=1e-13)


@every
def test_a_gap_gets_a_risk_and_an_unknown_category_none(kind: str, family: str) -> None:
    model = fitted(kind, family)
    nothing: dict[str, object] = {feature.name: None for feature in FEATURES}
    assert 0.0 < model.risk([nothing], HORIZON)[0] < 1.0
    assert 0.0 < model.risk([nothing | {"stage": "IV"}], HORIZON)[0] < 1.0
    with pytest.raises(ValueError, match="'stage': 1 of 1 rows hold a category outside the contract"):
        model.risk([nothing | {"stage": "V"}], HORIZON)


@every
def test_columns_that_say_nothing_do_no_harm(kind: str, family: str) -> None:
    frame, outcomes = cohort(kind)
    silent = (Feature("centre", "category", ("here", "there")), Feature("empty", "number"), Feature("one", "boolean"))
    frame = frame.assign(centre="here", empty=np.nan, one=1.0)
    model = unfitted(kind, family, (*FEATURES, *silent)).fit(frame, outcomes)
    np.testing.assert_allclose(model.risk(frame, HORIZON), fitted(kind, family).risk(frame, HORIZON), rtol=0, atol=1e-9)


@every
def test_one_feature_is_enough_and_none_that_varies_gives_everyone_the_same(kind: str, family: str) -> None:
    frame, outcomes = cohort(kind)
    alone = unfitted(kind, family, FEATURES[:1]).fit(frame, outcomes).risk(frame, HORIZON)
    assert ((alone > 0.0) & (alone < 1.0)).all()
    constant = frame.assign(age=60.0)
    flat = unfitted(kind, family, FEATURES[:1]).fit(constant, outcomes).risk(constant, HORIZON)
    assert np.ptp(flat) < 1e-6


@every
def test_every_subject_twice_is_learnt_from(kind: str, family: str) -> None:
    frame, outcomes = cohort(kind)
    twice = np.tile(np.arange(len(frame)), 2)
    model = unfitted(kind, family).fit(frame.iloc[twice].reset_index(drop=True), outcomes.take(twice))
    assert np.corrcoef(model.risk(frame, HORIZON), fitted(kind, family).risk(frame, HORIZON))[0, 1] > 0.6


@every
def test_a_handful_of_subjects_is_learnt_from(kind: str, family: str) -> None:
    frame, outcomes = cohort(kind, rows=400)
    few = np.sort(np.concatenate((np.flatnonzero(outcomes.flag)[:8], np.flatnonzero(~outcomes.flag)[:10])))
    frame = frame.iloc[few].reset_index(drop=True)
    risk = unfitted(kind, family).fit(frame, outcomes.take(few)).risk(frame, HORIZON)
    assert np.isfinite(risk).all()
    assert ((risk >= 0.0) & (risk <= 1.0)).all()


@every
def test_the_unit_of_a_number_does_not_matter(kind: str, family: str) -> None:
    frame, outcomes = cohort(kind)
    other = frame.assign(age=frame["age"] * 10.0, nodes=frame["nodes"] * 10.0)
    found = unfitted(kind, family).fit(other, outcomes).risk(other, HORIZON)
    np.testing.assert_allclose(found, fitted(kind, family).risk(frame, HORIZON), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "family"), SURVIVAL)
def test_survival_falls_from_one_and_meets_the_risk(kind: str, family: str) -> None:
    model, (frame, _) = fitted(kind, family), cohort(kind)
    times = np.concatenate((np.linspace(0.0, 6.0, 60), [HORIZON]))
    survival = model.survival(frame, times)
    assert (survival[:, 0] == 1.0).all()
    assert ((survival >= 0.0) & (survival <= 1.0)).all()
    assert (np.diff(survival[:, :-1], axis=1) <= 1e-15).all()
    np.testing.assert_allclose(1.0 - survival[:, -1], model.risk(frame, HORIZON), rtol=0, atol=1e-12)


@every
def test_recalibration_moves_the_link_and_nothing_else(kind: str, family: str) -> None:
    frame, _ = cohort(kind)
    link = "cloglog" if kind == "survival" else "logit"
    raw = fitted(kind, family)
    changed = raw.recalibrated(Recalibration(link, 0.3, 0.8))
    expected = from_link(0.3 + 0.8 * to_link(raw.risk(frame, HORIZON), link), link)
    np.testing.assert_allclose(changed.risk(frame, HORIZON), expected, rtol=0, atol=1e-9)
    if kind == "survival":
        at_horizon = changed.survival(frame, np.array([0.2, HORIZON]))[:, 1]
        np.testing.assert_allclose(1.0 - at_horizon, changed.risk(frame, HORIZON), rtol=0, atol=1e-12)


@every
def test_the_parts_come_back_exactly(kind: str, family: str) -> None:
    model, (frame, _) = fitted(kind, family), cohort(kind)
    structure, held = dismantle(model.predictor_)
    again = model.recalibrated(model.recalibration)
    again.predictor_ = assemble(structure, held, width=len(model.encoder_.source))
    np.testing.assert_array_equal(again.risk(frame, HORIZON), model.risk(frame, HORIZON))


@pytest.fixture(scope="module")
def digests() -> list[dict[str, str]]:
    """The digest of every family's tensors, learnt by a process of one thread and by one of two."""
    code = (
        "import json, sys, torch; from clinical_assets.foundation.canonical import sha256_bytes\n"
        "from tests.modeling.test_family_contract import EVERY, fitted, tensors\n"
        "torch.set_num_threads(int(sys.argv[1]))\n"
        "def digest(parts): return sha256_bytes(b''.join(n.encode() + parts[n].tobytes() for n in sorted(parts)))\n"
        "print(json.dumps({' '.join(one): digest(tensors(fitted(*one))) for one in EVERY}))"
    )
    found = []
    for threads in ("1", "2"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        run = subprocess.run(
            [sys.executable, "-c", code, threads], capture_output=True, text=True, check=True, env=environment
        )
        found.append(json.loads(run.stdout.splitlines()[-1]))
    return found


@every
def test_the_number_of_threads_changes_no_bit(kind: str, family: str, digests: list[dict[str, str]]) -> None:
    one, two = (found[f"{kind} {family}"] for found in digests)
    assert one == two


def test_a_forest_for_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="family rsf learns survival endpoints only"):
        unfitted("binary", "rsf").fit(*cohort("binary"))

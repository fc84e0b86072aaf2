"""Recent scores against the judged ones: quiet, gates again, or a retraining, with an observation each window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pytest

from clinical_assets.foundation.home import Home
from clinical_assets.monitoring.surroundings import alerts_given
from clinical_assets.rollout.entries import Arm, Prediction
from clinical_assets.rollout.evidence.drift import score_reference
from clinical_assets.rollout.recent_scores import ROWS, WINDOW, Place, looks, references
from tests.rollout.conftest import CANCER, CHAMPION, World
from tests.rollout.patients import cohort


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A rollout whose plan holds the champion's scores on 5,000 test patients."""
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path))
    world = World(tmp_path)
    champion, _, _ = cohort((5000,), np.random.default_rng(1))
    world.open(champion_scores=score_reference(champion.tolist()))
    yield world
    world.engine.dispose()


def answer(world: World, n: int, shift: float = 0.0) -> None:
    """The champion answers `n` new patients whose risk lies `shift` logits higher."""
    risks, _, _ = cohort((n,), world.rng)
    moved = 1 / (1 + np.exp(-(np.log(risks / (1 - risks)) + shift)))
    entries = []
    for risk in moved:
        world.patients += 1
        who = (f"q{world.patients}", CHAMPION, CANCER, world.rollout_id, f"p{world.patients}")
        entries.append(Prediction(*who, Arm.CHAMPION, 0.0, float(risk), world.clock.at))
    world.ledger.record_predictions(entries)


def verdicts(world: World, place: Place) -> list[str]:
    return [look.verdict for look in looks(world.engine, references(world.ledger), place)]


def test_the_same_patients_raise_no_alarm_in_many_windows(watched: World) -> None:
    answer(watched, 20 * WINDOW)
    assert verdicts(watched, Place()) == ["as judged"] * 20


@pytest.mark.parametrize(("shift", "verdict"), [(0.45, "moved"), (1.2, "large")])
def test_a_shift_is_named_by_its_size(watched: World, shift: float, verdict: str) -> None:
    answer(watched, WINDOW, shift)
    assert verdicts(watched, Place()) == [verdict]


def test_windows_fill_over_several_calls_and_no_score_counts_twice(watched: World) -> None:
    place = Place()
    answer(watched, WINDOW - 1)
    assert verdicts(watched, place) == []
    place = Place.model_validate_json(place.model_dump_json())
    answer(watched, 1)
    assert verdicts(watched, place) == ["as judged"]
    assert verdicts(watched, place) == []
    assert ROWS >= WINDOW


def test_the_sensor_observes_asks_once_and_tells(watched: World, caplog: pytest.LogCaptureFixture) -> None:
    from clinical_assets.definitions import build_defs, gates_again, trial_to_route
    from sensors.drift import GATES, build_drift_sensor

    answer(watched, WINDOW, 0.45)
    answer(watched, WINDOW, 1.2)
    sensor = build_drift_sensor(trial_to_route, gates_again)
    store: Any = SimpleNamespace(ledger=lambda: watched.ledger)
    with dg.instance_for_test() as instance:
        repository = build_defs().get_repository_def()
        context = dg.build_sensor_context(
            instance=instance, repository_def=repository, resources={"ledger_store": store}
        )
        found = sensor(context)
        assert isinstance(found, dg.SensorResult)
        again = sensor(
            dg.build_sensor_context(
                instance=instance, repository_def=repository, resources={"ledger_store": store}, cursor=found.cursor
            )
        )
    gates, training = found.run_requests or []
    assert (gates.job_name, gates.partition_key, gates.asset_check_keys) == ("gates_again", CANCER, list(GATES))
    assert (training.job_name, training.asset_check_keys) == ("trial_to_route", None)
    observed = [event.metadata["verdict"].value for event in found.asset_events]
    assert observed == ["moved", "large"]
    assert isinstance(again, dg.SensorResult)
    assert not again.run_requests
    given = [(one.labels, one.count) for one in alerts_given(Home(watched.directory))]
    assert given == [(("scores have drifted", "colon"), 2)]

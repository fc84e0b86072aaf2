"""Predictions and outcomes are stored exactly once, quickly, and stay as they were."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from clinical_assets.audit.keys import KeyStore
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.entries import (
    Arm,
    Outcome,
    OutcomeConflict,
    Prediction,
    PredictionStatus,
    Recorded,
    UnknownRequest,
)
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.tables import outcomes, predictions

CHAMPION, CHALLENGER = "a" * 64, "b" * 64

WRITER = """
import sys
from clinical_assets.foundation.database import engine_for
from clinical_assets.rollout.entries import Arm, Prediction
from clinical_assets.rollout.ledger import Ledger
ledger = Ledger(engine_for(sys.argv[1]))
for batch in range(int(sys.argv[2])):
    ledger.record_predictions([
        Prediction(f"{sys.argv[3]}-{batch}-{i}", "a" * 64, "colon", None, "p", Arm.CHAMPION, 0.0, 0.5, 1.0)
        for i in range(10)
    ])
    print(batch, flush=True)
"""


@pytest.fixture
def ledger(database_url: str) -> Ledger:
    engine = engine_for(database_url)
    create_tables(engine)
    return Ledger(engine)


def _prediction(request: str = "r1", **changes: Any) -> Prediction:
    fields: dict[str, Any] = {"request_id": request, "digest": CHAMPION, "cancer": "colon", "rollout_id": "colon-0001"}
    fields |= {"patient": f"p-{request}", "arm": Arm.CHAMPION, "propensity": 0.0, "risk": 0.25, "predicted_at": 100.0}
    return Prediction(**fields | changes)


def _stored(ledger: Ledger, table: Any = predictions) -> int:
    with ledger.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _writer(ledger: Ledger, batches: int, name: str) -> subprocess.Popen[str]:
    url = ledger.engine.url.render_as_string(hide_password=False)
    return subprocess.Popen([sys.executable, "-c", WRITER, url, str(batches), name], stdout=subprocess.PIPE, text=True)


def test_both_models_may_score_one_request_once(ledger: Ledger) -> None:
    both = [_prediction(), _prediction(digest=CHALLENGER, arm=Arm.SHADOW)]
    assert ledger.record_predictions(both) == Recorded(2)
    assert ledger.record_predictions(both) == Recorded(0, repeated=2)
    assert _stored(ledger) == 2
    assert ledger.verify_chain().entries == 2


def test_repeats_within_one_batch_are_stored_once(ledger: Ledger) -> None:
    assert ledger.record_predictions([_prediction()] * 3 + [_prediction("r2")]) == Recorded(2, repeated=2)


def test_a_reused_request_id_is_reported_and_the_first_entry_stays(ledger: Ledger) -> None:
    ledger.record_predictions([_prediction()])
    assert ledger.record_predictions([_prediction(patient="other")]).conflicts == (("r1", CHAMPION),)
    assert ledger.record_predictions([_prediction("r2"), _prediction("r2", risk=0.9)]).conflicts == (("r2", CHAMPION),)
    with ledger.engine.connect() as connection:
        assert connection.execute(select(predictions.c.risk).distinct()).scalars().all() == [0.25]


def test_nothing_to_store_is_no_error(ledger: Ledger) -> None:
    assert ledger.record_predictions([]) == Recorded(0)
    assert ledger.record_outcomes([]) == Recorded(0)
    assert ledger.verify_chain().ok


@pytest.mark.parametrize(
    "wrong",
    [
        {"risk": 1.1},
        {"risk": -0.1},
        {"risk": math.nan},
        {"risk": None},
        {"risk": 0.5, "status": PredictionStatus.INVALID},
        {"propensity": 10},
        {"propensity": math.nan},
    ],
)
def test_impossible_scores_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^colon: "):
        _prediction(**wrong)


def test_invalid_output_is_logged_without_a_risk(ledger: Ledger) -> None:
    ledger.record_predictions([_prediction(), _prediction("r2", risk=None, status=PredictionStatus.INVALID)])
    counts = {(c.arm, c.status): (c.requests, c.patients) for c in ledger.arm_counts("colon-0001")}
    assert counts == {(Arm.CHAMPION, PredictionStatus.INVALID): (1, 1), (Arm.CHAMPION, PredictionStatus.OK): (1, 1)}


def test_arms_are_counted_by_propensity_requests_and_patients(ledger: Ledger) -> None:
    ledger.record_predictions(
        [
            _prediction("r1", patient="p", propensity=0.1, predicted_at=1.0),
            _prediction("r2", patient="p", propensity=0.1, predicted_at=9.0),
            _prediction("r3", patient="q", propensity=0.1, digest=CHALLENGER, arm=Arm.CHALLENGER),
            _prediction("r4", rollout_id="breast-0001"),
        ]
    )
    found = ledger.arm_counts("colon-0001")
    assert [(c.arm, c.digest, c.propensity, c.requests, c.patients) for c in found] == [
        (Arm.CHALLENGER, CHALLENGER, 0.1, 1, 1),
        (Arm.CHAMPION, CHAMPION, 0.1, 2, 1),
    ]
    assert (found[1].first_at, found[1].last_at) == (1.0, 9.0)
    assert [c.requests for c in ledger.arm_counts("colon-0001", after_seq=2)] == [1]


def test_posting_an_outcome_again_changes_nothing(ledger: Ledger) -> None:
    ledger.record_predictions([_prediction("r1"), _prediction("r2")])
    first = Outcome("r1", "colon", observed_at=500.0, time=12.5, event=1)
    assert ledger.record_outcomes([first]) == Recorded(1)
    later = Outcome("r1", "colon", observed_at=900.0, time=12.5, event=1)
    assert ledger.record_outcomes([later, Outcome("r2", "colon", 500.0, label=0)]) == Recorded(1, repeated=1)
    assert _stored(ledger, outcomes) == 2
    assert ledger.verify_chain().ok


@pytest.mark.parametrize(
    ("other", "field"), [({"time": 13.0, "event": 1}, "time"), ({"time": 12.5, "event": 0}, "event")]
)
def test_a_conflicting_outcome_is_refused_with_all_that_came_with_it(
    ledger: Ledger, other: dict[str, Any], field: str
) -> None:
    ledger.record_predictions([_prediction("r1"), _prediction("r2")])
    ledger.record_outcomes([Outcome("r1", "colon", 500.0, time=12.5, event=1)])
    with pytest.raises(OutcomeConflict, match=f"'r1' already has an outcome with another {field};") as refused:
        ledger.record_outcomes(
            [Outcome("r2", "colon", 500.0, time=1.0, event=1), Outcome("r1", "colon", 500.0, **other)]
        )
    assert "12.5" not in str(refused.value)  # what happened to a patient is not for logs
    assert _stored(ledger, outcomes) == 1


def test_two_different_outcomes_in_one_batch_are_refused(ledger: Ledger) -> None:
    ledger.record_predictions([_prediction()])
    with pytest.raises(OutcomeConflict):
        ledger.record_outcomes([Outcome("r1", "colon", 1.0, label=0), Outcome("r1", "colon", 1.0, label=1)])
    assert _stored(ledger, outcomes) == 0


def test_an_outcome_needs_a_logged_prediction_of_its_cancer_type(ledger: Ledger) -> None:
    ledger.record_predictions([_prediction()])
    with pytest.raises(UnknownRequest, match="'r9'"):
        ledger.record_outcomes([Outcome("r1", "colon", 1.0, label=0), Outcome("r9", "colon", 1.0, label=0)])
    with pytest.raises(UnknownRequest, match="breast"):
        ledger.record_outcomes([Outcome("r1", "breast", 1.0, label=0)])
    assert _stored(ledger, outcomes) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"time": 1.0},
        {"event": 1},
        {"time": 1.0, "event": 2},
        {"time": -1.0, "event": 1},
        {"time": math.inf, "event": 0},
        {"label": 3},
        {"label": 1, "time": 1.0, "event": 1},
        {"label": 1, "event": 1},
    ],
)
def test_an_outcome_is_either_survival_or_a_label(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either time >= 0"):
        Outcome("r1", "colon", 1.0, **wrong)


def test_predictions_and_outcomes_share_one_order(ledger: Ledger) -> None:
    ledger.record_predictions([_prediction("r1"), _prediction("r2")])
    ledger.record_outcomes([Outcome("r2", "colon", 1.0, label=1)])
    ledger.record_predictions([_prediction("r3")])
    with ledger.engine.connect() as connection:
        assert connection.execute(select(predictions.c.seq).order_by(predictions.c.seq)).scalars().all() == [1, 2, 4]
        assert connection.execute(select(outcomes.c.seq)).scalars().all() == [3]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=6), max_size=5))
def test_any_mixture_of_repeats_stores_each_key_once(sqlite_url: str, batches: list[list[tuple[int, bool]]]) -> None:
    engine = engine_for(sqlite_url)
    create_tables(engine)
    ledger, wanted = Ledger(engine), set()
    before = _stored(ledger)  # every example goes on with the same file
    for batch in batches:
        keys = [(f"{before}-{number}", CHALLENGER if mirrored else CHAMPION) for number, mirrored in batch]
        recorded = ledger.record_predictions([_prediction(request, digest=digest) for request, digest in keys])
        assert recorded == Recorded(len(set(keys) - wanted), len(keys) - len(set(keys) - wanted))
        wanted |= set(keys)
    assert _stored(ledger) - before == len(wanted)
    assert ledger.verify_chain().ok


def test_five_thousand_predictions_a_second(ledger: Ledger) -> None:
    rows = [_prediction(f"r{number}") for number in range(5_000)]
    started = time.process_time()
    ledger.record_predictions(rows)
    assert time.process_time() - started < 1.0


def test_several_processes_write_and_retry_the_same_predictions(ledger: Ledger) -> None:
    writers = [_writer(ledger, 10, name) for name in ("left", "right", "left")]
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert _stored(ledger) == 200
    state = ledger.verify_chain()
    assert state.ok, state.problem


def test_a_writer_killed_in_the_middle_loses_nothing_it_acknowledged(ledger: Ledger) -> None:
    acknowledged = 0
    for name in ("first", "second"):
        writer = _writer(ledger, 10_000, name)
        assert writer.stdout
        for _ in range(8):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += 8 + sum(line.endswith("\n") for line in writer.stdout)
        writer.wait()
    stored = _stored(ledger)
    assert stored % 10 == 0  # whole batches only
    assert stored >= acknowledged * 10
    state = ledger.verify_chain()
    assert state.ok, state.problem
    assert ledger.record_predictions([_prediction()]) == Recorded(1)


def test_sealed_ledgers_verify_against_seals_kept_elsewhere(ledger: Ledger, tmp_path: Any) -> None:
    keys = KeyStore(tmp_path / "keys")
    ledger.record_predictions([_prediction("r1")])
    seals = tuple(ledger.seal(keys.signer("platform"), "2026-01-01T00:00:00.000+00:00"))
    ledger.record_predictions([_prediction("r2")])
    assert ledger.verify_chain(keys, seals).ok
    assert not ledger.verify_chain(KeyStore(tmp_path / "strangers"), seals).ok

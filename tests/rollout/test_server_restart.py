"""PostgreSQL killed and started again under the log and under a rollout: nothing lost or doubled, all goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from clinical_assets.foundation import outages
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.entries import Arm, Prediction
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.replay import replay
from clinical_assets.rollout.tables import predictions
from tests.servers import PostgreSQLServer

from .conftest import CHAMPION, DAY, World

pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture
def server() -> Iterator[PostgreSQLServer]:
    with PostgreSQLServer.running(commits="on") as server:
        yield server


def _restarted(server: PostgreSQLServer, away: float) -> threading.Thread:
    """Stop at once, start `away` seconds later."""

    def run() -> None:
        server.stop()
        time.sleep(away)
        server.start()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_the_prediction_log_waits_for_the_server_and_keeps_each_prediction_once(server: PostgreSQLServer) -> None:
    ledger = Ledger(engine_for(f"{server.url}/postgres"))
    create_tables(ledger.engine)
    stop, written = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            names = [f"r{len(written) + n}" for n in range(20)]
            rows = [Prediction(name, CHAMPION, "colon", None, "a" * 64, Arm.CHAMPION, 0.0, 0.5, 0.0) for name in names]
            ledger.record_predictions(rows)
            written.extend(names)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            time.sleep(0.3)
            before = len(written)
            _restarted(server, 0.5).join()
            deadline = time.monotonic() + 20
            while len(written) < before + 100:
                assert time.monotonic() < deadline, "the log did not go on"
                time.sleep(0.02)
    finally:
        stop.set()
        writer.join()
    with ledger.engine.connect() as connection:
        query = select(func.count(), func.count(predictions.c.request_id.distinct())).select_from(predictions)
        assert tuple(connection.execute(query).one()) == (len(written), len(set(written)))
    assert ledger.verify_chain().ok


def test_a_rollout_goes_on_after_its_database_was_away(server: PostgreSQLServer, tmp_path) -> None:
    world = World(tmp_path, f"{server.url}/postgres")
    world.to_ramp()
    for _ in range(2):
        restart = _restarted(server, 0.3)
        world.clock.at += 1.5 * DAY
        world.treat(100)
        world.tick()
        restart.join()
    before = len(world.rows())
    world.treat(600)
    world.tick()
    assert len(world.rows()) >= before
    assert all(not again.differences for again in replay(world.ledger, world.rollout_id))
    assert world.ledger.verify_chain().ok


def test_a_server_that_stays_away_is_an_error_and_a_wrong_name_one_at_once(
    server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OperationalError, match="does not exist"):
        engine_for(f"{server.url}/absent").connect()
    server.stop()
    monkeypatch.setattr(outages, "PATIENCE_S", 0.2)
    with pytest.raises(OperationalError, match="refused"):
        engine_for(f"{server.url}/postgres").connect().execute(text("SELECT 1"))
    server.start()

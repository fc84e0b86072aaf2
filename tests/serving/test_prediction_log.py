"""Durable before the answer; one commit for many requests; nothing is given out when the ledger cannot be written."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.entries import Arm, Prediction, Recorded
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.serving.prediction_log import CAPACITY, LogUnavailable, PredictionLog, RequestIdTaken


def prediction(request_id: str, risk: float = 0.5, patient: str = "p" * 32) -> Prediction:
    return Prediction(request_id, "a" * 64, "colon", None, patient, Arm.CHAMPION, 0.0, risk, 1.0)


def ledger_at(path: Path) -> Ledger:
    engine = engine_for(f"sqlite:///{path}")
    ledger = Ledger(engine)
    create_tables(engine)
    return ledger


def stored(path: Path) -> list[str]:
    with create_engine(f"sqlite:///{path}").connect() as connection:
        return list(connection.execute(text("SELECT request_id FROM predictions ORDER BY seq")).scalars())


class HeldLedger:
    """A ledger whose first write waits until it is released, so that others queue up behind it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.release, self.groups = ledger, threading.Event(), []

    def record_predictions(self, entries: Sequence[Prediction]) -> Recorded:
        self.release.wait(10)
        self.groups.append(len(entries))
        return self.ledger.record_predictions(entries)


def test_requests_that_wait_for_a_commit_share_the_next_one(tmp_path: Path) -> None:
    held = HeldLedger(ledger_at(tmp_path / "l.db"))
    log = PredictionLog(held)
    log.start()

    async def main() -> None:
        tasks = [asyncio.create_task(log.append([prediction(f"r{number}")])) for number in range(50)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks)
        held.release.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    log.stop()
    assert sum(held.groups) == 50
    assert len(held.groups) <= 3
    assert sorted(stored(tmp_path / "l.db")) == sorted(f"r{number}" for number in range(50))


def test_a_repeat_is_stored_once_and_a_reused_request_id_is_refused(tmp_path: Path) -> None:
    log = PredictionLog(ledger_at(tmp_path / "l.db"))
    log.start()

    async def main() -> None:
        await log.append([prediction("r1")])
        await log.append([prediction("r1")])
        results = await asyncio.gather(
            log.append([prediction("r1", patient="q" * 32)]), log.append([prediction("r2")]), return_exceptions=True
        )
        assert isinstance(results[0], RequestIdTaken)
        assert results[1] is None

    asyncio.run(main())
    log.stop()
    assert stored(tmp_path / "l.db") == ["r1", "r2"]


def test_no_record_no_answer(tmp_path: Path) -> None:
    engine = engine_for(f"sqlite:///{tmp_path / 'no_tables.db'}")
    log = PredictionLog(Ledger(engine))
    log.start()
    with pytest.raises(LogUnavailable, match="OperationalError"):
        asyncio.run(log.append([prediction("r1")]))
    log.stop()


def test_too_many_waiting_requests_are_turned_away(tmp_path: Path) -> None:
    log = PredictionLog(ledger_at(tmp_path / "l.db"))

    async def main() -> None:
        waiting = [asyncio.create_task(log.append([prediction(f"r{number}")])) for number in range(CAPACITY)]
        await asyncio.sleep(0)
        with pytest.raises(LogUnavailable, match="already wait"):
            await log.append([prediction("late")])
        for task in waiting:
            task.cancel()

    asyncio.run(main())


_WRITER = """
import asyncio, sys
from clinical_assets.serving.prediction_log import PredictionLog
from tests.serving.test_prediction_log import ledger_at, prediction
from pathlib import Path

async def main():
    log = PredictionLog(ledger_at(Path(sys.argv[1])))
    log.start()
    async def one(number):
        for step in range(100000):
            await log.append([prediction(f"{number}-{step}")])
            print(f"{number}-{step}", flush=True)
    await asyncio.gather(*(one(number) for number in range(8)))

asyncio.run(main())
"""


def test_every_acknowledged_prediction_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(100)]
    writer.kill()
    acknowledged += writer.stdout.read().split("\n")[:-1]
    writer.wait()
    ledger = ledger_at(path)
    assert set(acknowledged) <= set(stored(path))
    assert ledger.verify_chain().ok

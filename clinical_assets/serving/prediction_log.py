"""No answer without a durable record: predictions of many requests are committed together, then answered.

One thread writes. While it waits for one commit, the next requests queue up and share the next commit, so the cost of
the disk is paid once per group and not once per patient.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from clinical_assets.rollout.entries import Prediction, Recorded

CAPACITY = 4096
GROUP = 512
logger = logging.getLogger(__name__)


class LogUnavailable(RuntimeError):
    """The prediction could not be recorded, so it must not be given out. The caller may try again."""


class RequestIdTaken(ValueError):
    """The request id is recorded with another patient or other values."""


class PredictionWriter(Protocol):
    """The part of the ledger that is used here."""

    def record_predictions(self, entries: Sequence[Prediction]) -> Recorded: ...


Waiting = tuple[Sequence[Prediction], "asyncio.Future[None]"]


class PredictionLog:
    """Group commit in front of the ledger; `append` returns when its entries are on disk."""

    def __init__(self, ledger: PredictionWriter, observe: Callable[[int], None] = lambda _: None) -> None:
        """
        Args:
            observe: told the size of each committed group.
        """
        self._ledger = ledger
        self._observe = observe
        self._waiting: queue.Queue[Waiting | None] = queue.Queue(CAPACITY)
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commit what is waiting and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    async def append(self, entries: Sequence[Prediction]) -> None:
        """
        Raises:
            LogUnavailable: the ledger cannot be written, or too many requests wait for it.
            RequestIdTaken: see the class.
        """
        recorded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((entries, recorded))
        except queue.Full:
            raise LogUnavailable(f"{CAPACITY} requests already wait for the prediction log") from None
        await recorded

    def _run(self) -> None:
        running = True
        while running:
            group = [self._waiting.get()]
            while len(group) < GROUP and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            waiting = [item for item in group if item is not None]
            running = len(waiting) == len(group)
            if waiting:
                self._commit(waiting)

    def _commit(self, waiting: list[Waiting]) -> None:
        entries = [entry for given, _ in waiting for entry in given]
        failure: Exception | None = None
        conflicts: set[tuple[str, str]] = set()
        try:
            conflicts = set(self._ledger.record_predictions(entries).conflicts)
        except Exception as error:  # whatever the database raises: nobody may get an unrecorded answer
            logger.exception("prediction log: %d entries could not be recorded", len(entries))
            failure = LogUnavailable(f"the prediction log cannot be written ({type(error).__name__})")
        self._observe(len(entries))
        results = [(future, failure or _conflict(given, conflicts)) for given, future in waiting]
        waiting[0][1].get_loop().call_soon_threadsafe(_settle, results)


def _conflict(entries: Sequence[Prediction], conflicts: set[tuple[str, str]]) -> RequestIdTaken | None:
    if any((entry.request_id, entry.digest) in conflicts for entry in entries):
        return RequestIdTaken("this request id was used before with another patient or other values; send a new one")
    return None


def _settle(results: Sequence[tuple[asyncio.Future[None], Exception | None]]) -> None:
    for future, problem in results:
        if future.done():  # the client went away
            continue
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(problem)

"""Held-out patients, replayed with resampling through the gateway; their outcomes follow when they are mature."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clinical_assets.foundation.clock import SECONDS_PER_DAY, Clock
from clinical_assets.serving.client import GatewayClient, GatewayError

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.trials.contract import CohortContract

CALLERS = 8
POSTING_INTERVAL_S = 0.2


@dataclass
class Counts:
    """What the callers saw. `failed` counts requests that got no score."""

    sent: int = 0
    failed: int = 0
    stood_in: int = 0
    outcomes: int = 0


class ReplayedPatients:
    """Draws test-split patients with replacement; every draw is a new encounter with its own pseudonym and request.

    Args:
        test: canonical table of the locked test split; training patients are never drawn.
        pseudonym: (cancer, identifier) -> keyed pseudonym.
        clock: the replay clock; outcomes become known `horizon` after the prediction on it.
    """

    def __init__(
        self,
        cancer: str,
        contract: CohortContract,
        test: pd.DataFrame,
        pseudonym: Callable[[str, str], str],
        gateway_port: int,
        clock: Clock,
        seed: int,
    ) -> None:
        names = [column.name for column in contract.features]
        self.cancer = cancer
        self.rows = test[names].astype(object).where(test[names].notna(), None).to_dict("records")
        self.outcomes = test[list(contract.outcome_names)].to_dict("records")
        self.subjects = test["subject_id"].tolist()
        self.horizon_s = (contract.endpoint.horizon_days or 0.0) * SECONDS_PER_DAY
        self.pseudonym, self.clock = pseudonym, clock
        self.client = GatewayClient(gateway_port)
        self.run_id = f"{int(time.time()):x}"
        self.counts = Counts()
        self._rng = np.random.default_rng(seed)
        self._draw = 0
        self._due: list[tuple[float, int, dict[str, Any]]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CALLERS + 1, thread_name_prefix="patients")

    def __enter__(self) -> ReplayedPatients:
        self._running = [self._pool.submit(self._call) for _ in range(CALLERS)]
        self._running.append(self._pool.submit(self._post))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        self.client.close()

    def check(self) -> None:
        """Raise what made a caller stop, if one did."""
        for future in self._running:
            if future.done():
                future.result()

    def _call(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                self._draw += 1
                draw, index = self._draw, int(self._rng.integers(len(self.rows)))
            request = f"{self.run_id}-{draw}"
            patient = self.pseudonym(self.cancer, f"{self.subjects[index]}#{request}")
            try:
                answer = self.client.infer(self.cancer, self.rows[index], patient, request)
            except GatewayError as error:
                if 400 <= error.status < 500:
                    raise
                with self._lock:
                    self.counts.failed += 1
                continue
            due = self.clock.now() + self.horizon_s
            with self._lock:
                self.counts.sent += 1
                self.counts.stood_in += answer.fallback
                heapq.heappush(self._due, (due, draw, {"request_id": request, **_plain(self.outcomes[index])}))

    def _post(self) -> None:
        while not self._stop.wait(POSTING_INTERVAL_S):
            batch = []
            with self._lock:
                while self._due and self._due[0][0] <= self.clock.now() and len(batch) < 500:
                    due, _, outcome = heapq.heappop(self._due)
                    batch.append({**outcome, "observed_at": due})
            if batch:
                self._deliver(batch)

    def _deliver(self, batch: list[dict[str, Any]]) -> None:
        """Posting is idempotent, so a failed delivery is simply repeated."""
        while not self._stop.is_set():
            try:
                self.client.post_outcomes(self.cancer, batch)
            except GatewayError as error:
                if 400 <= error.status < 500:
                    raise
                time.sleep(POSTING_INTERVAL_S)
            else:
                self.counts.outcomes += len(batch)
                return


def _plain(outcome: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): int(value) if key in ("event", "label") else float(value) for key, value in outcome.items()}

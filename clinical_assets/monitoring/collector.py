"""The platform's own state at the moment of a scrape. No patient, request or person is in any name, label or value."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from clinical_assets.foundation.home import Home
from clinical_assets.monitoring import ledger_metrics, surrounding_metrics
from clinical_assets.monitoring.database import LedgerAbsent, LedgerWindow
from clinical_assets.monitoring.rollouts import RolloutReader, in_play
from clinical_assets.monitoring.served import ServedRoutes
from clinical_assets.monitoring.surroundings import DagsterSeen, Snapshots
from clinical_assets.monitoring.verdicts import VerdictReader

SOURCES: tuple[str, ...] = ("ledger", "gateway", "dagster", "snapshots", "state_directory")
logger = logging.getLogger(__name__)


class PlatformCollector(Collector):
    """Reads on from where the last scrape ended; a source that cannot be read leaves its metrics out and is named."""

    def __init__(self, home: Home, database_url: str, served: ServedRoutes, dagster: Callable[[], DagsterSeen]) -> None:
        """
        Args:
            dagster: looks at the Dagster instance; whatever it raises means that Dagster cannot be read.
        """
        self._home = home
        self._window = LedgerWindow(database_url)
        self._served, self._dagster = served, dagster
        self._snapshots = Snapshots()
        self._identity: tuple[int, int] | None = None
        self._rollouts, self._verdicts = RolloutReader(), VerdictReader()
        self._readable = dict.fromkeys(SOURCES, True)
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when the collector is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            started = time.perf_counter()
            found = [
                *self._of("ledger", self._ledger),
                *self._of("gateway", lambda: surrounding_metrics.gateway(self._served.read())),
                *self._of("dagster", lambda: surrounding_metrics.scheduling(self._dagster())),
                *self._of("snapshots", lambda: surrounding_metrics.snapshots(self._snapshots.read())),
                *self._of("state_directory", lambda: surrounding_metrics.directory(self._home)),
            ]
            readable = GaugeMetricFamily(
                "clinical_exporter_source_readable", "1 if the source could be read at this scrape", labels=["source"]
            )
            for source, ok in self._readable.items():
                readable.add_metric([source], float(ok))
            took = time.perf_counter() - started
        yield from found
        yield readable
        yield GaugeMetricFamily("clinical_exporter_scrape_seconds", "Time that reading took at this scrape", took)

    def _of(self, source: str, read: Callable[[], list[Metric]]) -> list[Metric]:
        """One source that fails, with whatever error, must not hide the others."""
        try:
            found = read()
        except Exception as error:
            if self._readable[source]:
                logger.warning("%s cannot be read: %s", source, _reason(error))
            self._readable[source] = False
            return []
        self._readable[source] = True
        return found

    def _ledger(self) -> list[Metric]:
        self._forget_another()
        with self._window.transaction() as connection:
            self._rollouts.read(connection)
            roles = in_play(self._rollouts.open, self._rollouts.champions())
            self._verdicts.read(connection, {digest for _, digest, _ in roles})
        return [
            *ledger_metrics.standings(self._rollouts.open),
            *ledger_metrics.evidence(self._rollouts.open),
            *ledger_metrics.history(self._rollouts),
            *ledger_metrics.label_arrival(self._rollouts),
            *ledger_metrics.verdicts(self._verdicts, roles),
        ]

    def _forget_another(self) -> None:
        """What was read counts for the very database that it was read from."""
        try:
            identity = self._window.identity
        except LedgerAbsent:
            self._identity = None
            raise
        if identity != self._identity:
            self._rollouts, self._verdicts, self._identity = RolloutReader(), VerdictReader(), identity


def _reason(error: Exception) -> str:
    """Only our own words: what a library says may quote what it read."""
    ours = type(error).__module__.startswith("clinical_assets")
    return str(error) if ours else type(error).__name__

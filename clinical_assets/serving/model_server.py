"""One model-server process: `python -m clinical_assets.serving.model_server --slot blue --port 18082`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import uvicorn

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.records import RecordStore
from clinical_assets.foundation.clock import read_clock
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.foundation.home import Home
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.serving.app import create_app
from clinical_assets.serving.desired import SLOTS, DesiredState, Slot
from clinical_assets.serving.loaded_models import LoadedModels
from clinical_assets.serving.ports import LOOPBACK


class RecordedClock:
    """The clock in force now: a replay clock may be recorded, or taken away, while the server runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: int | None = None
        self._clock = read_clock(path)

    def now(self) -> float:
        try:
            version: int | None = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            version = None
        if version != self._seen:
            self._clock, self._seen = read_clock(self._path), version
        return self._clock.now()


def serve(home: Home, slot: Slot, port: int) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first."""
    engine = engine_for(home.database_url)
    ledger, records = Ledger(engine), RecordStore(engine, KeyStore(home.keys))
    create_tables(engine)
    models = LoadedModels(DesiredState(home.dataplane), slot, home.objects / "models", records)
    app = create_app(models, ledger, RecordedClock(home.clock))
    uvicorn.run(
        app,
        host=LOOPBACK,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than Envoy's idle connections are reused, so none is closed under a request
        timeout_graceful_shutdown=5,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slot", choices=SLOTS, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve(Home(given.home), given.slot, given.port)


if __name__ == "__main__":
    main()

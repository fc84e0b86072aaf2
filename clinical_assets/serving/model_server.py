"""One model-server process.

On this machine it holds the models of a slot: `python -m clinical_assets.serving.model_server --slot blue --port 1`.
In a cluster it holds one model: `... --cancer colon --digest 0123... --host 0.0.0.0 --port 8080 --copies-port 8081`.
"""

from __future__ import annotations

import argparse
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.records import RecordStore
from clinical_assets.foundation import logs
from clinical_assets.foundation.clock import read_clock
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.foundation.home import Home
from clinical_assets.foundation.objects.opening import open_objects
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.serving.app import create_app
from clinical_assets.serving.copies import CopiesPort
from clinical_assets.serving.desired import SLOTS, DesiredState, OneModel
from clinical_assets.serving.loaded_models import LoadedModels
from clinical_assets.serving.ports import LOOPBACK

if TYPE_CHECKING:
    from starlette.types import ASGIApp


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


@dataclass(frozen=True)
class Listening:
    """Where a server listens. `copies_port` 0: mirrored copies come to `port`, marked by the proxy."""

    host: str
    port: int
    copies_port: int = 0

    def sockets(self) -> list[socket.socket]:
        return [_bound(self.host, port) for port in (self.port, self.copies_port) if port]


def serve(home: Home, desired: DesiredState | OneModel, slot: str, listening: Listening) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first."""
    engine = engine_for(home.database_url)
    ledger, records = Ledger(engine), RecordStore(engine, KeyStore(home.keys))
    create_tables(engine)
    objects = open_objects(home, patience_s=0)  # a model that cannot be fetched now is tried again by itself
    models = LoadedModels(desired, slot, lambda digest: objects.fetch(f"models/{digest}"), records)
    app: ASGIApp = create_app(models, ledger, RecordedClock(home.clock))
    if isinstance(desired, OneModel):
        app = CopiesPort(app, listening.copies_port, desired.digest)
    config = uvicorn.Config(
        app,
        log_config=None,  # uvicorn's own loggers write through `foundation.logs`
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than Envoy's idle connections are reused, so none is closed under a request
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=listening.sockets())


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    held = parser.add_mutually_exclusive_group(required=True)
    held.add_argument("--slot", choices=SLOTS)
    held.add_argument("--digest", help="the one model to serve, with --cancer")
    parser.add_argument("--cancer")
    parser.add_argument("--host", default=LOOPBACK)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--copies-port", type=int, default=0)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args()
    if (given.digest is None) != (given.cancer is None):
        parser.error("--cancer and --digest belong together")
    logs.configure()
    home = Home(given.home)
    desired = OneModel(given.cancer, given.digest) if given.digest else DesiredState(home.dataplane)
    serve(home, desired, given.slot or "pod", Listening(given.host, given.port, given.copies_port))


if __name__ == "__main__":
    main()

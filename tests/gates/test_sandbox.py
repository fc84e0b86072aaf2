"""The sandbox, and SE16 over what it reports."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from clinical_assets.gates.security import gate as security
from clinical_assets.gates.security.facts import SandboxRun
from clinical_assets.gates.security.sandbox.client import run_in_sandbox
from clinical_assets.gates.security.sandbox.confined import confine
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import POLICY, found, release

ATTEMPTS = {
    "network": lambda inside: socket.socket(),
    "process": lambda inside: subprocess.run(["true"], check=False),
    "shell": lambda inside: os.system("true"),
    "fork": lambda inside: os.fork(),
    "file elsewhere": lambda inside: Path("/etc/hostname").read_bytes(),
    "write inside": lambda inside: (inside / "new").write_bytes(b"x"),
    "remove inside": lambda inside: (inside / "model.json").unlink(),
    "listing elsewhere": lambda inside: os.listdir("/"),
    "import": lambda inside: __import__("antigravity"),
    "evaluation": lambda inside: eval("1 + 1"),
    "native library": lambda inside: ctypes.CDLL("libm.so.6"),
    "out by a link": lambda inside: (inside / "link").read_bytes(),
}


def confined(action: str, directory: Path) -> dict:
    """What happens to one action in a confined child of this process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        attempts: list[str] = []
        layers = confine(directory, attempts)
        try:
            ATTEMPTS[action](directory)
            outcome = "done"
        except BaseException as error:
            outcome = type(error).__name__
        os.write(writer, json.dumps([outcome, attempts, layers]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        outcome, attempts, layers = json.loads(pipe.read())
    os.waitpid(child, 0)
    return {"outcome": outcome, "attempts": attempts, "layers": layers}


@pytest.mark.parametrize("action", ATTEMPTS)
def test_everything_but_reading_its_directory_is_refused_and_noted(action, tmp_path):
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "link").symlink_to("/etc/hostname")
    seen = confined(action, tmp_path)
    assert seen["outcome"] != "done"
    assert seen["attempts"]


@pytest.mark.skipif(sys.platform != "linux", reason="system-call filters are Linux's")
def test_a_call_that_python_does_not_see_is_refused_by_the_filter(tmp_path):
    code = (
        "import ctypes, socket; libc = ctypes.CDLL(None, use_errno=True)\n"
        "from clinical_assets.gates.security.sandbox import seccomp\n"
        "before = libc.socket(2, 1, 0) >= 0; installed = seccomp.install()\n"
        "print(before, installed, libc.socket(2, 1, 0), ctypes.get_errno())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "-1", "1"]


def test_a_model_loads_and_gives_its_known_answers():
    facts = release("colon")
    run = run_in_sandbox(facts.model_dir, facts.model_digest)
    assert (run.digest, run.attempts, run.problem) == (facts.model_digest, (), "")
    assert run.worst_difference is not None
    assert run.worst_difference <= 1e-9
    assert "seccomp" in run.layers or sys.platform != "linux"


def test_another_digest_is_refused_and_the_sandbox_lives_on():
    facts = release("colon")
    assert "DigestMismatch" in run_in_sandbox(facts.model_dir, "0" * 64).problem
    assert run_in_sandbox(facts.model_dir, facts.model_digest).problem == ""


def judged(run: SandboxRun | None) -> CheckResult:
    return found(security.judge(replace(release("colon"), sandbox=run), POLICY), "SE16")


def test_without_a_run_or_without_confinement_nothing_is_claimed():
    clean = release("colon").sandbox
    assert clean is not None
    assert judged(clean).verdict is Verdict.PASS
    assert judged(None).verdict is Verdict.INCONCLUSIVE
    assert judged(clean.model_copy(update={"layers": ()})).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    "change",
    [
        {"attempts": ("socket.connect: 10.0.0.1",)},
        {"problem": "no answer from the sandbox (exit -9)"},
        {"digest": "0" * 64},
        {"worst_difference": 0.2},
        {"worst_difference": None},
        {"worst_difference": float("nan")},
    ],
)
def test_anything_else_than_a_quiet_load_blocks(change):
    clean = release("colon").sandbox
    assert clean is not None
    assert judged(clean.model_copy(update=change)).verdict is Verdict.BLOCK

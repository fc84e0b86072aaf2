"""What a confined process may do: read the model directory, compute, answer. All else is refused and noted."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

from clinical_assets.gates.security.sandbox import seccomp

MEMORY = 2 << 30
CPU_SECONDS = 30
_READ_EVENTS = frozenset({"open", "os.listdir", "os.scandir"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_HARMLESS = frozenset({"sys._getframe", "object.__getattr__", "builtins.id", "array.__new__"})


class Refused(PermissionError):
    """The confined code tried something beyond reading its directory."""


def confine(directory: Path, attempts: list[str]) -> tuple[str, ...]:
    """Confine this process for good and return what does so; refused actions are added to `attempts`.

    Python's audit hook is an allow-list over events. The system-call filter and the limits stand behind it, for native
    code that raises no event.
    """
    root = os.path.realpath(directory)
    _limit()
    layers = ["audit hook", "resource limits", *(["seccomp"] if seccomp.install() else [])]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _HARMLESS or (event in _READ_EVENTS and _reads(root, arguments)):
            return
        if event in ("compile", "exec") and _evaluates_annotation():
            return
        attempts.append(f"{event}: {str(arguments[0])[:80] if arguments else ''}")
        raise Refused(f"a model may not do this: {event}")

    sys.addaudithook(hook)
    return tuple(layers)


def _reads(root: str, arguments: tuple[Any, ...]) -> bool:
    path = arguments[0]
    flags = arguments[2] if len(arguments) > 2 and isinstance(arguments[2], int) else 0
    if flags & _WRITING or not isinstance(path, str | bytes | os.PathLike):
        return False
    real = os.path.realpath(os.fsdecode(path))
    return real == root or real.startswith(root + os.sep)


def _evaluates_annotation() -> bool:
    """`typing.get_type_hints` evaluates the annotations of our own dataclasses, which are texts."""
    frame = sys._getframe(2)
    return frame.f_globals.get("__name__") == "typing"


def _limit() -> None:
    with open("/proc/self/statm") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, in_use + MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))

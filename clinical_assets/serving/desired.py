"""Desired serving state: which model digest each of the two server slots should hold, for every cancer type.

Assets and the controller record what should be; the model servers poll the file and make it so. Nothing here starts a
process, and a model that is placed is not yet routed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clinical_assets.foundation.files import write_atomic
from clinical_assets.foundation.locks import exclusive

Slot = Literal["blue", "green"]
SLOTS: tuple[Slot, Slot] = ("blue", "green")
Slots = dict[Slot, str | None]


class PlacementError(RuntimeError):
    """A model cannot be placed or retired without taking one that answers patients off its server."""


@dataclass(frozen=True)
class OneModel:
    """The desired state of a server that is started for one model and ended with it."""

    cancer: str
    digest: str

    def wanted(self, slot: str) -> set[tuple[str, str]]:
        return {(self.cancer, self.digest)}

    def version(self) -> tuple[int, int]:
        return 1, 1


class DesiredState:
    """`dataplane/desired.json`, replaced atomically under a file lock."""

    def __init__(self, dataplane: Path) -> None:
        self.path = dataplane / "desired.json"
        self._lock = dataplane / "desired.lock"

    def read(self) -> dict[str, Slots]:
        """Slots by cancer type; empty if nothing was ever placed."""
        try:
            document = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        return {cancer: {slot: entry["slots"].get(slot) for slot in SLOTS} for cancer, entry in document.items()}

    def placed(self, cancer: str) -> list[str]:
        """Digests that the servers should hold for one cancer type."""
        return [digest for digest in self.read().get(cancer, {}).values() if digest]

    def wanted(self, slot: str) -> set[tuple[str, str]]:
        """Cancer type and digest of every model that one slot should hold."""
        held = [(cancer, digest) for cancer, slots in self.read().items() for s, digest in slots.items() if s == slot]
        return {(cancer, digest) for cancer, digest in held if digest}

    def version(self) -> tuple[int, int] | None:
        """Changes whenever something else is desired; `None` before the first time."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino

    def slot_of(self, cancer: str, digest: str) -> Slot | None:
        return next((slot for slot, held in self.read().get(cancer, {}).items() if held == digest), None)

    def place(self, cancer: str, digest: str, keep: str | None = None) -> Slot:
        """Put `digest` in the slot that does not hold `keep`, the champion that goes on answering.

        Placing a model that is already placed changes nothing.

        Raises:
            PlacementError: both slots are taken and `keep` is in neither of them.
        """

        def choose(slots: Slots) -> Slots:
            if digest in slots.values():
                return slots
            free: list[Slot] = [slot for slot in SLOTS if slots[slot] is None] or [
                slot for slot in SLOTS if keep in slots.values() and slots[slot] != keep
            ]
            if not free:
                raise PlacementError(
                    f"{cancer}: both slots are taken and the champion to keep is in neither of them; "
                    "name the champion, or retire the model that is no longer needed"
                )
            return {**slots, free[0]: digest}

        self._change(cancer, choose)
        slot = self.slot_of(cancer, digest)
        if slot is None:
            raise PlacementError(f"{cancer}: model {digest[:12]} was replaced by another writer; place it again")
        return slot

    def retire(self, cancer: str, digest: str) -> None:
        """Empty the slot that holds `digest`; a model that is nowhere needs no retiring."""
        self._change(cancer, lambda slots: {slot: None if held == digest else held for slot, held in slots.items()})

    def finish_retiring(self) -> None:
        """The servers on this machine unload at once; nothing is left to finish."""

    def _change(self, cancer: str, change: Callable[[Slots], Slots]) -> None:
        with exclusive(self._lock):
            state = self.read()
            before = state.get(cancer, dict.fromkeys(SLOTS))
            after = change(before)
            if after != before:
                state[cancer] = after
                document = {name: {"slots": slots} for name, slots in sorted(state.items())}
                write_atomic(self.path, json.dumps(document, indent=1).encode())

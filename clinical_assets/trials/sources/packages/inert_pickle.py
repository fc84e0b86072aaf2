"""Pickles read as data: every object becomes an inert record of what its pickle says, and nothing of it is run."""

from __future__ import annotations

import io
import pickle
from collections.abc import Collection
from typing import Any


class Inert:
    """One pickled object or call: the class or function it names, its arguments, and its state. Never executed."""

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Inert:
        record = object.__new__(cls)
        record.arguments = arguments
        record.state = None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_inert(data: bytes, allowed: Collection[tuple[str, str]]) -> Any:
    """The object graph of a pickle: numbers, text, bytes, containers, and `Inert` records in place of everything else.

    `allowed` lists the (module, name) pairs that the pickle may mention. What it mentions is never imported: each pair
    stands for a class of `Inert` of that name, so calls are recorded instead of made.

    Raises:
        pickle.UnpicklingError: another name, or a persistent reference.
        Exception: a damaged pickle, or one that treats records as something else, fails in as many ways as Python has.
    """
    return _Reader(data, allowed).load()


class _Reader(pickle.Unpickler):
    def __init__(self, data: bytes, allowed: Collection[tuple[str, str]]) -> None:
        super().__init__(io.BytesIO(data))
        self._records = {(module, name): type(name, (Inert,), {}) for module, name in allowed}

    def find_class(self, module: str, name: str) -> type[Inert]:
        record = self._records.get((module, name))
        if record is None:
            raise pickle.UnpicklingError(f"mentions {module}.{name}, which no table of patients needs")
        return record

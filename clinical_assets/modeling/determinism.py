"""Arithmetic that does not depend on how many threads the machine offers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def single_thread() -> Iterator[None]:
    """Hold BLAS and OpenMP to one thread: a threaded reduction adds in another order and changes the last bits."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield

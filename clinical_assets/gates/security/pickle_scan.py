"""Which Python objects a file would call if it were unpickled, by content and never by name.

Streams are read with `pickletools`, which executes nothing; archives and compressed files are opened, to a limit. What
cannot be read to its end, or names an object in a way that cannot be followed, is a problem of its own: code hidden
behind a broken opcode runs before the break.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

DEEPEST = 6
MOST_BYTES = 1 << 29
MOST_MEMBERS = 10_000
MOST_STARTS = 2_000

UNKNOWN = "an object that cannot be followed"
_START = re.compile(rb"\x80[\x02-\x05]")
_TEXT_GLOBAL = re.compile(rb"[ci]([A-Za-z_][\w.]*)\n([A-Za-z_][\w.]*)\n")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_MARK = pickletools.markobject
_MEMO_WRITE = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_MEMO_READ = frozenset({"GET", "BINGET", "LONG_BINGET"})
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})


class TooMuch(ValueError):
    """The archive inflates beyond what will be looked at: a bomb, or no model."""


@dataclass(frozen=True)
class PickleStream:
    """One pickle at `place` (path, members of archives after `!`): `globals` as `module.name`, `problem` if any."""

    place: str
    globals: frozenset[str]
    problem: str = ""


def pickles(place: str, data: bytes) -> list[PickleStream]:
    """Every pickle stream in `data`, archives opened.

    A stream inside other bytes (after tensors, in an array file) counts when it names an object: among the bytes of
    weights, two that look like a beginning come about by chance.
    """
    return list(_Walk().streams(place, data, 0))


class _Walk:
    """One walk with one budget of bytes and members."""

    def __init__(self) -> None:
        self.bytes = MOST_BYTES
        self.members = MOST_MEMBERS

    def streams(self, place: str, data: bytes, depth: int) -> Iterator[PickleStream]:
        if depth > DEEPEST:
            yield PickleStream(place, frozenset(), f"nested deeper than {DEEPEST} archives")
            return
        opener = _opener(data)
        if opener is not None:
            try:
                for name, content in opener(self, data):
                    yield from self.streams(f"{place}!{name}", content, depth + 1)
            except (TooMuch, OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error,
                    lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError) as error:  # fmt: skip
                yield PickleStream(
                    place, frozenset(), f"an archive that cannot be read: {error or type(error).__name__}"
                )
        yield from _in_bytes(place, data, archive=opener is not None)

    def take(self, content: bytes) -> bytes:
        self.bytes -= len(content)
        self.members -= 1
        if self.bytes < 0 or self.members < 0:
            raise TooMuch(f"inflates beyond {MOST_BYTES >> 20} MiB or {MOST_MEMBERS} members")
        return content

    def zip(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    yield member.filename, self.take(file.read(self.bytes + 1))

    def tar(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield member.name, self.take(file.read(self.bytes + 1))

    def gzip(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        yield "gzip", self.take(gzip.GzipFile(fileobj=io.BytesIO(data)).read(self.bytes + 1))

    def zlib(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        yield "zlib", self.take(zlib.decompressobj().decompress(data, self.bytes + 1))

    def bz2(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        yield "bz2", self.take(bz2.BZ2Decompressor().decompress(data, self.bytes + 1))

    def lzma(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        yield "xz", self.take(lzma.LZMADecompressor().decompress(data, self.bytes + 1))

    def unreadable(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        raise ValueError("compressed in a way that is not opened here (LZ4 or Zstandard)")
        yield "", data


_Opener = Callable[[_Walk, bytes], Iterator[tuple[str, bytes]]]


def _opener(data: bytes) -> _Opener | None:
    """How the content is packed; a zip is one wherever it starts, since its index lies at the end."""
    for magic, opener, certain in (
        (b"\x1f\x8b", _Walk.gzip, False),
        (b"\x78", _Walk.zlib, False),
        (b"\x5d\x00\x00", _Walk.lzma, False),
        (b"BZh", _Walk.bz2, True),
        (b"\xfd7zXZ\x00", _Walk.lzma, True),
        (b"\x04\x22\x4d\x18", _Walk.unreadable, True),
        (b"\x28\xb5\x2f\xfd", _Walk.unreadable, True),
    ):
        if data.startswith(magic) and (certain or _opens(opener, data)):
            return opener
    if data[257:262] == b"ustar":
        return _Walk.tar
    return _Walk.zip if b"PK\x05\x06" in data and zipfile.is_zipfile(io.BytesIO(data)) else None


def _opens(opener: _Opener, data: bytes) -> bool:
    """Whether a few bytes come out; two bytes of another file, such as the length of a header, look like a mark."""
    few = _Walk()
    few.bytes = 1 << 10
    try:
        next(opener(few, data))
    except TooMuch:
        return True
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        return False
    return True


def _in_bytes(place: str, data: bytes, archive: bool) -> Iterator[PickleStream]:
    """Streams from the first byte on, one after the other; then those that begin anywhere later."""
    file, position = io.BytesIO(data), 0
    while position < len(data) and not archive:
        stream, end = _read(place, file, position, bool(_START.match(data, position)))
        if stream is None:
            break
        yield stream
        position = end
    for count, start in enumerate(_START.finditer(data, position)):
        if count >= MOST_STARTS:
            return
        if start.start() >= position:
            stream, end = _read(f"{place} at byte {start.start()}", file, start.start(), marked=True)
            if stream is not None and any(_NAME.fullmatch(name) for name in stream.globals):
                yield stream
                position = end


def _read(place: str, file: io.BytesIO, start: int, marked: bool) -> tuple[PickleStream | None, int]:
    """The stream that begins at `start`, and where it ends; None when it is none.

    Text (protocol 0 and 1) has no mark of its own: it is a stream when it reads to its end or names an object.
    """
    found: set[str] = set()
    end = start
    file.seek(start)
    try:
        for named, position in _globals(file):
            end = position + 1
            if named is not None:
                if not marked and not _NAME.fullmatch(named):
                    return None, start
                found.add(named)
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError, TypeError):
        if not found and not marked:
            return None, start
        rest = _TEXT_GLOBAL.findall(file.getbuffer()[end:])
        found |= {f"{module.decode()}.{name.decode()}" for module, name in rest}
        return PickleStream(place, frozenset(found), "a pickle that cannot be read to its end"), file.getbuffer().nbytes
    return PickleStream(place, frozenset(found)), end


def _globals(file: io.BytesIO) -> Iterator[tuple[str | None, int]]:
    """Objects named by the opcodes, with their position; the last one is STOP.

    The stack is followed as `pickletools.dis` does, so that pushing and popping cannot hide what STACK_GLOBAL takes.

    Raises:
        ValueError, KeyError, IndexError: no opcode, or a stack that does not hold what an opcode takes.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, position in pickletools.genops(file):
        name = opcode.name
        found: str | None = None
        if name in ("GLOBAL", "INST"):
            found = ".".join(str(argument).split(" ", 1))
        elif name == "STACK_GLOBAL":
            module, attribute = stack[-2], stack[-1]
            found = f"{module}.{attribute}" if isinstance(module, str) and isinstance(attribute, str) else UNKNOWN
        elif name in _EXTENSIONS:
            found = UNKNOWN
        if name in _MEMO_WRITE:
            memo[len(memo) if argument is None else int(argument)] = stack[-1]
        else:
            top = stack[-1] if stack else None
            _pop(stack, opcode)
            stack += _pushed(opcode, argument, memo, top)
        yield found, int(position or 0)


def _pop(stack: list[Any], opcode: Any) -> None:
    takes = opcode.stack_before
    if _MARK in takes or (opcode.name == "POP" and stack[-1] is _MARK):
        while stack.pop() is not _MARK:
            pass
        takes = takes[: takes.index(_MARK)] if _MARK in takes else []
    if len(takes) > len(stack):
        raise IndexError(f"{opcode.name} takes more than the stack holds")
    if takes:
        del stack[-len(takes) :]


def _pushed(opcode: Any, argument: Any, memo: dict[int, Any], top: Any) -> list[Any]:
    """What the opcode leaves on the stack: a text, a mark, or None for anything else."""
    if opcode.name in _MEMO_READ:
        return [memo[int(argument)]]
    if opcode.name == "DUP":
        return [top, top]
    if opcode.name == "MARK":
        return [_MARK]
    if isinstance(argument, str) and opcode.name.endswith(("UNICODE", "UNICODE8", "STRING")):
        return [argument]
    return [None] * len(opcode.stack_after)

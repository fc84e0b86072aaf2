"""Logs of the platform's processes: one JSON object a line for machines, plain lines for people at a terminal.

No identifier of a patient or a request, and no value of a feature, is ever given to a logger. What a library says of
its own errors may quote the values that it was given (a database names the row), so of a foreign error only its kind
and the places in the code are written.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

LEVEL, FORMAT = "CLINICAL_LOG_LEVEL", "CLINICAL_LOG_FORMAT"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
FORMATS = ("json", "text")
OURS = ("clinical_assets", "resources", "sensors")
FACTS = "facts"
"""`logger.info("event", extra={FACTS: {...}})` puts the facts beside the event."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure() -> None:
    """Set up logging to standard error as `CLINICAL_LOG_LEVEL` and `CLINICAL_LOG_FORMAT` say.

    Raises:
        ValueError: one of them has no such value.
    """
    level = os.environ.get(LEVEL, "WARNING").upper()
    if level not in LEVELS:
        raise ValueError(f"{LEVEL}={level!r}; set it to one of {', '.join(LEVELS)}")
    chosen = os.environ.get(FORMAT, "text" if sys.stderr.isatty() else "json")
    if chosen not in FORMATS:
        raise ValueError(f"{FORMAT}={chosen!r}; set it to one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if chosen == "json" else PlainLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in (*OURS, "__main__"):
        logging.getLogger(name).setLevel(level)


class JsonLines(logging.Formatter):
    """One object a line: `at` (UTC), `level`, `logger`, `event`, the facts, and `error` where there was one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, FACTS, {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = described(record.exc_info)
        return json.dumps(line, default=str)


class PlainLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{name}={value}" for name, value in getattr(record, FACTS, {}).items())
        return f"{super().format(record)}{' ' if facts else ''}{facts}"

    def formatException(self, ei: ExcInfo) -> str:
        error = described(ei)
        return "\n".join([f"{error['type']}: {error['said']}".rstrip(": "), *(f"  {place}" for place in error["at"])])


def described(info: ExcInfo) -> dict[str, Any]:
    """Kind, places in the code (innermost last), and the words of the error if they are our own."""
    kind, error, trace = info
    if kind is None:
        return {"type": "", "said": "", "at": []}
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    ours = kind.__module__.partition(".")[0] in OURS
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "said": str(error) if ours else "", "at": places}

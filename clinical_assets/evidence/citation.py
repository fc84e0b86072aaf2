"""Numbers that say where they come from: a JSON pointer into a file of the same bundle, compared when verified.

A citation is `{"value": 0.653, "evidence": "metrics.json#/…"}`. A document that may hold cited numbers only is checked
by `uncited`: a number that nobody can trace has no place on a model card.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Read = Callable[[str], Any]
"""Parsed content of a file of the bundle by its path; raises KeyError when it is not there."""


def cite(value: float | int | str, path: str, *steps: str | int) -> dict[str, Any]:
    pointer = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
    return {"value": value, "evidence": f"{path}#{pointer}"}


def resolve(evidence: str, read: Read) -> Any:
    """What a citation points at (RFC 6901).

    Raises:
        KeyError: no such file or place.
    """
    path, _, pointer = evidence.partition("#")
    found = read(path)
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(key)] if isinstance(found, list | tuple) else found[key]
        except (IndexError, KeyError, TypeError, ValueError):
            raise KeyError(f"{evidence}: there is no {key!r}") from None
    return found


def citations(value: Any, place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every citation of a document with its place."""
    if isinstance(value, Mapping):
        if "evidence" in value and "value" in value:
            yield place, value
            return
        for key, item in value.items():
            yield from citations(item, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from citations(item, f"{place}/{index}")


def uncited(value: Any, place: str = "") -> Iterator[str]:
    """Places of numbers outside a citation."""
    if isinstance(value, Mapping):
        if not ("evidence" in value and "value" in value):
            for key, item in value.items():
                yield from uncited(item, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from uncited(item, f"{place}/{index}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place


def faults(document: Any, read: Read) -> list[str]:
    """Citations that do not hold, and numbers that cite nothing; empty when all is well."""
    found = [f"{place}: a number without its evidence" for place in uncited(document)]
    for place, citation in citations(document):
        try:
            held = resolve(str(citation["evidence"]), read)
        except KeyError as error:
            found.append(f"{place}: {error.args[0]}")
            continue
        if json.dumps(held, sort_keys=True) != json.dumps(citation["value"], sort_keys=True):
            found.append(f"{place}: says {_brief(citation['value'])}, {citation['evidence']} says {_brief(held)}")
    return found


def rounding_fault(text: str, value: float, scale: float) -> str:
    """What is wrong with a number shown rounded; empty when it is `value` times `scale` to the digits shown."""
    plain = text.strip().replace("−", "-").replace("\u202f", "").replace(",", "").removesuffix("%").strip()
    try:
        seen = float(plain)
    except ValueError:
        return f"{text!r} is not a number"
    decimals = len(plain.partition(".")[2])
    if not math.isclose(seen, value * scale, abs_tol=0.5 * 10.0**-decimals + 1e-9):
        return f"shows {text}, the evidence says {value * scale:.6g}"
    return ""


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

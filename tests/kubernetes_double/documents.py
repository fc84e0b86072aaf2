"""JSON patch, merge patch and field ownership of the Kubernetes API."""

from __future__ import annotations

import copy
from typing import Any

Document = dict[str, Any]


class PatchFailed(ValueError):
    """A `test` that does not hold, or a path that does not exist: 422."""


def json_patch(document: Document, steps: list[Document]) -> Document:
    """RFC 6902 with add, remove, replace and test."""
    document = copy.deepcopy(document)
    for step in steps:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        try:
            holder: Any = document
            for part in parents:
                holder = holder[int(part) if isinstance(holder, list) else part]
            _apply(holder, last, step)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise PatchFailed("the server rejected our request due to an error in our request") from error
    return document


def _apply(holder: Any, last: str, step: Document) -> None:
    value = copy.deepcopy(step.get("value"))
    if isinstance(holder, list) and last == "-":
        holder.append(value)
        return
    key: Any = int(last) if isinstance(holder, list) else last
    if step["op"] == "add" and isinstance(holder, list):
        if not 0 <= key <= len(holder):
            raise IndexError(key)
        holder.insert(key, value)
    elif step["op"] == "add":
        holder[key] = value
    elif step["op"] == "remove":
        del holder[key]
    elif step["op"] == "replace":
        holder[key]
        holder[key] = value
    elif step["op"] != "test" or holder[key] != value:
        raise ValueError(step)


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


Paths = set[tuple[str, ...]]


def leaves(document: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Values by path; a list is one value, as the lists of Istio's CRDs are atomic."""
    if isinstance(document, dict) and document:
        return {path: value for key, below in document.items() for path, value in leaves(below, (*at, key)).items()}
    return {at: document} if at else {}


def owned_part(document: Document) -> dict[tuple[str, ...], Any]:
    """What field ownership is about: everything but identity and what the server fills in."""
    kept = {key: value for key, value in document.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    metadata = {key: document.get("metadata", {}).get(key) for key in ("labels", "annotations")}
    return leaves({**kept, "metadata": {key: value for key, value in metadata.items() if value}})


def fields_v1(paths: Paths) -> Document:
    tree: Document = {}
    for path in sorted(paths):
        below = tree
        for part in path:
            below = below.setdefault(f"f:{part}", {})
    return tree


def paths_of(fields: Document, at: tuple[str, ...] = ()) -> Paths:
    if not fields:
        return {at}
    return {path for key, below in fields.items() for path in paths_of(below, (*at, key.removeprefix("f:")))}


def without(document: Document, path: tuple[str, ...]) -> None:
    holder: Any = document
    for part in path[:-1]:
        holder = holder.get(part, {})
    holder.pop(path[-1], None)

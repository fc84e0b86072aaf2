"""The smallest JSON patch (RFC 6902) between two states of an object, so that foreign bytes never travel."""

from __future__ import annotations

from typing import Any

Operation = dict[str, Any]


def operations(before: Any, after: Any, path: str = "") -> list[Operation]:
    """What turns `before` into `after`: members of mappings and of equally long lists one by one, else as a whole."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = [{"op": "remove", "path": f"{path}/{_escaped(key)}"} for key in before if key not in after]
        for key, value in after.items():
            below = f"{path}/{_escaped(key)}"
            if key in before:
                found += operations(before[key], value, below)
            else:
                found.append({"op": "add", "path": below, "value": value})
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
        return [step for index, (old, new) in enumerate(pairs) for step in operations(old, new, f"{path}/{index}")]
    same = type(before) is type(after) and before == after
    return [] if same else [{"op": "replace", "path": path, "value": after}]


def replacing(path: str, removed: list[int], added: list[Any]) -> list[Operation]:
    """Put `added` in the place of the entries at the positions `removed` (else in front), touching no other entry."""
    out = [{"op": "remove", "path": f"{path}/{index}"} for index in sorted(removed, reverse=True)]
    first = min(removed, default=0)
    into = [{"op": "add", "path": f"{path}/{first + offset}", "value": value} for offset, value in enumerate(added)]
    return out + into


def unless_changed(document: dict[str, Any], steps: list[Operation]) -> list[Operation]:
    """`steps`, refused by the API (422) if anybody wrote `document` in between."""
    version = document["metadata"]["resourceVersion"]
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *steps] if steps else []


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")

"""The Python types that a skops archive would build, read by us: the archive's own list of trusted types is ignored."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

SCHEMA = "schema.json"


def skops_types(data: bytes) -> frozenset[str] | None:
    """`module.name` of every node of the schema and of what its nodes refer to by name; None: no skops archive.

    Recognised by content, whatever the file is called.

    Raises:
        ValueError: a zip with a schema that is no JSON object.
    """
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if SCHEMA not in archive.namelist():
                return None
            schema = json.loads(archive.read(SCHEMA))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, RecursionError) as error:
        raise ValueError(f"a zip that cannot be read: {error}") from error
    if not isinstance(schema, dict):
        raise ValueError(f"{SCHEMA} holds no object")
    return frozenset(_types(schema))


def _types(root: dict[str, Any]) -> Iterator[str]:
    """A node names its type by `__module__` and `__class__`; functions and types are named in its content."""
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            if "__class__" in node:
                yield f"{node.get('__module__', '?')}.{node['__class__']}"
            if "function" in node and "module_path" in node:
                yield f"{node['module_path']}.{node['function']}"

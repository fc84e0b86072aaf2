"""Files that would run code if somebody loaded them carelessly. None of them is ever loaded here."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import os
import pickle
import pydoc
import struct
import timeit
import zipfile
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import torch
from safetensors.numpy import save as save_tensors


class Call:
    """Unpickling one calls `function(*arguments)`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


SYSTEM = Call(os.system, "true")


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def object_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([SYSTEM], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def joblib_dump(value: Any, compress: int = 0) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, compress=compress)
    return buffer.getvalue()


def torch_dump(value: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def skops_archive(module: str, name: str) -> bytes:
    """A skops archive that calls its own type trusted."""
    node = {"__class__": name, "__module__": module, "__loader__": "ObjectNode", "content": {}}
    return zipped({"schema.json": json.dumps({**node, "trusted": [f"{module}.{name}"]}).encode()})


HIDDEN_BY_POPS = (
    b"\x80\x04\x8c\x05posix\x8c\x06system"  # the two texts that STACK_GLOBAL will take …
    b"\x8c\x05numpy\x8c\x07ndarray00"  # … and two harmless ones, pushed and popped again
    b"\x93\x8c\x04true\x85R."
)

PROBES: dict[str, bytes] = {
    "posix_system.json": pickle.dumps(SYSTEM),
    "builtins_eval.json": pickle.dumps(Call(builtins.eval, "1")),
    "torch_zip.safetensors": torch_dump({"weights": torch.ones(3), "hook": SYSTEM}),
    "timeit.safetensors": pickle.dumps(Call(timeit.timeit, "pass")),
    "pydoc_pipepager.ubj": pickle.dumps(Call(pydoc.pipepager, "text", "true")),
    "numpy_object_array.json": object_array(),
}
"""The six probes that deny-lists were measured on, under innocent names."""

VARIANTS: dict[str, bytes] = PROBES | {
    "text_protocol.json": pickle.dumps(SYSTEM, protocol=0),
    "zip_in_zip.json": zipped({"inner.zip": zipped({"data.pkl": pickle.dumps(SYSTEM)})}),
    "zip_after_text.json": b'{"family": "cox"}' + zipped({"data.pkl": pickle.dumps(SYSTEM)}),
    "joblib.json": joblib_dump({"weights": np.ones(4), "hook": SYSTEM}),
    "joblib_compressed.json": joblib_dump({"hook": SYSTEM}, compress=3),
    "gzip.onnx": gzip.compress(pickle.dumps(SYSTEM)),
    "torch_legacy.ubj": torch_dump({"weights": torch.ones(3), "hook": SYSTEM}, zipped=False),
    "after_tensors.safetensors": save_tensors({"a": np.ones(2)}) + pickle.dumps(SYSTEM),
    "hidden_by_pops.json": HIDDEN_BY_POPS,
    "extension_registry.json": b"\x80\x02\x82\x01.",
    "broken_after_call.json": pickle.dumps(SYSTEM)[:-1] + b"\xff",
    "lz4.json": b"\x04\x22\x4d\x18" + b"\0" * 32,
}
"""Everything that SE2 must stop."""

OVERSIZED_HEADER = struct.pack("<Q", 1 << 62) + b"{}"

"""A bundle in memory: its files, parsed once when they are needed, and the keys that came with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clinical_assets.audit.keys import PLATFORM
from clinical_assets.evidence.bundle import MANIFEST, SIGNATURE
from clinical_assets.evidence.keyring import KeyRing
from clinical_assets.evidence.reading import Refused, read_json

RECORD = "records/decision.json"

Fault = Callable[[str], None]
"""Takes what is wrong, in words."""


class Bundle:
    """Files with their parsed content; a document is parsed once, and only when it is needed."""

    def __init__(self, files: Mapping[str, bytes], trusted: str | None) -> None:
        self.files = files
        self._parsed: dict[str, Any] = {}
        self.keys = KeyRing.of(
            {name.removeprefix("keys/"): data for name, data in files.items() if name.startswith("keys/")}
        )
        self._trusted = trusted

    def json(self, name: str) -> Any:
        if name not in self._parsed:
            if name not in self.files:
                raise KeyError(f"{name} is not in the bundle")
            self._parsed[name] = read_json(self.files[name], name)
        return self._parsed[name]

    @property
    def platform_key(self) -> str:
        """The key that must have signed: the reader's, else the one that the manifest's signature names."""
        return self._trusted or self._said(SIGNATURE, "key_id")

    @property
    def about(self) -> str:
        return f"{self._said(MANIFEST, 'cancer')}, model {self._said(MANIFEST, 'model_digest')[:12]}"

    def _said(self, name: str, key: str) -> str:
        """A text of a document that may be damaged; `?` where it cannot be read."""
        try:
            return str(self.json(name)[key])
        except (Refused, KeyError, TypeError):
            return "?"

    def by_platform(self, data: bytes, proof: Mapping[str, Any]) -> bool:
        signed_by = str(proof["key_id"])
        return signed_by == self.platform_key and self.keys.verify(signed_by, data, str(proof["signature"]), PLATFORM)

    def signed(self, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Signed rows of a folder: what is signed, with its signature and place in the chain."""
        for name in sorted(self.files):
            if name.startswith(f"{folder}/") and not name.endswith(".signature.json"):
                proof = self.json(name.removesuffix(".json") + ".signature.json")
                yield name, {**proof, "body": self.files[name].decode()}

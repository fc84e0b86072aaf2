"""Content-addressed storage for snapshots, feature tables, models and predictions, and an index of work done."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import dagster as dg
from pydantic import BaseModel

from clinical_assets.foundation.files import publish_directory, write_atomic
from clinical_assets.foundation.home import Home

Reference = TypeVar("Reference", bound=BaseModel)
_KEY = re.compile(r"[a-z0-9_]+")


class ObjectStore(dg.ConfigurableResource):
    """`<kind>/<cancer>/<sha256>/…` for objects, `index/<asset>/<cancer>/<input sha256>.json` for reuse."""

    root: str = ""

    @property
    def directory(self) -> Path:
        return Path(self.root) if self.root else Home.from_env().prepare().objects

    def path(self, kind: str, cancer: str, digest: str) -> Path:
        """Where an object lies (whether or not it exists yet)."""
        if not _KEY.fullmatch(cancer) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise ValueError(f"not an object address: {kind}/{cancer}/{digest}")
        return self.directory / kind / cancer / digest

    @property
    def models(self) -> Path:
        """Model directories by digest, where the servers find them; a signature lies beside each."""
        return self.directory / "models"

    def publish(self, kind: str, cancer: str, digest: str, fill: Callable[[Path], None]) -> Path:
        """Write an object aside and rename it into place; an object that exists is left as it is."""
        return publish_directory(self.path(kind, cancer, digest), fill)

    def remember(self, asset: str, cancer: str, input_sha: str, reference: BaseModel) -> None:
        """Record that `asset` over inputs `input_sha` gave `reference`."""
        path = self.directory / "index" / asset / cancer / f"{input_sha}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, reference.model_dump_json().encode())

    def recall(self, asset: str, cancer: str, input_sha: str, kind: type[Reference]) -> Reference | None:
        """The reference recorded for these inputs, or None when the work has not been done yet."""
        path = self.directory / "index" / asset / cancer / f"{input_sha}.json"
        try:
            return kind.model_validate(json.loads(path.read_text()))
        except FileNotFoundError:
            return None


class ReferenceIOManager(dg.ConfigurableIOManager):
    """Hands references (small frozen records), never data, from asset to asset: one file per partition."""

    root: str = ""

    def _path(self, asset: str, partition: str) -> Path:
        base = Path(self.root) if self.root else Home.from_env().prepare().objects
        return base / "references" / asset / f"{partition}.json"

    def find(self, asset: str, partition: str, kind: type[Reference]) -> Reference | None:
        """What `asset` handed on last, or None before its first materialization."""
        try:
            return kind.model_validate_json(self._path(asset, partition).read_text())
        except FileNotFoundError:
            return None

    def handle_output(self, context: dg.OutputContext, obj: BaseModel) -> None:
        path = self._path(context.asset_key.to_user_string(), context.partition_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, obj.model_dump_json(indent=1).encode())

    def load_input(self, context: dg.InputContext) -> BaseModel:
        asset = context.asset_key.to_user_string()
        found = self.find(asset, context.partition_key, context.dagster_type.typing_type)
        if found is None:
            raise dg.Failure(
                f"{context.partition_key}: {asset} has not been materialized for this cancer type; "
                f"run: dagster asset materialize --select {asset} --partition {context.partition_key}",
                allow_retries=False,
            )
        return found

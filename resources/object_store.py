"""Content-addressed storage for snapshots, feature tables, models and predictions, and an index of work done.

In the state directory, or in a bucket behind the S3 API: `CLINICAL_OBJECTS_URL`, see `clinical_assets.foundation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import dagster as dg
from pydantic import BaseModel

from clinical_assets.foundation.home import Home

if TYPE_CHECKING:
    from clinical_assets.foundation.objects.interface import Objects

Reference = TypeVar("Reference", bound=BaseModel)
_KEY = re.compile(r"[a-z0-9_]+")


class ObjectStore(dg.ConfigurableResource):
    """`<kind>/<cancer>/<sha256>` for objects, `index/<asset>/<cancer>/<input sha256>.json` for reuse.

    `root`: a directory instead of the store that the environment names. `patience_s`: see `open_objects`.
    """

    root: str = ""
    patience_s: float | None = None

    def objects(self) -> Objects:
        return _objects(self.root, self.patience_s)

    def fetch(self, kind: str, cancer: str, digest: str) -> Path:
        """The directory of an object, verified just now.

        Raises:
            ObjectMissing, ObjectDamaged: it is gone, or not what was stored.
        """
        return self.objects().fetch(_address(kind, cancer, digest))

    def publish(self, kind: str, cancer: str, digest: str, fill: Callable[[Path], None]) -> Path:
        """Store what `fill` writes, in one step; an object that exists is left as it is."""
        return self.objects().publish(_address(kind, cancer, digest), fill)

    def model(self, digest: str) -> Path:
        """The directory of a model, whose files have this very digest.

        Raises:
            ObjectMissing, ObjectDamaged: it is gone, or not what was stored.
        """
        return self.objects().fetch(f"models/{digest}")

    def signature(self, digest: str) -> Path:
        """The signature over a model directory; a path where nothing is when there is none."""
        from clinical_assets.foundation.objects.errors import ObjectMissing

        objects, name = self.objects(), f"models/{digest}.sig"
        try:
            return objects.file(name)
        except ObjectMissing:
            return objects.directory / name

    def remember(self, asset: str, cancer: str, input_sha: str, reference: BaseModel) -> None:
        """Record that `asset` over inputs `input_sha` gave `reference`."""
        self.objects().write(f"index/{asset}/{cancer}/{input_sha}.json", reference.model_dump_json().encode())

    def recall(self, asset: str, cancer: str, input_sha: str, kind: type[Reference]) -> Reference | None:
        """The reference recorded for these inputs, or None when the work has not been done yet."""
        found = self.objects().read(f"index/{asset}/{cancer}/{input_sha}.json")
        return None if found is None else kind.model_validate_json(found)


class ReferenceIOManager(dg.ConfigurableIOManager):
    """Hands references (small frozen records), never data, from asset to asset: one record per partition."""

    root: str = ""
    patience_s: float | None = None

    def find(self, asset: str, partition: str, kind: type[Reference]) -> Reference | None:
        """What `asset` handed on last, or None before its first materialization."""
        found = _objects(self.root, self.patience_s).read(f"references/{asset}/{partition}.json")
        return None if found is None else kind.model_validate_json(found)

    def handle_output(self, context: dg.OutputContext, obj: BaseModel) -> None:
        name = f"references/{context.asset_key.to_user_string()}/{context.partition_key}.json"
        _objects(self.root, self.patience_s).write(name, obj.model_dump_json(indent=1).encode())

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


def _objects(root: str, patience_s: float | None) -> Objects:
    from clinical_assets.foundation.objects.local import LocalObjects
    from clinical_assets.foundation.objects.opening import open_objects

    return LocalObjects(Path(root)) if root else open_objects(Home.from_env().prepare(), patience_s=patience_s)


def _address(kind: str, cancer: str, digest: str) -> str:
    if not _KEY.fullmatch(cancer) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"not an object address: {kind}/{cancer}/{digest}")
    return f"{kind}/{cancer}/{digest}"

"""A model as a directory of data that cannot run: `model.json` and `weights.safetensors`.

The digest over the directory is the model's identity. Loading reads every file once, compares the digest of those
very bytes, and only then parses them.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NewType

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from clinical_assets.foundation.canonical import canonical_json, sha256_bytes, sha256_directory, sha256_json
from clinical_assets.foundation.files import publish_directory, write_atomic
from clinical_assets.modeling.calibration import Recalibration
from clinical_assets.modeling.card import ModelCard, describe
from clinical_assets.modeling.encoder import Encoder
from clinical_assets.modeling.model import FamilyModel, Rows
from clinical_assets.modeling.predictor_format import assemble, dismantle

if TYPE_CHECKING:
    from clinical_assets.trials.contract import CohortContract

ModelDigest = NewType("ModelDigest", str)

CARD, WEIGHTS = "model.json", "weights.safetensors"
FILES = frozenset({CARD, WEIGHTS})


class DigestMismatch(Exception):
    """The directory is not the model that was asked for."""


class UnsafeArtifact(Exception):
    """The directory holds something a model does not consist of, or data that do not describe a model."""


def save_model(
    model: FamilyModel, directory: Path, contract: CohortContract, cancer: str, provenance: dict[str, Any]
) -> ModelDigest:
    """Write a fitted model into `directory` (new or empty) and return its digest.

    The same model and provenance give the same bytes, so keep times and machine names out of `provenance`.

    Raises:
        FileExistsError: the directory holds something already.
        ValueError: the contract is not the one the model was fitted under.
    """
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} is not empty; a model directory is written once")
    files = _files(model, describe(model, contract, cancer, provenance))
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomic(directory / name, data)
    return ModelDigest(sha256_directory(directory))


def publish_model(
    model: FamilyModel, root: Path, contract: CohortContract, cancer: str, provenance: dict[str, Any]
) -> Path:
    """Store a model under `root/<digest>` in one step; the same model again is kept as it is."""
    root.mkdir(parents=True, exist_ok=True)
    aside = root / f".saving.{secrets.token_hex(4)}"
    try:
        digest = save_model(model, aside, contract, cancer, provenance)

        def fill(target: Path) -> None:
            shutil.copytree(aside, target, dirs_exist_ok=True)

        return publish_directory(root / digest, fill)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load_model(directory: Path, expected_digest: str | None) -> FamilyModel:
    """The model in `directory`; `expected_digest` None accepts any digest, for a directory just written.

    Raises:
        FileNotFoundError: no such directory.
        UnsafeArtifact: a file, link or content that does not belong to a model.
        DigestMismatch: the bytes have another digest; nothing was parsed.
    """
    return _read(directory, expected_digest)[0]


def load_card(directory: Path, expected_digest: str | None) -> ModelCard:
    """Only the card, under the same checks."""
    return _read(directory, expected_digest)[1]


class Scorer:
    """Risk at the declared horizon for one request or many, in numpy alone."""

    def __init__(self, model: FamilyModel, card: ModelCard, digest: ModelDigest) -> None:
        self.model, self.card, self.digest = model, card, digest

    def risk(self, rows: Rows) -> np.ndarray:
        """(n,) risk for a frame or a list of rows by name; None or NaN is missing, other columns are ignored.

        Raises:
            ValueError: a feature is absent or holds an impossible value.
        """
        return self.model.risk(rows, self.card.horizon)


def load_scorer(directory: Path, expected_digest: str | None) -> Scorer:
    """The fast path for serving; raises as `load_model` does, and when a golden row no longer gets its risk."""
    model, card, digest = _read(directory, expected_digest)
    scorer = Scorer(model, card, digest)
    expected = np.array([golden.risk for golden in card.golden])
    found = scorer.risk([golden.row for golden in card.golden])
    worst = float(np.max(np.abs(found - expected)))
    if not worst <= 1e-6:
        raise UnsafeArtifact(f"{directory}: golden rows differ by {worst:.2e} from the risks on the model's card")
    return scorer


def _files(model: FamilyModel, card: ModelCard) -> dict[str, bytes]:
    _, tensors = dismantle(model.predictor_)
    return {
        WEIGHTS: save_tensors({name: np.ascontiguousarray(tensor) for name, tensor in sorted(tensors.items())}),
        CARD: canonical_json(card.model_dump(mode="json")),
    }


def _read(directory: Path, expected_digest: str | None) -> tuple[FamilyModel, ModelCard, ModelDigest]:
    files = _contents(directory)
    digest = ModelDigest(sha256_json([[name, sha256_bytes(data)] for name, data in sorted(files.items())]))
    if expected_digest is not None and digest != expected_digest:
        raise DigestMismatch(f"{directory}: expected model {expected_digest[:12]}, the files make {digest[:12]}")
    try:
        card = ModelCard.model_validate_json(files[CARD])
        model = _rebuild(card, load_tensors(files[WEIGHTS]))
    except (KeyError, TypeError, ValueError, IndexError, SafetensorError, ValidationError) as error:
        raise UnsafeArtifact(f"{directory}: does not describe a model ({type(error).__name__}: {error})") from error
    return model, card, digest


def _contents(directory: Path) -> dict[str, bytes]:
    """Bytes of every file; regular files of the allow-list only."""
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no model directory there")
    entries = sorted(directory.iterdir())
    for entry in entries:
        if entry.is_symlink() or not entry.is_file() or entry.name not in FILES:
            raise UnsafeArtifact(
                f"{directory}: {entry.name!r} does not belong to a model; only {', '.join(sorted(FILES))} may "
                "be there, as plain files"
            )
    files = {entry.name: entry.read_bytes() for entry in entries}
    absent = FILES - files.keys()
    if absent:
        raise UnsafeArtifact(f"{directory}: {', '.join(sorted(absent))} is missing")
    return files


def _rebuild(card: ModelCard, tensors: dict[str, np.ndarray]) -> FamilyModel:
    encoder = Encoder.from_state(card.encoder)
    recalibration = Recalibration(**card.recalibration.model_dump())
    model = FamilyModel(card.family, encoder.features, card.kind, card.seed, card.horizon, recalibration)
    model.encoder_ = encoder
    model.predictor_ = assemble(card.predictor, tensors, width=len(encoder.source))
    if model.predictor_.kind != card.kind:
        raise ValueError(f"a predictor of {model.predictor_.kind} outcomes for a {card.kind} endpoint")
    return model

"""The models that one server slot holds: follows the desired state, and loads nothing without digest and verdict."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from clinical_assets.audit.records import SignedRecord
from clinical_assets.gates.verdict import Scope, Tier
from clinical_assets.modeling.artifact import Scorer, UnsafeArtifact, load_scorer

POLL_SECONDS = 0.2
RETRY_SECONDS = 2.0
logger = logging.getLogger(__name__)


class Records(Protocol):
    """The part of the record store that is used here."""

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> SignedRecord: ...


class Desired(Protocol):
    """What one slot should hold, and a version that changes with it."""

    def wanted(self, slot: str) -> set[tuple[str, str]]: ...

    def version(self) -> tuple[int, int] | None: ...


@dataclass(frozen=True)
class LoadedModel:
    cancer: str
    digest: str
    scorer: Scorer
    tier: Tier

    @property
    def evidence(self) -> dict[str, str]:
        """What every answer says of what the model rests on: the tier, and that no patient stands behind it."""
        simulated = self.scorer.card.provenance.get("data_status") == "simulated"
        return {"evidence": self.tier.value, **({"data_status": "simulated"} if simulated else {})}


@dataclass(frozen=True)
class Refusal:
    """Why a desired model is not served; tried again at `retry_at` (monotonic clock)."""

    reason: str
    retry_at: float


Key = tuple[str, str]


class LoadedModels:
    """Reads the desired state in a thread of its own; requests only look into a dictionary."""

    def __init__(self, desired: Desired, slot: str, models: Callable[[str], Path], records: Records) -> None:
        """
        Args:
            models: where the directory of a digest lies, fetched if need be.
            records: asked for a signed verdict of at least `shadow` scope before a model is read.
        """
        self.slot = slot
        self._desired = desired
        self._models = models
        self._records = records
        self._loaded: dict[Key, LoadedModel] = {}
        self._refused: dict[Key, Refusal] = {}
        self._wanted: set[Key] = set()
        self._seen: tuple[int, int] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)

    def start(self) -> None:
        """Load what is desired now, then follow changes in the background."""
        self.reconcile()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def get(self, cancer: str, digest: str) -> LoadedModel | None:
        return self._loaded.get((cancer, digest))

    def of(self, cancer: str) -> LoadedModel | None:
        """The model that this slot holds for a cancer type."""
        return next((model for key, model in list(self._loaded.items()) if key[0] == cancer), None)

    def state(self, cancer: str, digest: str) -> tuple[Literal["ready", "loading", "refused", "absent"], str]:
        """State and reason of one model in this slot."""
        key = (cancer, digest)
        if key in self._loaded:
            return "ready", ""
        if refusal := self._refused.get(key):
            return "refused", refusal.reason
        if key in self._wanted:
            return "loading", "the model is being verified and loaded"
        return "absent", f"slot {self.slot} is not meant to hold this model"

    def report(self) -> dict[str, dict[str, Any]]:
        """Digest, state and reason of every desired model, by cancer type."""
        report = {}
        for cancer, digest in sorted(self._wanted):
            state, reason = self.state(cancer, digest)
            report[cancer] = {"digest": digest, "state": state, "reason": reason}
        return report

    def reconcile(self) -> None:
        """One step: drop what is no longer desired, load what is missing, try refused models again when due."""
        version = self._desired.version()
        if version != self._seen:
            wanted = self._desired.wanted(self.slot)
            self._wanted, self._seen = wanted, version
            self._loaded = {key: model for key, model in self._loaded.items() if key in wanted}
            self._refused = {key: refusal for key, refusal in self._refused.items() if key in wanted}
        for key in sorted(self._wanted - self._loaded.keys()):
            refusal = self._refused.get(key)
            if refusal is None or time.monotonic() >= refusal.retry_at:
                self._load(key)

    def _load(self, key: Key) -> None:
        cancer, digest = key
        try:
            signed = self._records.require(digest, cancer, Scope.SHADOW, time.time())
            scorer = load_scorer(self._models(digest), digest)
            if scorer.card.cancer != cancer:
                raise UnsafeArtifact(f"model {digest[:12]} is for {scorer.card.cancer}")
        except Exception as error:  # any reason not to load is reported to operators, and none may stop the others
            reason = f"{type(error).__name__}: {error}"
            if key not in self._refused or self._refused[key].reason != reason:
                logger.error("%s: model %s refused: %s", cancer, digest[:12], reason)
            self._refused = {**self._refused, key: Refusal(reason, time.monotonic() + RETRY_SECONDS)}
            return
        self._loaded = {**self._loaded, key: LoadedModel(cancer, digest, scorer, signed.record.tier)}
        self._refused = {other: refusal for other, refusal in self._refused.items() if other != key}
        logger.warning("%s: model %s loaded in slot %s", cancer, digest[:12], self.slot)

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.reconcile()
            except (OSError, ValueError):
                logger.exception("the desired state cannot be read")

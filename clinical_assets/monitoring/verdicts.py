"""Verdicts as they were issued, and what was withdrawn since. What grants anything is `RecordStore.require` alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from clinical_assets.audit.record_table import records
from clinical_assets.audit.revocations import Kind
from clinical_assets.gates.facts import utc_seconds

DECISION = "decision"


@dataclass(frozen=True)
class IssuedVerdict:
    """The latest decision record on one model. Times are wall time in seconds since the epoch."""

    cancer: str
    digest: str
    record: str
    key_id: str
    gates: dict[str, str]
    scope: str
    issued: float
    expires: float


class VerdictReader:
    """The latest verdict of each cancer type, and those on the models in play."""

    def __init__(self) -> None:
        self.latest: dict[str, IssuedVerdict] = {}
        self._by_model: dict[str, IssuedVerdict | None] = {}
        self._withdrawn: set[tuple[str, str]] = set()
        self._seen = 0

    def read(self, connection: Connection, digests: Iterable[str]) -> None:
        """
        Args:
            digests: models in play; their verdicts are looked up once, and again when a new record appears.
        """
        c = records.c
        new = select(c.seq, c.kind, c.model_digest).where(c.seq > self._seen).order_by(c.seq)
        for row in connection.execute(new).all():
            if row.kind == DECISION:
                self._by_model.pop(row.model_digest, None)
            else:
                self._withdrawn.add((row.kind, row.model_digest))
        of_cancer = select(func.max(c.seq)).where(c.kind == DECISION, c.seq > self._seen).group_by(c.cancer)
        for verdict in self._verdicts(connection, of_cancer):
            self.latest[verdict.cancer] = verdict
            self._by_model[verdict.digest] = verdict
        self._seen = connection.execute(select(func.max(c.seq))).scalar() or 0
        for digest in set(digests) - self._by_model.keys():
            last = select(func.max(c.seq)).where(c.kind == DECISION, c.model_digest == digest)
            self._by_model[digest] = next(iter(self._verdicts(connection, last)), None)

    def known(self, digests: Iterable[str]) -> list[IssuedVerdict]:
        """The verdicts on these models and the latest of every cancer type, each once."""
        found = [*self.latest.values(), *filter(None, map(self._by_model.get, digests))]
        return list({(verdict.cancer, verdict.digest): verdict for verdict in found}.values())

    def revoked(self, verdict: IssuedVerdict) -> bool:
        """Whether the model, its record or the key that signed it was withdrawn."""
        subjects = {(Kind.MODEL, verdict.digest), (Kind.RECORD, verdict.record), (Kind.KEY, verdict.key_id)}
        return bool({(str(kind), subject) for kind, subject in subjects} & self._withdrawn)

    @staticmethod
    def _verdicts(connection: Connection, which: object) -> list[IssuedVerdict]:
        c = records.c
        query = select(c.body, c.body_sha256, c.key_id).where(c.seq.in_(which)).order_by(c.seq)  # type: ignore[arg-type]
        found = []
        for row in connection.execute(query):
            body = json.loads(row.body)
            gates = {gate: report["verdict"] for gate, report in body["reports"].items()}
            period = utc_seconds(body["issued_utc"]), utc_seconds(body["expires_utc"])
            names = body["cancer"], body["model_digest"], row.body_sha256, row.key_id
            found.append(IssuedVerdict(*names, gates, body["scope"], *period))
        return found

"""The decision record itself: what was judged, by which rules, from which data and code, with what result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.gates.verdict import GateName, GateReport, Scope, Tier


class Refused(RuntimeError):
    """The model may not act as asked; the message says why and what would change it."""


class DecisionRecord(BaseModel):
    """The five gate reports on one model.

    `scope` is what the reports granted when the record was issued; whoever relies on it recomputes it.
    `previous` is the entry hash of the record before it in the store.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cancer: str
    model_digest: str = Field(pattern="^[0-9a-f]{64}$")
    data_digests: dict[str, str]
    policy_digest: str
    lineage: dict[str, Any]
    reports: dict[GateName, GateReport]
    scope: Scope
    tier: Tier
    issued_utc: str
    expires_utc: str
    previous: str
    actor: str

    def canonical(self) -> bytes:
        """The bytes that are signed.

        Raises:
            ValueError: a report holds NaN or an infinity; names gate and check.
        """
        for gate, report in self.reports.items():
            for check in report.checks:
                try:
                    canonical_json(check.model_dump(mode="json"))
                except ValueError as error:
                    raise ValueError(
                        f"{self.cancer}: gate {gate}, check {check.id} holds a number that is not finite"
                    ) from error
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True)
class SignedRecord:
    """`digest` is the SHA-256 of the signed bytes; `scope` what the reports grant now (set by `require`)."""

    digest: str
    record: DecisionRecord
    signature: str
    key_id: str
    scope: Scope

"""A whole release of a real cohort with its five signed reports, and the bundle made from it; built once a session."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import clinical_assets.audit.records
import clinical_assets.rollout.ledger  # noqa: F401  every table is registered
from clinical_assets.audit.artifact_signature import sign_directory
from clinical_assets.audit.keys import PLATFORM, KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.records import RecordStore
from clinical_assets.audit.statements import Approval, lasting
from clinical_assets.catalog import load_catalog
from clinical_assets.evidence.bundle import Files, sealed
from clinical_assets.evidence.composing import Release, compose
from clinical_assets.evidence.signed_rows import audit_extract, decision_rows, statement_rows
from clinical_assets.foundation.clock import utc_iso
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.gates.judging import JUDGES
from clinical_assets.gates.verdict import GateName
from tests.gates.cohorts import NOW, release

COHORT = "lung_advanced"
OTHER = "b" * 64
"""Another model, whose entries stand between this model's in the audit log."""


class Platform:
    """Keys and a database of their own, in which one model was logged, judged, approved."""

    def __init__(self, slug: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="evidence-"))
        self.keys = KeyStore(self.root / "keys")
        self.engine = engine_for(f"sqlite:///{self.root / 'ledger.db'}")
        create_tables(self.engine)
        self.records = RecordStore(self.engine, self.keys)
        self.cancer = load_catalog()[slug]
        facts = release(slug)
        self.facts = replace(facts, lineage={**facts.lineage, "policy_digest": self.cancer.gates.digest})
        self.signature = self.root / "model.sig"
        sign_directory(facts.model_dir, self.signature, self.keys)
        log = AuditLog(self.engine, self.keys)
        log.append(PLATFORM, "open_test_split", facts.model_digest, {"cancer": slug}, utc_iso(NOW - 10))
        log.append(PLATFORM, "open_test_split", OTHER, {"cancer": slug}, utc_iso(NOW - 5))
        record = {
            "cancer": slug,
            "model_digest": facts.model_digest,
            "data_digests": {"data_digest": facts.lineage["data_digest"]},
            "policy_digest": self.cancer.gates.digest,
            "lineage": self.facts.lineage,
            "reports": [JUDGES[gate](self.facts, self.cancer.gates) for gate in GateName],
            "tier": self.cancer.tier,
            "actor": "platform",
        }
        self.signed = self.records.issue(**record, now=NOW)
        approval = Approval(
            cancer=slug, model_digest=facts.model_digest, name="j-doe", role="oncologist", environment="local",
            **lasting(NOW, 30.0),
        )  # fmt: skip
        self.records.statements.sign(approval, self.keys.signer("j-doe"))

    @property
    def public_key(self) -> tuple[str, bytes]:
        path = next(self.keys.directory.glob("platform.*.pub"))
        return path.name, path.read_bytes()

    def bundle(self) -> Files:
        digest, signer = self.facts.model_digest, self.keys.signer(PLATFORM)
        audit, seal = audit_extract(self.engine, digest, signer)
        statements = statement_rows(self.engine, digest)
        parts = Release(
            cancer=self.cancer,
            facts=self.facts,
            signed=self.signed,
            model=json.loads((self.facts.model_dir / "model.json").read_text()),
            decisions=decision_rows(self.engine, digest, statements),
            statements=statements,
            audit=audit,
            seal=seal,
            keys={path.name: path.read_bytes() for path in sorted(self.keys.directory.glob("*.pub"))},
            model_signature=self.signature.read_bytes(),
        )
        return sealed(compose(parts), self.signed.record, self.signed.digest, signer)


@lru_cache
def _platform(slug: str) -> Platform:
    return Platform(slug)


@lru_cache
def _bundle(slug: str) -> Files:
    return _platform(slug).bundle()


def platform(slug: str = COHORT) -> Platform:
    """Shared between tests; one that changes it makes its own `Platform`."""
    return _platform(slug)


def bundle(slug: str = COHORT) -> Files:
    return dict(_bundle(slug))

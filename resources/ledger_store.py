"""The database behind the audit log, the decision records and the rollout ledger (SQLite or PostgreSQL)."""

from typing import TYPE_CHECKING

import dagster as dg

from clinical_assets.foundation.home import Home
from resources.signer import Signer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from clinical_assets.audit.log import AuditLog
    from clinical_assets.audit.records import RecordStore
    from clinical_assets.rollout.ledger import Ledger


class LedgerStore(dg.ConfigurableResource):
    """`url` empty: `$CLINICAL_DATABASE_URL`, else SQLite in the state directory."""

    signer: dg.ResourceDependency[Signer]
    url: str = ""

    def engine(self) -> "Engine":
        """The engine of a database with the schema of this version. Raises SchemaError."""
        from clinical_assets.foundation.database import create_tables, engine_for

        engine = engine_for(self.url or Home.from_env().prepare().database_url)
        create_tables(engine)
        return engine

    def ledger(self) -> "Ledger":
        from clinical_assets.rollout.ledger import Ledger

        return Ledger(self.engine())

    def records(self) -> "RecordStore":
        from clinical_assets.audit.records import RecordStore

        return RecordStore(self.engine(), self.signer.key_store())

    def audit_log(self) -> "AuditLog":
        from clinical_assets.audit.log import AuditLog

        return AuditLog(self.engine(), self.signer.key_store())

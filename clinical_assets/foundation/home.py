"""Where the platform keeps its state: one directory, `$CLINICAL_HOME` (default `./.state`)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path


class StateDirectoryError(RuntimeError):
    """The state directory cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Home:
    """Paths below one state directory. Nothing is created until `prepare()`."""

    root: Path

    @classmethod
    def from_env(cls) -> Home:
        return cls(Path(os.environ.get("CLINICAL_HOME", ".state")).expanduser().absolute())

    @property
    def objects(self) -> Path:
        """Content-addressed snapshots, feature tables, models, evidence."""
        return self.root / "objects"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def dagster(self) -> Path:
        return self.root / "dagster"

    @property
    def mlflow(self) -> Path:
        return self.root / "mlflow"

    @property
    def feast(self) -> Path:
        return self.root / "feast"

    @property
    def dataplane(self) -> Path:
        """Envoy configuration, desired serving state, process logs."""
        return self.root / "dataplane"

    @property
    def clock(self) -> Path:
        """Present only while a recorded replay clock is in force."""
        return self.root / "clock.json"

    @property
    def database_url(self) -> str:
        """Ledger, audit log and prediction log; `CLINICAL_DATABASE_URL` overrides the SQLite default."""
        return os.environ.get("CLINICAL_DATABASE_URL", f"sqlite:///{self.root / 'ledger.db'}")

    def prepare(self) -> Home:
        """Create the directory and prove that it is writable.

        Raises:
            StateDirectoryError: missing permission, read-only or full file system.
        """
        probe = self.root / f".probe-{os.getpid()}"
        try:
            for path in (self.root, self.objects, self.keys, self.dagster, self.mlflow, self.feast, self.dataplane):
                path.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"\0" * 4096)
        except OSError as error:
            raise StateDirectoryError(
                f"state directory {self.root} cannot be written ({error.strerror}); "
                "free some space, fix its permissions, or set CLINICAL_HOME to another directory"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)
        return self

"""Where the platform keeps its state: one directory, `$CLINICAL_HOME` (default `./.state`)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from clinical_assets.foundation.files import write_new

RESTORE_MARK = ".restore/unfinished"
"""Present while a restore exchanges the state's parts, and after one was killed doing so."""


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
        """Create the directory, prove that it is writable, and put the keys of `$CLINICAL_KEYS_FROM` where they belong.

        A pod's secrets are mounted readable by its group, which a key directory never is: they are copied, as private
        files, and a key that lies here already stays.

        Raises:
            StateDirectoryError: missing permission, read-only or full file system, or a restore that did not end.
        """
        if (self.root / RESTORE_MARK).exists():
            raise StateDirectoryError(
                f"{self.root}: a restore was interrupted (or is under way), so the state is not whole; "
                f"run `clinical restore {(self.root / RESTORE_MARK).read_text().strip()}` again"
            )
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
        source = os.environ.get("CLINICAL_KEYS_FROM")
        if source:
            self._copy_keys(Path(source))
        return self

    def _copy_keys(self, source: Path) -> None:
        try:
            self.keys.chmod(0o700)
            for path in source.iterdir():
                own = self.keys / path.name
                if path.is_file() and not own.exists():  # the mount's own directories stay where they are
                    write_new(own, path.read_bytes(), mode=0o600)
        except OSError as error:
            raise StateDirectoryError(
                f"keys cannot be copied from CLINICAL_KEYS_FROM={source} to {self.keys} ({error.strerror}); "
                "mount the secret with the platform's keys there"
            ) from error

"""The demo's own traces in the state directory, and how an earlier demo makes room for the next."""

from __future__ import annotations

import time
from pathlib import Path

from clinical_assets.foundation.home import Home, StateDirectoryError
from clinical_assets.serving.control import stop

MARK = "demo.mark"
MOVED = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "dataplane")


def make_room(home: Home) -> Path | None:
    """Put the ledger and routes of an earlier demo aside; data, models, keys, registry and runs stay and are reused.

    Returns:
        Where they are now, None on first use.

    Raises:
        StateDirectoryError: the directory holds rollouts that no demo made.
    """
    mark = home.root / MARK
    if (home.root / "ledger.db").exists() and not mark.exists():
        raise StateDirectoryError(
            f"{home.root} holds a ledger that was not made by the demo; "
            "run it in a directory of its own: CLINICAL_HOME=/path/to/empty/directory make demo"
        )
    stop(home)
    home.clock.unlink(missing_ok=True)
    moved = None
    if (home.root / "ledger.db").exists():
        moved = home.root / "earlier" / time.strftime("%Y%m%dT%H%M%S")
        moved.mkdir(parents=True)
        for name in MOVED:
            if (home.root / name).exists():
                (home.root / name).rename(moved / name)
    home.prepare()
    mark.touch()
    return moved

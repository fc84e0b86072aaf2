"""The keys of the platform and of the people who sign on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from clinical_assets.foundation.home import Home

if TYPE_CHECKING:
    from clinical_assets.audit.keys import KeyStore


class Signer(dg.ConfigurableResource):
    """`directory` empty: `keys/` in the state directory (mode 0700, private keys 0600, made on first use)."""

    directory: str = ""

    def key_store(self) -> KeyStore:
        from clinical_assets.audit.keys import KeyStore

        return KeyStore(Path(self.directory) if self.directory else Home.from_env().prepare().keys)

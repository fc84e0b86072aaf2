"""The signer behind a name at the terminal: the key on this machine, and the passphrase that opens it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from clinical_assets.audit.keys import Signer
    from resources.ledger_store import LedgerStore

PASSPHRASE = "CLINICAL_PASSPHRASE"
"""Environment variable that holds the passphrase where nobody can type it."""


def open_store() -> LedgerStore:
    from resources.ledger_store import LedgerStore
    from resources.signer import Signer

    return LedgerStore(signer=Signer())


def signer_of(store: LedgerStore, person: str) -> Signer:
    """The key of `person`, made and put on record on first use; a protected one asks for its passphrase.

    Raises:
        PassphraseError: wrong passphrase.
        KeyPermissionError: the key is open to other users.
    """
    from clinical_assets.audit.key_register import KeyRegister
    from clinical_assets.audit.statements import key_name

    keys, name = store.signer.key_store(), key_name(person)
    if name not in {key.name for key in keys.on_file() if key.current}:
        return KeyRegister(store.engine(), keys).new(name, person, "first signature on this machine", time.time())
    return keys.signer(
        name, create=False, passphrase=asked(f"passphrase of {name}") if keys.needs_passphrase(name) else None
    )


def asked(prompt: str, confirm: bool = False) -> str:
    return os.environ.get(PASSPHRASE) or typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)

"""Who has a key, since when, and which keys no longer count: each change of it an entry of the audit log."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from clinical_assets.audit.keys import PLATFORM, KeyInfo, KeyStore, Signer, UnknownKeyError
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.revocations import Kind, Revocations
from clinical_assets.foundation.clock import utc_iso

NEW_KEY = "new_key"


@dataclass(frozen=True)
class RegisteredKey:
    """A key on file; `revoked` says when it was, or is empty."""

    info: KeyInfo
    revoked: str


class KeyRegister:
    def __init__(self, engine: Engine, keys: KeyStore) -> None:
        self.keys = keys
        self._log = AuditLog(engine, keys)
        self._revocations = Revocations(engine, keys)

    def new(
        self, name: str, actor: str, reason: str, now: float, passphrase: str | None = None, replace: bool = False
    ) -> Signer:
        """Make a key for `name` and put it on record.

        Args:
            replace: retire the present key in good order; what it signed stands.
            now: wall clock, seconds since the epoch.

        Raises:
            ValueError: there is a key and `replace` is false; or a passphrase for the platform, which signs unattended.
        """
        if name == PLATFORM and passphrase:
            raise ValueError("the platform signs unattended: its key cannot have a passphrase")
        old = self._current(name)
        signer = self.keys.create(name, passphrase, replace)
        payload = {"name": name, "old": old or "none", "new": signer.key_id, "reason": reason}
        self._log.append(actor, NEW_KEY, signer.key_id, payload | {"protected": bool(passphrase)}, utc_iso(now))
        return signer

    def revoke(self, name_or_id: str, actor: str, reason: str, now: float) -> str:
        """Revoke a key and return its identity: nothing it ever signed counts any more, and it signs no more.

        The platform's own key is replaced first, so that the revocation itself stands.

        Raises:
            UnknownKeyError: neither a name with a private key here nor the identity of a key on file.
            ValueError: the platform's key by its name; after an interruption that would name its replacement.
        """
        if name_or_id == PLATFORM:
            raise ValueError("say which of the platform's keys by its identity: `clinical keys list`")
        named = name_or_id in {key.name for key in self.keys.on_file()}
        key_id = self.keys.current(name_or_id) if named else name_or_id
        owner = next((key.name for key in self.keys.on_file() if key.key_id == key_id), None)
        if owner is None:
            raise UnknownKeyError(f"{self.keys.directory}: no key {name_or_id}; see `clinical keys list`")
        if owner == PLATFORM and self._current(PLATFORM) == key_id:
            self.new(PLATFORM, actor, f"replaces the revoked key: {reason}", now, replace=True)
        self._revocations.add(Kind.KEY, key_id, reason, actor, now)
        if self._current(owner) == key_id:
            self.keys.discard(owner)
        return key_id

    def listed(self) -> list[RegisteredKey]:
        when = self._revocations.now().when
        return [RegisteredKey(key, when.get((Kind.KEY, key.key_id), "")) for key in self.keys.on_file()]

    def _current(self, name: str) -> str | None:
        try:
            return self.keys.current(name)
        except UnknownKeyError:
            return None

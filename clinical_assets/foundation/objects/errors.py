"""What can go wrong with a store; each message names the address and the remedy."""

from __future__ import annotations


class ObjectStoreError(Exception):
    """The store could not do what was asked; nothing was half-written."""


class ObjectMissing(ObjectStoreError, FileNotFoundError):
    """No object under this address."""


class ObjectDamaged(ObjectStoreError):
    """What lies under this address is not what was stored there."""


class NotStored(ObjectStoreError):
    """The disk does not take the object: it is full, read-only, or not ours."""


class StoreUnavailable(ObjectStoreError):
    """The server does not answer, or answers that it cannot now; the same work goes on when it does."""


class StoreRefused(ObjectStoreError):
    """The server answers no: credentials, rights, or a bucket that does not exist."""

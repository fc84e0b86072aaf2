"""What can be wrong with trial data. Every message says where it is and what to do about it."""

from __future__ import annotations


class TrialDataError(ValueError):
    """Base of the errors of this package."""


class SourceError(TrialDataError):
    """The source cannot be read: missing package or file, changed content, unreadable text."""


class ContractError(TrialDataError):
    """The table does not have the structure that the contract declares."""


class SnapshotError(TrialDataError):
    """A snapshot is damaged, or cannot be written."""

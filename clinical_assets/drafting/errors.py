"""Why no draft was written."""

from __future__ import annotations


class DraftError(ValueError):
    """The data or the options do not allow a draft; the message says what to change."""

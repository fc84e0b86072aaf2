"""What a draft leaves to a person, in words that no gate accepts."""

from __future__ import annotations

TO_BE_COMPLETED = "to be completed"
"""Stands in a drafted contract where only a person knows the answer; the regulatory gate blocks as long as it does."""

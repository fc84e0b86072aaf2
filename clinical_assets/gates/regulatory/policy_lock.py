"""The policy that was fixed before a test split was opened, and whether the one that judges is still that one.

A policy may grow: a newer platform adds checks and thresholds, which makes it no laxer. A value that was on record and
is now another, or a check that is no longer required, is a policy that moved after the answer could be known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.gates.facts import PolicyLock
from clinical_assets.gates.policy import GatePolicy

MOVED_AT_MOST = 5
"""Changed values that a reason names."""


def policy_fault(lock: PolicyLock, policy: GatePolicy) -> str | None:
    """What is wrong with judging under `policy`; "" when nothing is, None when the record does not tell."""
    if lock.digest == policy.digest:
        return ""
    if lock.content is None:
        return None
    if sha256_json(lock.content) != lock.digest:
        return "the policy on record does not have the digest under which it was fixed"
    moved = sorted(changes(lock.content, policy.content))
    return f"changed after it was fixed: {', '.join(moved[:MOVED_AT_MOST])}" if moved else ""


def changes(before: Mapping[str, Any], after: Mapping[str, Any], place: str = "") -> list[str]:
    """Dotted names of what was there before and is now different or gone. Additions are no change."""
    found = []
    for key, value in before.items():
        here = f"{place}.{key}".lstrip(".")
        if key not in after:
            found.append(here)
        elif isinstance(value, Mapping) and isinstance(after[key], Mapping):
            found += changes(value, after[key], here)
        elif here.startswith("required."):
            found += [f"{here}: {id}" for id in value if id not in after[key]]
        elif value != after[key]:
            found.append(here)
    return found

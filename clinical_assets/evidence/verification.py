"""Does a bundle hold, offline and with a public key alone? Every digest, signature, link and number is looked at.

Nothing of the bundle is executed or unpacked, no state directory is needed, and what is missing is a fault like what
is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clinical_assets.audit.keys import PLATFORM
from clinical_assets.evidence import verified_content as content
from clinical_assets.evidence import verified_signatures as signatures
from clinical_assets.evidence.bundle import MANIFEST
from clinical_assets.evidence.keyring import trusted_key
from clinical_assets.evidence.opened_bundle import Bundle, Fault
from clinical_assets.evidence.reading import Refused, read_bundle

STEPS: dict[str, Callable[[Bundle, float, Fault], str]] = {
    "manifest signed": signatures.manifest_signature,
    "files complete and unchanged": content.every_file,
    "decision record": signatures.decision_record,
    "in force": signatures.in_force,
    "approvals and waivers": signatures.statements,
    "model signature": signatures.model_signature,
    "audit trail": signatures.audit_trail,
    "lineage": content.lineage,
    "model card": content.card,
    "report": content.report,
    "small counts hidden": content.no_patient,
}
"""What is looked at, in order. Each says what it found and hands over every fault."""


@dataclass(frozen=True)
class Step:
    """One thing that was looked at; `faults` is empty where it holds."""

    title: str
    found: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """`trusted`: the reader brought the key. Without it a bundle can only agree with itself."""

    steps: tuple[Step, ...]
    trusted: bool
    key_id: str
    about: str

    @property
    def ok(self) -> bool:
        return not any(step.faults for step in self.steps)


def verify(path: Path, key: tuple[str, bytes] | None, now: float) -> Verification:
    """
    Args:
        key: name and content of the platform's public key file; None takes the one in the bundle.
        now: wall clock, seconds since the epoch, for expiry.

    Raises:
        FileNotFoundError, Refused: the bundle cannot be read at all.
        ValueError: `key` is not a public key.
    """
    files = read_bundle(path)
    if MANIFEST not in files:
        raise Refused(f"{path}: no {MANIFEST} in it: not an evidence bundle")
    trusted = trusted_key(key[1], key[0]) if key else None
    bundle = Bundle(files, trusted[0] if trusted else None)
    if trusted:
        bundle.keys.signers[trusted[0]] = (PLATFORM, trusted[1])
    steps: list[Step] = []
    for title, look in STEPS.items():
        try:
            found: list[str] = []
            text = look(bundle, now, found.append)
        except (Refused, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            text, found = "", [f"cannot be read: {type(error).__name__}: {error}"]
        steps.append(Step(title, text, tuple(found)))
    return Verification(tuple(steps), trusted is not None, bundle.platform_key, bundle.about)

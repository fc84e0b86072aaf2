"""What a person signs about the model of one cancer type, and how it is withdrawn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from clinical_assets.catalog import load_catalog
from clinical_assets.standing_model import standing_model
from resources.data_plane import TrafficRouter
from resources.ledger_store import LedgerStore

if TYPE_CHECKING:
    from clinical_assets.audit.keys import Signer
    from clinical_assets.audit.statement_store import SignedStatement
    from clinical_assets.catalog import CancerType


class NothingToApprove(ValueError):
    """No rollout of this cancer type is open, or nothing is there to amend."""


class RoleRefused(ValueError):
    """The policy of this cancer type does not let this role approve."""


class AmbiguousDigest(ValueError):
    """No model, record or signature begins like this, or more than one does."""


def approve(
    ledger_store: LedgerStore,
    traffic_router: TrafficRouter,
    cancer: str,
    name: str,
    role: str,
    days: float = 30.0,
    meaning: str = "approval",
    change: bool = False,
    signer: Signer | None = None,
) -> SignedStatement:
    """Sign the open rollout of `cancer`, or the standing model's change, with the key of `name`.

    Args:
        change: sign that the standing model may differ from the approved one beyond the change plan; promotes nothing.
        signer: the key of `name`; None takes it from this machine, made on first use.

    Raises:
        NothingToApprove: no rollout is open.
        NoModel: nothing has been trained (with `change`).
        RoleRefused: the role may not approve.
        StatementRefused, KeyPermissionError: the key does not belong to that person, or is not private.
    """
    from clinical_assets.audit.statements import Approval, key_name, lasting
    from clinical_assets.gates.facts import CHANGE

    accepted = load_catalog()[cancer].gates.regulatory.approver_roles
    if accepted and role.casefold() not in {one.casefold() for one in accepted}:
        raise RoleRefused(f"{cancer}: the role {role} may not approve; accepted are {', '.join(accepted)}")
    rollout = None if change else ledger_store.ledger().rollout(cancer)
    if rollout is None and not change:
        raise NothingToApprove(f"{cancer}: no rollout is open; see `clinical status`")
    approval = Approval.model_validate(
        {
            "cancer": cancer,
            "model_digest": rollout.challenger if rollout else standing_model(cancer).digest,
            "name": name,
            "role": role,
            "meaning": meaning,
            "environment": traffic_router.approval_environment,
            "rollout_id": rollout.id if rollout else CHANGE,
            **lasting(time.time(), days),
        }
    )
    signer = signer or ledger_store.signer.key_store().signer(key_name(name))
    return ledger_store.records().statements.sign(approval, signer)


def amend(
    ledger_store: LedgerStore, cancer: CancerType, name: str, reason: str, days: float, signer: Signer
) -> SignedStatement:
    """Sign that the standing model is judged by the policy in force now, not by the one fixed before.

    Raises:
        NothingToApprove: no policy was fixed for this model, or it is the one in force.
    """
    from clinical_assets.audit.statements import Amendment, lasting
    from clinical_assets.release_history import ReleaseHistory

    model, now = standing_model(cancer.slug), time.time()
    lock = ReleaseHistory(cancer, model, ledger_store, now).policy_lock()
    if lock is None or lock.digest == cancer.gates.digest:
        what = "no opening of its test split is on record" if lock is None else "it is judged by the policy in force"
        raise NothingToApprove(f"{cancer.slug}: model {model.digest[:12]}: {what}; nothing to amend")
    term = lasting(now, days)
    amendment = Amendment(
        cancer=cancer.slug, model_digest=model.digest, signer=name, reason=reason, old_digest=lock.digest,
        policy=cancer.gates.content, issued_utc=term["issued_utc"], expires_utc=term["expires_utc"],
    )  # fmt: skip
    return ledger_store.records().statements.sign(amendment, signer)


def withdraw(ledger_store: LedgerStore, digest: str, reason: str, actor: str) -> tuple[str, str]:
    """Revoke the model, record or statement whose digest begins with `digest`; what it is, and the whole digest.

    Raises:
        AmbiguousDigest: nothing begins like this, more than one thing does, or fewer than 12 digits are given.
    """
    from clinical_assets.audit.revocations import Kind

    records = ledger_store.records()
    found = records.named(digest) if len(digest) >= 12 else []
    if len(found) != 1:
        what = f"{len(found)} models, records and signatures begin with {digest!r}"
        raise AmbiguousDigest(f"{what}; give 12 digits or more (`clinical audit show`)")
    [(kind, full, cancer)] = found
    if kind is Kind.MODEL:
        records.revoke(full, reason, actor, time.time())
    else:
        records.revocations.add(kind, full, reason, actor, time.time(), cancer)
    return kind.name.lower(), full

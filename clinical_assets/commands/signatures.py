"""`clinical approve`, `waive`, `amend-policy` and `revoke`: what people sign, and how it is withdrawn."""

from __future__ import annotations

import getpass
import time
from typing import Annotated

import typer
from rich.console import Console

from clinical_assets.commands.signing_in import open_store, signer_of

console = Console(highlight=False)
Cancer = Annotated[str, typer.Argument(help="cancer type, as listed by `clinical cancers`")]
Name = Annotated[str, typer.Option(help="who signs, by printed name; the key of this name is made on first use")]
Days = Annotated[float, typer.Option(min=0.01, help="for how long the signature stands")]


def approve(
    cancer: Cancer,
    name: Name,
    role: Annotated[str, typer.Option(help="in which capacity, e.g. oncologist")],
    days: Days = 30.0,
    meaning: Annotated[str, typer.Option(help="approval, review, responsibility or authorship")] = "approval",
    change: Annotated[bool, typer.Option("--change", help="a change outside the change plan, not the rollout")] = False,
) -> None:
    """Sign the open rollout's last step to 100 %, with name, role, moment and meaning."""
    from clinical_assets.approvals import approve as sign
    from clinical_assets.catalog import load_catalog
    from resources.data_plane import data_plane

    store, slug = open_store(), load_catalog()[cancer].slug
    door = data_plane(store)["traffic_router"]
    signed = sign(store, door, slug, name, role, days, meaning, change, signer_of(store, name))
    approval = signed.statement
    console.print(
        f"{name} ({role}) signed model {approval.model_digest[:12]} at {approval.issued_utc}, meaning {meaning}, until "
        f"{approval.expires_utc} ({signed.digest[:12]})"
    )


def waive(
    cancer: Cancer,
    check: Annotated[str, typer.Argument(help="id of the inconclusive check, e.g. MP9")],
    name: Name,
    reason: Annotated[str, typer.Option(help="why the release may go on all the same, for the record")],
    scope: Annotated[str, typer.Option(help="how far: shadow or traffic")] = "shadow",
    days: Days = 30.0,
) -> None:
    """Accept, with name, reason and expiry, that one check on the standing model is inconclusive.

    A failing check cannot be waived. The next run of the gates takes the waiver into account.
    """
    from clinical_assets.audit.statements import Waiver, lasting
    from clinical_assets.catalog import load_catalog
    from clinical_assets.gates.verdict import Scope
    from clinical_assets.waivers import require_waivable

    slug = load_catalog()[cancer].slug
    store = open_store()
    digest = require_waivable(slug, check, store)
    term = lasting(time.time(), days)
    waiver = Waiver(
        cancer=slug, model_digest=digest, check_id=check, scope=Scope(scope), signer=name, reason=reason,
        issued_utc=term["issued_utc"], expires_utc=term["expires_utc"],
    )  # fmt: skip
    signed = store.records().statements.sign(waiver, signer_of(store, name))
    console.print(
        f"{name} waived {check} for {slug}, model {digest[:12]}, up to {scope}, until {waiver.expires_utc} "
        f"({signed.digest[:12]}); `clinical backfill {slug}` judges again"
    )


def amend_policy(
    cancer: Cancer,
    name: Name,
    reason: Annotated[str, typer.Option(help="why the standing model may be judged by the policy in force now")],
    days: Days = 90.0,
) -> None:
    """Answer for judging the standing model by another policy than was fixed before its test split was opened."""
    from clinical_assets.approvals import amend
    from clinical_assets.catalog import load_catalog

    store, chosen = open_store(), load_catalog()[cancer]
    signed = amend(store, chosen, name=name, reason=reason, days=days, signer=signer_of(store, name))
    console.print(
        f"{name} amended the policy of {chosen.slug} ({signed.digest[:12]}); `clinical backfill {chosen.slug}`"
    )


def revoke(
    digest: Annotated[
        str, typer.Argument(help="digest of a model, a decision record or a signature (12 digits or more)")
    ],
    reason: Annotated[str, typer.Option(help="why, for the record")],
    by: Annotated[str, typer.Option("--by", help="who withdraws it", default_factory=getpass.getuser)],
) -> None:
    """Withdraw a model, one decision record, or one approval, waiver or amendment: for ever, effective at once."""
    from clinical_assets.approvals import withdraw

    kind, full = withdraw(open_store(), digest, reason, by)
    console.print(f"{kind} {full[:12]} is revoked; every later look honours it")

"""Keeps the aliases champion and challenger of the model registry in step with the ledger, apart from every rollout."""

import dagster as dg
from pydantic import BaseModel

from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry, RegistryUnavailable


class AliasCursor(BaseModel):
    """Last rows of the ledger that were looked at, and the cancer types whose aliases still wait for the registry."""

    rollout: int = 0
    transition: int = 0
    waiting: list[str] = []


@dg.sensor(
    name="registry_aliases",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Lets the registry's aliases follow the ledger; a registry that is down holds up nothing else.",
)
def registry_aliases(
    context: dg.SensorEvaluationContext, ledger_store: LedgerStore, model_registry: ModelRegistry
) -> dg.SkipReason:
    from clinical_assets.rollout.champion import aliases_of

    cursor = AliasCursor.model_validate_json(context.cursor or "{}")
    ledger = ledger_store.ledger()
    changed, cursor.rollout, cursor.transition = ledger.changed_since(cursor.rollout, cursor.transition)
    cursor.waiting = sorted({*cursor.waiting, *changed})
    said = []
    for cancer in list(cursor.waiting):
        try:
            said.append(model_registry.keep_aliases(cancer, aliases_of(ledger, cancer)))
        except RegistryUnavailable as outage:
            context.log.warning(f"aliases of {', '.join(cursor.waiting)} wait; rollouts do not: {outage}")
            said.append(f"waiting for the registry: {', '.join(cursor.waiting)}")
            break
        cursor.waiting.remove(cancer)
    context.update_cursor(cursor.model_dump_json())
    return dg.SkipReason("; ".join(said) or "no rollout changed")

"""Cohorts that are made, not read: the only kind of source that needs the contract, whose ranges its values keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.trials.sources.kinds import Reading

if TYPE_CHECKING:
    from clinical_assets.trials.contract import CohortContract
    from clinical_assets.trials.sources.spec import SourceSpec


def read(spec: SourceSpec, contract: CohortContract) -> Reading:
    """
    Raises:
        ContractError: the simulation does not make what the contract declares, or cannot be calibrated.
    """
    from clinical_assets.trials.simulation.generator import simulate

    assert spec.simulation is not None
    return Reading(simulate(spec.simulation, contract), version=f"generator {spec.simulation.generator}")


def state(spec: SourceSpec) -> list[str]:
    """The digest of the declaration: the same declaration makes the same rows."""
    assert spec.simulation is not None
    return [sha256_json(spec.simulation.model_dump(mode="json"))]

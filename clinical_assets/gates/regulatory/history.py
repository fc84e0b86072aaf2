"""Facts from a model's history: the policy fixed, trainings repeated, the approved baseline, copies and exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PolicyLock:
    """The policy that was fixed when the model first saw the test split; `amended_by` names who changed it since.

    content: `GatePolicy.content` of that moment; None where only the digest was kept.
    """

    digest: str
    content: Mapping[str, Any] | None
    locked_utc: str
    amended_by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Reproduction:
    """A training that was run again from the same data, code and settings, and what came of it.

    same_model: the new model directory has the same digest. largest_difference: between the out-of-fold risks.
    """

    performed_utc: str
    actor: str
    same_model: bool
    prediction_digest: str
    reproduced_digest: str
    largest_difference: float


@dataclass(frozen=True)
class Baseline:
    """The model of this cancer type that a person approved, from which a change plan measures.

    card: its `model.json`. manifest: of the snapshot that it was trained on. lineage: of its latest decision record.
    """

    model_digest: str
    approved_by: str
    approved_utc: str
    card: Mapping[str, Any]
    manifest: Mapping[str, Any]
    lineage: Mapping[str, Any]


@dataclass(frozen=True)
class BundleState:
    """The evidence bundle written with the model's latest verdict, as it verifies offline.

    readable, electronic: names of the files for people and for machines. small_cells: counts of one to ten patients
    that stand in the open.
    """

    digest: str
    readable: tuple[str, ...]
    electronic: tuple[str, ...]
    faults: tuple[str, ...] = ()
    small_cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportTable:
    """A table that leaves the platform. `count`: the column that says how many patients a row stands for; None when
    each row is one patient."""

    name: str
    frame: pd.DataFrame
    count: str | None = None

"""What a search for a model may try; light enough to be read with the catalogue."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

Device = Literal["cpu", "cuda"]
Family = Literal["cox", "discrete", "xgboost", "torch", "rsf", "stack"]
FAMILIES: tuple[Family, ...] = get_args(Family)
"""In order of increasing complexity."""
FLOOR: Family = "cox"


class ModelOptions(BaseModel):
    """Families to try, kept in order of complexity.

    `cox` (penalised logistic for a binary endpoint) is the floor; `stack` pools the others; `rsf` needs the opt-in
    package scikit-survival. On `device` "cuda" the networks train on an NVIDIA GPU; their last digits, and with them
    the model's digest, differ from those on a CPU, so the device is part of what identifies a model's input.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: tuple[Family, ...] = ("cox", "xgboost", "torch", "stack")
    folds: int = Field(default=5, ge=3, le=20)
    device: Device = "cpu"
    seed: int = Field(default=20240501, ge=0, lt=2**32)

    @field_validator("families")
    @classmethod
    def _floor_present(cls, families: tuple[Family, ...]) -> tuple[Family, ...]:
        if len(set(families)) != len(families):
            raise ValueError("families holds a name twice; name each family once")
        if FLOOR not in families:
            raise ValueError("families must hold 'cox': the penalised Cox model is the floor every search is held to")
        return tuple(sorted(families, key=FAMILIES.index))

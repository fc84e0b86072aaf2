"""What a search for a model may try; light enough to be read with the catalogue."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Family = Literal["cox", "xgboost", "torch"]


class ModelOptions(BaseModel):
    """Families in order of increasing complexity; `cox` (penalised logistic for a binary endpoint) is the floor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: tuple[Family, ...] = ("cox", "xgboost", "torch")
    folds: int = Field(default=5, ge=3, le=20)
    seed: int = Field(default=20240501, ge=0, lt=2**32)

    @field_validator("families")
    @classmethod
    def _floor_present(cls, families: tuple[Family, ...]) -> tuple[Family, ...]:
        if len(set(families)) != len(families):
            raise ValueError("families holds a name twice; name each family once")
        if "cox" not in families:
            raise ValueError("families must hold 'cox': the penalised Cox model is the floor every search is held to")
        return tuple(sorted(families, key=("cox", "xgboost", "torch").index))

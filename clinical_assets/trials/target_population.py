"""For which mix of patients a model is meant: declared with its source, compared with the cohort by the bias gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clinical_assets.trials.group_names import NOT_REPORTED, group_labels

if TYPE_CHECKING:
    from clinical_assets.trials.contract import CohortContract


class TargetPopulation(BaseModel):
    """`mix` maps sensitive attributes to the shares of their groups, named as in the audit: `sex: {female: 0.47, male:
    0.53}`, `age: {<50: 0.1, 50-64: 0.3, '>=65': 0.6}`. The shares of an attribute add up to 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    source: str = Field(min_length=1, description="registry or census that the shares come from, with year")
    mix: dict[str, dict[str, float]] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_shares(self) -> Self:
        for attribute, shares in self.mix.items():
            if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1.0) > 0.01:
                raise ValueError(
                    f"target_population.mix.{attribute}: shares must not be negative and must add up to 1, "
                    f"not {sum(shares.values()):g}"
                )
        return self

    def check(self, contract: CohortContract) -> None:
        """Raises ValueError for an attribute or a group that the contract does not know."""
        sensitive = {column.name: column for column in contract.sensitive}
        for attribute, shares in self.mix.items():
            if attribute not in sensitive:
                known = ", ".join(sensitive) or "none"
                raise ValueError(f"target_population.mix: {attribute} is no sensitive column; they are: {known}")
            names = (*group_labels(sensitive[attribute], contract), NOT_REPORTED)
            unknown = sorted(set(shares) - set(names))
            if unknown:
                raise ValueError(
                    f"target_population.mix.{attribute}: no group {', '.join(unknown)}; use {', '.join(names)}"
                )

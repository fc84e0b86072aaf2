"""What a cancer type declares about its model's use: context of use, trial design, estimand, and the plan of changes.

Data, not code: the values come from the cancer type's file over configs/platform.yaml over the defaults here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.modeling.options import FAMILIES, Family
from clinical_assets.trials.target_population import TargetPopulation

Level = Literal["low", "medium", "high"]
LEVELS: tuple[Level, ...] = ("low", "medium", "high")


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CredibilityActivity(_Declared):
    """One step that makes the model credible for its use, and the checks that carry it out."""

    activity: str = Field(min_length=1)
    checks: tuple[str, ...] = Field(min_length=1)


CREDIBILITY_PLAN = (
    CredibilityActivity(activity="data fit for use", checks=("DQ1", "DQ3", "DQ9", "DQ17", "DQ18")),
    CredibilityActivity(activity="performance on untouched patients", checks=("MP1", "MP3", "MP5", "MP8")),
    CredibilityActivity(activity="no knowledge of the future", checks=("MP15a", "MP15b")),
    CredibilityActivity(activity="performance by group", checks=("BI1", "BI2", "BI16")),
    CredibilityActivity(activity="the served model is the evaluated one", checks=("MP19", "SE4", "SE5")),
)
"""What runs for every model, whatever its risk; a cancer type may ask for more."""


class ContextOfUse(_Declared):
    """For what, for whom, and for what not; how much a decision leans on the model, and what a wrong one costs.

    Steps 1 to 4 of the FDA's draft guidance of January 2025 on the credibility of AI models: question of interest,
    context of use, risk as influence times consequence, credibility plan.
    `question` empty: risk of the endpoint by the horizon, for the intended use. `decision_consequence` empty: the
    cancer type's `risk_class`.
    """

    intended_use: str = Field(min_length=1)
    users: str = Field(min_length=1)
    not_for: str = Field(min_length=1)
    question: str = ""
    model_influence: Level = "medium"
    decision_consequence: Level | None = None
    credibility: tuple[CredibilityActivity, ...] = CREDIBILITY_PLAN
    target_population: TargetPopulation | None = Field(
        None, description="the mix of patients that the model is meant for; left out, the bias gate says `not declared`"
    )

    @property
    def digest(self) -> str:
        """Identity of the intended use; wording counts."""
        return sha256_json([self.intended_use, self.users, self.not_for])


class Estimand(_Declared):
    """ICH E9(R1): what is estimated. Empty fields follow from the contract and the context of use."""

    population: str = ""
    variable: str = ""
    intercurrent_events: str = ""
    summary: str = ""


class TrialDesign(_Declared):
    """`blinded`: the trial has not been unblinded; `unblinding_columns` reveal the arm or the adjudicated outcome.

    The default, not blinded, is what published data after database lock are.
    """

    blinded: bool = False
    unblinding_columns: tuple[str, ...] = ()
    estimand: Estimand = Estimand()


class ChangePlan(_Declared):
    """The predetermined change control plan: what may change without a new approval, how, and with what effect.

    Structure: FDA, Marketing Submission Recommendations for a Predetermined Change Control Plan (December 2024):
    description of modifications, modification protocol, impact assessment. The intended use, the endpoint and the
    horizon never change under a plan. Whatever lies outside needs a person's signature of its own.

    baseline: the last or the first model of the cancer type that a person approved.
    same_source: the data still come from the same source; new cuts of it are welcome.
    min_rows: rows of the candidate's data over the baseline's. later_cut: the data cut does not move back.
    site_column, sites: where given, the column's values must be among `sites`.
    families, parameters: model families and numeric training options (name: [low, high]) that may be used.
    may_add, may_drop: features that may come and go.
    threshold_shift: largest change of the decision threshold (probability).
    recalibration_slope, recalibration_intercept: range of the calibration on the linear-predictor scale.
    """

    baseline: Literal["first", "last"] = "last"
    same_source: bool = True
    min_rows: float = Field(default=0.5, gt=0)
    later_cut: bool = True
    site_column: str | None = None
    sites: tuple[str, ...] = ()
    families: tuple[Family, ...] = FAMILIES
    parameters: dict[str, tuple[float, float]] = Field(default_factory=lambda: {"folds": (3.0, 20.0)})
    may_add: tuple[str, ...] = ()
    may_drop: tuple[str, ...] = ()
    threshold_shift: float = Field(default=0.05, ge=0, le=1)
    recalibration_slope: tuple[float, float] = (0.5, 2.0)
    recalibration_intercept: tuple[float, float] = (-1.0, 1.0)
    protocol: str = Field(
        default="A new data cut is ingested under the same contract; families and hyper-parameters are chosen by "
        "nested cross-validation; the five gates judge on the locked test split; the model runs in shadow, then in "
        "growing shares of patients; a person signs the last step; a guardrail violation rolls it back.",
        min_length=1,
    )
    impact: str = Field(
        default="Risk of a worse model is bounded by non-inferiority to the champion and to the first approved model, "
        "by group checks, and by rollback; benefit is a model that follows the current data.",
        min_length=1,
    )

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> ChangePlan:
        ranges = {"recalibration_slope": self.recalibration_slope, **self.parameters}
        ranges["recalibration_intercept"] = self.recalibration_intercept
        for name, (low, high) in ranges.items():
            if low > high:
                raise ValueError(f"{name}: low {low:g} exceeds high {high:g}")
        return self


class DeclaredUse(_Declared):
    """All declarations of one cancer type that the regulatory gate judges. `risk_class`: cost of a wrong decision."""

    context_of_use: ContextOfUse
    trial: TrialDesign = TrialDesign()
    change_plan: ChangePlan = ChangePlan()
    risk_class: Level = "high"

    @property
    def consequence(self) -> Level:
        return self.context_of_use.decision_consequence or self.risk_class

    @property
    def risk_tier(self) -> Level:
        """Influence times consequence: the sum of the two ranks (0 to 2 each), halved and rounded up."""
        ranks = LEVELS.index(self.context_of_use.model_influence) + LEVELS.index(self.consequence)
        return LEVELS[(ranks + 1) // 2]

    @property
    def digest(self) -> str:
        return sha256_json(self.model_dump(mode="json"))

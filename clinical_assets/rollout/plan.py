"""What is fixed when a rollout opens: policy, margin, horizon, censoring curve, error objective. Locked by digest."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.rollout.evidence.drift import ScoreReference
from clinical_assets.rollout.evidence.hazard import HazardShape
from clinical_assets.rollout.evidence.latency import SlowRate
from clinical_assets.rollout.evidence.maturity import CensoringCurve
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.trials.data_status import DataStatus


class RolloutPlan(BaseModel):
    """One rollout's design. `champion` is empty for a first deployment, where there is nothing to compare with.

    Attributes:
        champion_brier: champion's (censoring-weighted) Brier score on the locked test split, the unit of the margin.
        champion_error_rate: champion's service error rate over the last 30 days, 0..1.
        data_status: whether patients stand behind the challenger.
        horizon_days: maturity of a survival outcome; `None` for a label, which counts as soon as it is posted.
        censoring: chance of still being followed, from the training data.
        threshold: risk at which a patient counts as a case found, `None` if none is declared.
        groups: sex, age band and race groups whose missed cases are compared, as logged ("sex=female").
        champion_scores, challenger_scores: distribution of each model's risks on the locked test split.
        squared_gap: E[4 (p_B - p_A)^2 p_A (1 - p_A)] there, the unit of the conditional test's bets; 0 = unknown.
        latency: time limits from the champion's latencies before the rollout; empty where they are not measured.
        hazard_shape: share of the cumulative hazard at the ends of the follow-up bands, from the training data.
        previous: the model that the champion replaced, "" if there was none or it is not known.
        split_scores: "both" only if the data plane logs both models' scores for the patients of both arms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cancer: str
    challenger: str
    champion: str = ""
    policy: RolloutPolicy = RolloutPolicy()
    risk_class: str = "high"
    data_status: DataStatus = "real"
    champion_brier: float = Field(default=0.0, ge=0, le=1)
    champion_error_rate: float = Field(default=0.0, ge=0, le=1)
    horizon_days: float | None = Field(default=None, gt=0)
    censoring: CensoringCurve = CensoringCurve()
    threshold: float | None = Field(default=None, ge=0, le=1)
    groups: tuple[str, ...] = ()
    champion_scores: ScoreReference = ScoreReference()
    challenger_scores: ScoreReference = ScoreReference()
    squared_gap: float = Field(default=0.0, ge=0)
    latency: tuple[SlowRate, ...] = ()
    hazard_shape: HazardShape = HazardShape()
    split_scores: Literal["own", "both"] = "own"
    previous: str = ""

    @model_validator(mode="after")
    def _comparable(self) -> RolloutPlan:
        if self.champion and self.champion_brier <= 0:
            raise ValueError(f"{self.cancer}: champion_brier must be positive, it is the unit of the margin")
        if self.champion == self.challenger:
            raise ValueError(f"{self.cancer}: model {self.challenger[:12]} is already the champion")
        return self

    @property
    def digest(self) -> str:
        return sha256_json(self.model_dump(mode="json"))

    @property
    def initial(self) -> bool:
        return not self.champion

    @property
    def margin(self) -> float:
        """Non-inferiority margin in Brier units."""
        return self.policy.margin_fraction * self.champion_brier

    @property
    def max_weight(self) -> float:
        """Largest inverse-censoring weight that can occur."""
        if self.horizon_days is None:
            return 1.0
        return self.censoring.weight(self.horizon_days, self.policy.censoring_weight_cap)

    @property
    def counts_person_time(self) -> bool:
        """Whether survival evidence counts from the first day."""
        return self.horizon_days is not None and self.policy.follow_up == "as_reported"

    @property
    def bets_since_promotion(self) -> float:
        """Bets of the outcome watch altogether: one at first and one a day while all patients get the new model."""
        return self.policy.dwell_days + self.policy.watch_days + 1

    @property
    def horizon_s(self) -> float:
        return (self.horizon_days or 0.0) * SECONDS_PER_DAY

    @property
    def error_objective(self) -> float:
        return self.policy.error_objective(self.champion_error_rate)

    @property
    def needs_approval(self) -> bool:
        return self.policy.approval_required or self.risk_class == "high"

"""What a rollout may spend and must show. Locked by digest when the rollout opens; nothing in it changes afterwards.

Light on purpose: the catalogue validates configuration files against it, so it imports pydantic only.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clinical_assets.foundation.canonical import sha256_json

ROLLBACK_ALPHA = 0.05
"""Bound on the chance of rolling back a challenger that is no worse, over the whole rollout and any number of looks."""

POOL_ALPHA = 0.01
"""Share of the promotion alpha that the tail bound of the pool spends."""


class AlphaSplit(BaseModel):
    """How the false-rollback budget is spent. Each share is split evenly over the tests of its family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: float = Field(default=0.012, gt=0, lt=1, description="error ratio and absolute error objective")
    latency: float = Field(
        default=0.008, gt=0, lt=1, description="slow answers above the champion's p50, p95, p99: ratio and objective"
    )
    harm: float = Field(
        default=0.015, gt=0, lt=1, description="outcome loss: paired in shadow, split in the ramp, hazard log-score"
    )
    subgroup: float = Field(default=0.01, gt=0, lt=1, description="missed cases in any sex, age band or race")
    drift: float = Field(default=0.005, gt=0, lt=1, description="drift of the challenger's scores")

    @model_validator(mode="after")
    def _within_budget(self) -> AlphaSplit:
        shares = self.model_dump()
        if sum(shares.values()) > ROLLBACK_ALPHA + 1e-12:
            said = " + ".join(f"alpha.{name} {share:g}" for name, share in shares.items())
            raise ValueError(f"{said} exceeds {ROLLBACK_ALPHA}; lower one of them")
        return self


class RolloutPolicy(BaseModel):
    """Spending and evidence rules of one rollout. Days are clinical days, seconds are wall-clock seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ramp: tuple[int, ...] = Field(default=(5, 10, 25, 50), description="challenger weights before approval, per cent")
    alpha: AlphaSplit = AlphaSplit()
    promotion_alpha: float = Field(
        default=0.05, gt=0, lt=1, description="non-inferiority is proven at E >= 1/promotion_alpha"
    )
    promotion_test: Literal["bounded", "winsorised", "hazard"] = Field(
        default="bounded",
        description="bounded: no further assumption. winsorised: sooner, with a pool of unlabelled shadow patients. "
        "hazard: survival only, from person-time, where follow_up is as_reported",
    )
    margin_fraction: float = Field(
        default=0.05, gt=0, lt=1, description="margin as a share of the champion's Brier score"
    )
    auroc_margin: float = Field(default=0.02, gt=0, lt=1, description="margin of the displayed AUROC comparison")
    pool_minimum: int = Field(default=20_000, ge=1000, description="score pairs for promotion_test winsorised")
    pool_period_days: float = Field(
        default=90.0, gt=0, description="patients scored later than this after the pool are not represented by it"
    )
    follow_up: Literal["at_horizon", "as_reported"] = Field(
        default="at_horizon",
        description="as_reported: events and losses are posted as they happen, so person-time counts from day one",
    )
    reporting_lag_days: float = Field(
        default=30.0, ge=0, description="person-time is accounted this long after it passed (follow_up as_reported)"
    )
    hazard_margin: float = Field(
        default=0.1, gt=0, lt=1, description="non-inferiority margin of the hazard log-score, nats per expected event"
    )
    min_band_events: int = Field(
        default=50, ge=1, description="events in every follow-up band before promotion_test hazard can promote"
    )
    subgroup_margin: float = Field(
        default=0.05, ge=0, lt=1, description="loss of sensitivity in a group that is no harm; more rolls back"
    )
    latency_guardrail: bool = Field(
        default=False,
        description="roll back on slow answers; only where both variants run on machines of the same kind and load",
    )
    psi_rollback: float = Field(
        default=0.25, gt=0, description="drift of scores rolls back at this PSI when the champion's own are quiet"
    )
    watch_alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="chance of a false alarm of the detector of service errors over the whole watch",
    )
    watch_outcome_alpha: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="the same for the detector of prediction errors, from the promotion to the end of the watch",
    )
    both_bad: Literal["previous", "refuse"] = Field(
        default="previous",
        description="when champion and challenger both miss the error objective: previous = the model certified before "
        "the champion answers, refuse = nobody gets a prediction; until a person ends it",
    )
    min_shadow_pairs: int = Field(default=200, ge=1, description="mature paired patients before leaving shadow")
    min_requests: int = Field(default=200, ge=1, description="challenger requests in a ramp stage before the next one")
    min_n: int = Field(default=30, ge=1, description="below it no statistical test rolls back; output faults always do")
    dwell_days: float = Field(default=7.0, ge=0, description="shortest stay in each ramp stage")
    watch_days: float = Field(default=30.0, ge=0, description="after promotion the old champion stays loaded this long")
    harm_hold: float = Field(default=3.0, gt=1, description="any harm e-value at or above it forbids an advance")
    exposure_cap: int = Field(
        default=20_000, ge=1, description="no advance once an unpromoted challenger answered so many"
    )
    censoring_weight_cap: float = Field(default=4.0, ge=1, description="largest inverse-censoring weight")
    max_missing_labels: float = Field(
        default=0.2, ge=0, le=1, description="no advance above this share of overdue outcomes"
    )
    error_floor: float = Field(default=0.002, gt=0, lt=0.5, description="smallest error objective of the absolute test")
    error_multiple: float = Field(default=2.0, ge=1, description="error objective as a multiple of the champion's rate")
    constant_run: int = Field(
        default=50, ge=2, description="identical successive challenger scores that are an output fault"
    )
    sample_ratio_alpha: float = Field(default=0.001, gt=0, lt=1, description="sample-ratio mismatch at E >= 1/alpha")
    blind_limit_s: float = Field(default=120.0, gt=0, description="seconds without telemetry before stepping down")
    deadline_days: float = Field(default=365.0, gt=0, description="after the first outcome can mature; then retire")
    cooldown_days: float = Field(
        default=7.0, ge=0, description="before a rolled-back digest can be opened again by a person"
    )
    approval_required: bool = Field(
        default=True, description="high-risk cancers need approval whatever is written here"
    )

    @model_validator(mode="after")
    def _ramp_rises(self) -> RolloutPolicy:
        if not self.ramp or list(self.ramp) != sorted(set(self.ramp)) or self.ramp[0] < 1 or self.ramp[-1] > 99:
            raise ValueError(
                f"ramp must rise in whole per cents within 1..99, e.g. [5, 10, 25, 50]; got {list(self.ramp)}"
            )
        return self

    @model_validator(mode="after")
    def _promotable(self) -> RolloutPolicy:
        if self.promotion_test == "hazard" and self.follow_up != "as_reported":
            raise ValueError("promotion_test hazard needs follow_up as_reported: person-time is counted as it passes")
        if self.promotion_test == "winsorised" and self.promotion_alpha <= POOL_ALPHA:
            raise ValueError(f"promotion_test winsorised spends {POOL_ALPHA} on the pool; raise promotion_alpha")
        return self

    @property
    def digest(self) -> str:
        return sha256_json(self.model_dump(mode="json"))

    def error_objective(self, champion_rate: float) -> float:
        """p0 of the absolute service test, from the champion's reference error rate in [0, 1]."""
        return min(0.5, max(self.error_multiple * champion_rate, self.error_floor))

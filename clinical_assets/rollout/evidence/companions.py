"""What each mature mirrored patient tells beside the bounded-mean tests: subgroups, ranking, cut-off test, the seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.rollout.evidence.concordance import ConcordanceEvidence
from clinical_assets.rollout.evidence.conditional import ConditionalEvidence
from clinical_assets.rollout.evidence.news import Pair, Pool, site_of
from clinical_assets.rollout.evidence.subgroups import SubgroupEvidence
from clinical_assets.rollout.evidence.winsorised import Source, WinsorisedEvidence, tail, tail_bound
from clinical_assets.rollout.plan import RolloutPlan


@dataclass(frozen=True)
class Companions:
    """`winsorised` is `None` unless the policy asks for it and the pool was large enough before the first outcome."""

    subgroups: SubgroupEvidence
    concordance: ConcordanceEvidence
    conditional: ConditionalEvidence
    winsorised: WinsorisedEvidence | None = None

    @classmethod
    def start(cls, plan: RolloutPlan) -> Companions:
        return cls(
            SubgroupEvidence.start(plan.groups),
            ConcordanceEvidence.start(),
            ConditionalEvidence.start(plan.margin, plan.squared_gap),
        )

    def with_pool(self, pool: Pool, plan: RolloutPlan) -> Companions:
        """Fix the tail bound before the first outcome. Whether the pool suffices is a matter of its size alone."""
        if len(pool.champion) < plan.policy.pool_minimum or plan.margin <= 0:
            return self
        tails = tail(np.array(pool.challenger), np.array(pool.champion), plan.max_weight)
        source = Source(tuple(sorted(set(pool.sites))), pool.last + plan.policy.pool_period_days * SECONDS_PER_DAY)
        eta = tail_bound(tails, plan.max_weight)
        return replace(self, winsorised=WinsorisedEvidence.start(eta, plan.margin, source))

    def update(self, pair: Pair, z: float, outcome: int, weight: float, plan: RolloutPlan) -> Companions:
        """One mature patient with loss difference `z` and censoring weight `weight` (0 = censored)."""
        a, b, winsorised = pair.champion, pair.challenger, self.winsorised
        if winsorised is not None:
            h = float(tail(b, a, plan.max_weight))
            winsorised = winsorised.seen_at(site_of(pair.groups), pair.predicted_at).update(
                z, h, plan.margin, plan.max_weight
            )
        conditional = self.conditional.update(b, a, outcome, plan.margin, weight)
        moved = Companions(self.subgroups, self.concordance, conditional, winsorised)
        if not weight:
            return moved
        if outcome and plan.threshold is not None:
            lost = int(a >= plan.threshold) - int(b >= plan.threshold)
            subgroups = self.subgroups.update(pair.groups, lost, plan.policy.subgroup_margin, weight, plan.max_weight)
            moved = replace(moved, subgroups=subgroups)
        margin = plan.policy.auroc_margin
        return replace(moved, concordance=self.concordance.update(a, b, outcome, margin))

    def to_json(self) -> dict[str, Any]:
        return {
            "subgroups": self.subgroups.to_json(),
            "concordance": self.concordance.to_json(),
            "conditional": self.conditional.to_json(),
            "winsorised": self.winsorised and self.winsorised.to_json(),
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Companions:
        return cls(
            SubgroupEvidence.from_json(state["subgroups"]),
            ConcordanceEvidence.from_json(state["concordance"]),
            ConditionalEvidence.from_json(state["conditional"]),
            state["winsorised"] and WinsorisedEvidence.from_json(state["winsorised"]),
        )

"""What each mature mirrored patient tells beside the bounded-mean tests: subgroups, ranking, cut-off test, the seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.rollout.evidence.concordance import ConcordanceEvidence
from clinical_assets.rollout.evidence.conditional import ConditionalEvidence
from clinical_assets.rollout.evidence.courses import Course, spread
from clinical_assets.rollout.evidence.news import Pairs, Pool, site_of
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

    def follow(
        self, pairs: Pairs, z: np.ndarray, outcome: np.ndarray, weight: np.ndarray, plan: RolloutPlan
    ) -> tuple[Companions, Course]:
        """n >= 1 mature patients in a row, and log E of subgroup harm after each.

        Args:
            z, outcome, weight: (n,) loss differences, outcomes, and censoring weights (0 = censored).
        """
        a, b = pairs.champion, pairs.challenger
        conditional = self.conditional.follow(b, a, outcome, plan.margin, weight)
        told = weight > 0
        concordance = self.concordance.follow(a[told], b[told], outcome[told], plan.policy.auroc_margin)
        subgroups, course = self._cases(pairs, outcome, weight, told, plan)
        return Companions(subgroups, concordance, conditional, self._cut_off(pairs, z, plan)), course

    def _cases(
        self, pairs: Pairs, outcome: np.ndarray, weight: np.ndarray, told: np.ndarray, plan: RolloutPlan
    ) -> tuple[SubgroupEvidence, Course]:
        threshold = plan.threshold
        cases = told & (outcome != 0) if threshold is not None else np.zeros(len(told), bool)
        before = self.subgroups.log_e
        if threshold is None or not cases.any():
            return self.subgroups, spread(before, None, cases)
        lost = (pairs.champion[cases] >= threshold).astype(int) - (pairs.challenger[cases] >= threshold)
        groups = [pairs.groups[i] for i in np.flatnonzero(cases).tolist()]
        margin = plan.policy.subgroup_margin
        moved, course = self.subgroups.follow(groups, lost, margin, weight[cases], plan.max_weight)
        return moved, spread(before, course, cases)

    def _cut_off(self, pairs: Pairs, z: np.ndarray, plan: RolloutPlan) -> WinsorisedEvidence | None:
        test = self.winsorised
        if test is None:
            return None
        h = tail(pairs.challenger, pairs.champion, plan.max_weight)
        patients = zip(pairs.groups, pairs.predicted_at.tolist(), strict=True)
        covered = np.array([test.source.covers(site_of(groups), at) for groups, at in patients])
        return test.follow(z, h, covered, plan.margin, plan.max_weight)

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

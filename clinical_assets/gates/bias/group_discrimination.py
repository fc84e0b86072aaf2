"""BI6 and BI8: does risk rank patients as well within every group, and fairly between groups?

A group's concordance (Uno's C at the horizon, weighted by its own censoring curve; the AUROC for a label) is compared
with that within the other groups of the attribute, pooled over their pairs: what an attribute itself separates, such as
age, then counts for neither side. Errors are those of the pairs' influence (DeLong et al. 1988). An even sample of
`LARGEST` patients stands for a larger group: pairs grow with the square.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from clinical_assets.gates.bias.group_audit import (
    Audited,
    Gap,
    Group,
    attributes,
    audited,
    judged_groups,
    listed,
    quantiles,
    wald,
    warned,
)
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.pairs import ConcordancePairs

LARGEST = 3000
DELONG = "Wald, from the influence of each patient's pairs (DeLong et al. 1988)"


@dataclass(frozen=True)
class Ranking:
    """Weights of agreeing and of all comparable pairs, and what each patient has of both."""

    agreed: np.ndarray
    comparable: np.ndarray

    @property
    def concordance(self) -> float:
        return float(self.agreed.sum() / self.comparable.sum())

    @property
    def influence(self) -> np.ndarray:
        return 2.0 * (self.agreed - self.concordance * self.comparable) / self.comparable.sum()

    @property
    def error(self) -> float:
        return float(np.sqrt(self.influence @ self.influence))


def ranking(audit: Audited, rows: np.ndarray) -> Ranking | None:
    """Within the patients `rows`; None where they hold no comparable pair."""
    pairs = _pairs(audit, rows)
    return None if pairs is None else Ranking(*pairs.contributions(audit.risk[rows]))


def _pairs(audit: Audited, rows: np.ndarray) -> ConcordancePairs | None:
    try:
        return ConcordancePairs.of(audit.outcomes.take(rows), audit.horizon)
    except ValueError:
        return None


def concordance_gaps(audit: Audited, policy: BiasPolicy) -> list[Gap]:
    """Every group with enough events against the other groups of its attribute."""
    judged = {str(group) for group in judged_groups(audit, policy)}
    found = []
    for attribute in attributes(audit):
        members = [group for group in audit.members if group.attribute == attribute and group.n >= policy.min_group_n]
        ranks = {group.name: ranking(audit, sampled(group.inside, policy.seed)) for group in members}
        for group in members:
            own = ranks[group.name]
            rest = [rank for name, rank in ranks.items() if name != group.name and rank is not None]
            if str(group) in judged and own is not None and rest:
                others = Ranking(
                    *(np.concatenate([getattr(r, part) for r in rest]) for part in ("agreed", "comparable"))
                )
                found.append((group, own, others))
    z = quantiles(policy, len(found))
    return [
        _gap(group, own.concordance, others.concordance, np.hypot(own.error, others.error), z)
        for group, own, others in found
    ]


def _gap(group: Group, own: float, others: float, error: float, z: tuple[float, float]) -> Gap:
    gap = own - others
    return Gap(
        group.attribute, group.name, group.n, group.events, own, others, gap,
        wald(gap, float(error), z[0]), wald(gap, float(error), z[1]),
    )  # fmt: skip


def sampled(inside: np.ndarray, seed: int) -> np.ndarray:
    """The row numbers, or an even sample of `LARGEST` of them."""
    rows = np.flatnonzero(inside)
    if len(rows) <= LARGEST:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, LARGEST, replace=False))


@check(GateName.BIAS, "BI6", "Discrimination in every group", "largest difference in C-index (AUROC) within groups")
def discrimination_gap(case: Case) -> Finding:
    """BLOCK: over all groups together, a shortfall beyond the limit. WARN: a difference beyond the smaller limit."""
    policy, audit = case.policy.bias, case.once(audited)
    gaps = concordance_gaps(audit, policy)
    source = BiasPolicy.source("concordance_block")
    finding = warned(case, audit, gaps, policy.concordance_warn, "ranking", DELONG, source)
    limits = f"shortfall at most {policy.concordance_block:g} (blocks), {policy.concordance_warn:g} (warns)"
    poor = [gap for gap in gaps if gap.strict[1] < -policy.concordance_block]
    if not poor:
        return replace(finding, threshold=limits)
    worst = min(poor, key=lambda gap: gap.gap)
    return replace(
        finding,
        verdict=Verdict.BLOCK,
        reason=f"the model cannot rank patients of: {listed(poor)}",
        remedy="look for a feature that is coded or measured otherwise in this group",
        value=worst.gap,
        interval=worst.strict,
        threshold=limits,
    )


@check(GateName.BIAS, "BI8", "Ranking between groups", "largest gap in cross-group concordance")
def cross_group_concordance(case: Case) -> Finding:
    """How often a case of the group is ranked above a later patient of the others, minus the same the other way round.

    A group whose cases are ranked below others' is placed too low as a whole (xAUC, Kallus & Zhou 2019). Where event
    rates differ the gap is not 0 under a calibrated model either, so it warns only.
    """
    policy, audit = case.policy.bias, case.once(audited)
    rows = sampled(np.ones(len(audit.risk), dtype=bool), policy.seed)
    risk = audit.risk[rows]
    pairs, gaps = _pairs(audit, rows), []
    groups = judged_groups(audit, policy) if pairs is not None else []
    z = quantiles(policy, len(groups))
    for group in groups:
        assert pairs is not None
        inside = group.inside[rows]
        try:
            own, back = (Ranking(*pairs.among(cases, ~cases).contributions(risk)) for cases in (inside, ~inside))
        except ValueError:  # no comparable pair across the two
            continue
        spread = own.influence - back.influence
        gaps.append(_gap(group, own.concordance, back.concordance, float(np.sqrt(spread @ spread)), z))
    return warned(
        case, audit, gaps, policy.cross_concordance_margin, "cross-group ranking", DELONG,
        BiasPolicy.source("cross_concordance_margin"),
    )  # fmt: skip

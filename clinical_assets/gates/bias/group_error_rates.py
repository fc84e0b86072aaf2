"""BI3, BI4, BI9, BI10: specificity, equalized odds, predictive values and the share flagged, by group.

These move with the event rate of a group under any calibrated model, so they warn and never block. Rates by group are
those of fairlearn's MetricFrame where the measure is fairlearn's own; the intervals are Newcombe's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.bias.group_audit import (
    COLLECT,
    Audited,
    Gap,
    attributes,
    audited,
    judged_groups,
    multiplicity,
    quantiles,
    small_groups,
    warned,
)
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.proportions import Share, newcombe, ratio_bounds

NEWCOMBE = "hybrid score (Newcombe 1998)"


def share_gaps(
    audit: Audited, among: np.ndarray, hit: np.ndarray, policy: BiasPolicy, looks: int | None = None
) -> list[Gap]:
    """Among the patients `among` (n,), the weighted share with `hit` (n,): every group against all others.

    A group is judged where it and the others hold enough events and enough such patients.
    """
    weight = np.where(among, audit.labels.weight, 0.0)
    counted = weight > 0
    groups = [
        group
        for group in judged_groups(audit, policy)
        if min((counted & group.inside).sum(), (counted & ~group.inside).sum()) >= policy.min_group_events
    ]
    z, strict = quantiles(policy, looks or len(groups))
    found = []
    for group in groups:
        own = Share.of(weight[group.inside], hit[group.inside])
        others = Share.of(weight[~group.inside], hit[~group.inside])
        found.append(
            Gap(
                group.attribute, group.name, group.n, group.events, own.value, others.value, own.value - others.value,
                newcombe(own, others, z), newcombe(own, others, strict),
            )
        )  # fmt: skip
    return found


def flagged(case: Case, audit: Audited) -> np.ndarray:
    """(n,) at or above the operating point that the contract declares."""
    return audit.risk >= case.facts.contract.endpoint.decision_threshold


@check(GateName.BIAS, "BI3", "Equal specificity", "largest difference in specificity, group minus others")
def specificity(case: Case) -> Finding:
    audit, policy = case.once(audited), case.policy.bias
    gaps = share_gaps(audit, audit.controls, ~flagged(case, audit), policy)
    source = BiasPolicy.source("error_rate_margin")
    return warned(case, audit, gaps, policy.error_rate_margin, "specificity", NEWCOMBE, source)


@check(GateName.BIAS, "BI4", "Equalized odds", "largest difference between two groups in TPR or FPR")
def equalized_odds(case: Case) -> Finding:
    """fairlearn's equalized odds difference, by the interval of the two groups that attain it."""
    audit, policy = case.once(audited), case.policy.bias
    acted = flagged(case, audit)
    parts = [(rate, audit.take(audit.cases if rate == "TPR" else audit.controls)) for rate in ("TPR", "FPR")]
    of = {"TPR": acted[audit.cases], "FPR": acted[audit.controls]}
    judged = judged_groups(audit, policy)
    groups = {attribute: [g for g in judged if g.attribute == attribute] for attribute in attributes(audit)}
    looks = 2 * sum(len(found) * (len(found) - 1) // 2 for found in groups.values())
    gaps = []
    for rate, part in parts:
        for attribute, found in groups.items():
            extremes = _extremes(part, attribute, [group.name for group in found], of[rate], policy)
            if extremes is not None:
                gaps.append(_between(rate, part, attribute, extremes, of[rate], quantiles(policy, looks)))
    source = BiasPolicy.source("error_rate_margin")
    return warned(case, audit, gaps, policy.error_rate_margin, "a rate of error", NEWCOMBE, source, looks)


@check(GateName.BIAS, "BI10", "Share flagged", "smallest over largest share at or above the operating point")
def selection_rate(case: Case) -> Finding:
    """fairlearn's demographic parity ratio. Informative only: where event rates differ, so should the shares."""
    audit, policy = case.once(audited), case.policy.bias
    acted, everyone = flagged(case, audit), audit.unweighted()
    judged = judged_groups(audit, policy)
    groups = {attribute: [g for g in judged if g.attribute == attribute] for attribute in attributes(audit)}
    looks = sum(len(found) * (len(found) - 1) // 2 for found in groups.values())
    z = quantiles(policy, looks)[0]
    found = []
    for attribute, members in groups.items():
        extremes = _extremes(everyone, attribute, [group.name for group in members], acted, policy)
        if extremes is not None:
            low, high = (_share(everyone, attribute, name, acted) for name in extremes)
            ratio = low.value / high.value if high.value else 1.0
            found.append((ratio, ratio_bounds(low, high, z), f"{attribute} {extremes[0]} to {extremes[1]}"))
    common: dict[str, Any] = {
        "n": len(audit.risk), "events": int(audit.cases.sum()),
        "threshold": f">= {policy.selection_ratio:g}; informative, since event rates differ",
        "threshold_source": BiasPolicy.source("selection_ratio"),
        "details": {
            "ratios": {pair: {"ratio": ratio, "interval": interval} for ratio, interval, pair in found},
            "not_judged": small_groups(audit, policy), "interval": "log scale (Katz et al. 1978)",
            "multiplicity": multiplicity(policy, looks), "reference": "the group with the largest share",
        },
    }  # fmt: skip
    if not found:
        return Finding(Verdict.INCONCLUSIVE, "fewer than two groups of any attribute can be judged", COLLECT, **common)
    ratio, interval, pair = min(found)
    text = f"{pair}: {ratio:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
    if ratio < policy.selection_ratio and interval[1] < 1.0:
        remedy = "compare the event rates of the groups; only a difference beyond theirs is the model's doing"
        return Finding(Verdict.WARN, f"flagged less often: {text}", remedy, value=ratio, interval=interval, **common)
    return Finding(Verdict.PASS, f"smallest ratio, {text}", value=ratio, interval=interval, **common)


def _extremes(
    audit: Audited, attribute: str, names: list[str], acted: np.ndarray, policy: BiasPolicy
) -> tuple[str, str] | None:
    """The groups with the lowest and the highest share of `acted`; None where fewer than two can be judged.

    Equal answers of a group are one row with the sum of their weights: fairlearn's time grows with its rows.
    """
    from fairlearn.metrics import MetricFrame, selection_rate

    member = audit.groups[attribute].astype(str)
    size = member.value_counts()
    rows = member.isin([name for name in names if size.get(name, 0) >= policy.min_group_events]).to_numpy()
    if member[rows].nunique() < 2:
        return None
    weight = pd.Series(audit.labels.weight[rows]).groupby([member[rows].to_numpy(), acted[rows]]).sum()
    group, answer = (weight.index.get_level_values(level) for level in (0, 1))
    shares = MetricFrame(
        metrics=selection_rate,
        y_true=answer,
        y_pred=answer,
        sensitive_features=group,
        sample_params={"sample_weight": weight.to_numpy()},
    ).by_group
    return str(shares.idxmin()), str(shares.idxmax())


def _share(audit: Audited, attribute: str, name: str, acted: np.ndarray) -> Share:
    inside = (audit.groups[attribute].astype(str) == name).to_numpy()
    return Share.of(audit.labels.weight[inside], acted[inside])


def _between(
    rate: str, audit: Audited, attribute: str, names: tuple[str, str], acted: np.ndarray, z: tuple[float, float]
) -> Gap:
    low, high = (_share(audit, attribute, name, acted) for name in names)
    inside = (audit.groups[attribute].astype(str) == names[0]).to_numpy()
    group = audit.group(f"{rate} {attribute}", f"{names[0]} to {names[1]}", inside)
    return Gap(
        group.attribute, group.name, group.n, group.events, low.value, high.value, low.value - high.value,
        newcombe(low, high, z[0]), newcombe(low, high, z[1]),
    )  # fmt: skip


@check(GateName.BIAS, "BI9", "Predictive parity", "largest difference in PPV or NPV, group minus others")
def predictive_parity(case: Case) -> Finding:
    audit, policy = case.once(audited), case.policy.bias
    known, acted = audit.cases | audit.controls, flagged(case, audit)
    positive = share_gaps(audit, known & acted, audit.labels.label, policy)
    negative = share_gaps(audit, known & ~acted, ~audit.labels.label, policy)
    gaps = [replace(gap, attribute=f"PPV {gap.attribute}") for gap in positive]
    gaps += [replace(gap, attribute=f"NPV {gap.attribute}") for gap in negative]
    source = BiasPolicy.source("error_rate_margin")
    return warned(case, audit, gaps, policy.error_rate_margin, "a predictive value", NEWCOMBE, source)

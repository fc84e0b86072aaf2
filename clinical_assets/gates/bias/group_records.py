"""BI13, BI14, BI15: are groups recorded, followed and represented alike?

What a model does to a group begins with what is known of it: missing values are imputed, early censoring hides events,
and a group that the cohort hardly holds is learnt from others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.bias.group_audit import COLLECT, NOTHING_COLLECTED, Gap, multiplicity, quantiles
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.proportions import Share, equality_p, newcombe
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.groups import sensitive_groups


def everybody(case: Case) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All rows of both sides of the split, and their groups."""
    frame = pd.concat([case.facts.test, case.facts.train], ignore_index=True)
    return frame, sensitive_groups(frame, case.facts.contract).astype(str)


@check(GateName.BIAS, "BI13", "Missing values by group", "largest difference in the missing share of a feature")
def missingness(case: Case) -> Finding:
    """Every feature in every group against all others; a missing value is imputed, so this is the imputed share too.

    A difference is there where its p-value, by Benjamini & Hochberg (1995) over all of them, is below 1 - confidence.
    """
    from scipy.stats import false_discovery_control

    policy, (frame, groups) = case.policy.bias, case.once(everybody)
    features = [column.name for column in case.facts.contract.features]
    missing = frame[features].isna()
    names = [name for name in features if missing[name].any()]
    gaps, chances, imputed = [], [], {}
    for attribute in groups.columns:
        sizes = groups[attribute].value_counts()
        counts = missing[names].groupby(groups[attribute].to_numpy()).sum()
        for group, n in sizes.items():
            others = len(frame) - int(n)
            if min(int(n), others) < policy.min_group_n:
                continue
            inside = counts.loc[group]
            imputed[f"{attribute} {group}"] = float(inside.sum()) / (n * len(features))
            for name in names:
                if name != attribute:
                    own = Share(float(inside[name]) / n, float(n))
                    rest = Share((float(missing[name].sum()) - float(inside[name])) / others, float(others))
                    gaps.append((f"{name} in {attribute} {group}", own, rest))
                    chances.append(equality_p(own, rest))
    z = quantiles(policy, len(gaps))[0]
    common: dict[str, Any] = {
        "n": len(frame),
        "threshold": f"within {policy.missing_margin:.0%}",
        "threshold_source": BiasPolicy.source("missing_margin"),
        "details": {
            "imputed_share": imputed,
            "interval": "Newcombe 1998",
            "multiplicity": f"p-values: Benjamini-Hochberg over {len(gaps)}; {multiplicity(policy, len(gaps))}",
        },
    }
    if groups.columns.empty:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, **common)
    if not gaps:
        return Finding(
            Verdict.PASS, "no feature has a missing value in a group that is large enough", value=0.0, **common
        )
    named = [(label, own.value - rest.value, newcombe(own, rest, z)) for label, own, rest in gaps]
    common["details"]["largest"] = sorted(named, key=lambda row: -abs(row[1]))[:20]
    adjusted = false_discovery_control(chances)
    found = [
        row
        for row, p_value in zip(named, adjusted, strict=True)
        if p_value < 1.0 - policy.confidence and abs(row[1]) > policy.missing_margin
    ]
    label, gap, interval = max(found or named, key=lambda row: abs(row[1]))
    common |= {"value": gap, "interval": interval}
    if found:
        reason = "recorded less (+) or more (-) completely: " + "; ".join(
            f"{name} {gap:+.0%}" for name, gap, _ in found
        )
        return Finding(Verdict.WARN, reason, "complete these records, or leave the feature out", **common)
    return Finding(Verdict.PASS, f"largest difference {gap:+.1%}: {label}", **common)


@check(GateName.BIAS, "BI14", "Follow-up by group", "smallest p-value of equal censoring before the horizon")
def follow_up(case: Case) -> Finding:
    """Log-rank test of the censoring times per attribute; who is followed beyond the horizon is not lost to it."""
    facts, policy = case.facts, case.policy.bias
    common: dict[str, Any] = {
        "n": len(facts.train) + len(facts.test),
        "threshold": f"p >= {policy.censoring_p:g}",
        "threshold_source": BiasPolicy.source("censoring_p"),
    }
    if facts.contract.endpoint.kind != "survival":
        return Finding(Verdict.PASS, "does not apply: a label has no follow-up", **common)
    frame, groups = case.once(everybody)
    outcomes = Outcomes.from_frame(frame, facts.contract.endpoint)
    horizon = float(facts.contract.endpoint.horizon_days or 0.0)
    time = np.minimum(outcomes.times(), horizon)
    lost = ~outcomes.flag & (outcomes.times() < horizon)
    found = {}
    for attribute in groups.columns:
        size = groups[attribute].value_counts()
        rows = groups[attribute].isin(size.index[size >= policy.min_group_n]).to_numpy()
        if groups[attribute][rows].nunique() > 1 and lost[rows].any():
            found[attribute] = log_rank(time[rows], lost[rows], groups[attribute][rows].to_numpy())
    common |= {
        "events": int(lost.sum()),
        "details": {
            "p_values": found,
            "event": "censored before the horizon",
            "multiplicity": f"Bonferroni over {len(found)} attributes",
        },
    }
    if groups.columns.empty:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, **common)
    if not found:
        return Finding(
            Verdict.PASS, "nobody is censored before the horizon, or no two groups can be compared", **common
        )
    unequal = [name for name, p_value in found.items() if p_value < policy.censoring_p / len(found)]
    common["value"] = min(found.values())
    if unequal:
        remedy = "weigh by each group's own censoring curve (BI7 does), and find out why follow-up differs"
        return Finding(Verdict.WARN, f"groups are followed for different times: {', '.join(unequal)}", remedy, **common)
    return Finding(Verdict.PASS, f"follow-up differs by no attribute of {', '.join(found)}", **common)


def log_rank(time: np.ndarray, event: np.ndarray, group: np.ndarray) -> float:
    """p-value of the k-sample log-rank test (Mantel 1966), by greenwood."""
    import greenwood

    return float(greenwood.logrank_test(greenwood.Surv(time, event=event.astype(int)), group).p_value)


@check(
    GateName.BIAS, "BI15", "Target population", "largest difference between a group's share here and the declared one"
)
def representativeness(case: Case) -> Finding:
    """The cohort's mix against the one that the cancer type declares (`context_of_use.target_population`)."""
    facts, policy = case.facts, case.policy.bias
    target = facts.declared.context_of_use.target_population if facts.declared is not None else None
    common: dict[str, Any] = {
        "n": len(facts.train) + len(facts.test),
        "threshold": f"within {policy.representation_margin:.0%}",
        "threshold_source": BiasPolicy.source("representation_margin"),
    }
    if target is None:
        reason = "not declared: nobody has said for which mix of patients this model is meant"
        return Finding(Verdict.WARN, reason, "add context_of_use.target_population to the cancer type's file", **common)
    frame, groups = case.once(everybody)
    z = quantiles(policy, sum(len(shares) for shares in target.mix.values()))[0]
    gaps = []
    for attribute, shares in target.mix.items():
        for name, declared in shares.items():
            own = Share(float((groups[attribute] == name).mean()), float(len(frame)))
            low, high = (bound - declared for bound in own.bounds(z))
            n = int((groups[attribute] == name).sum())
            gaps.append(Gap(attribute, name, n, 0, own.value, declared, own.value - declared, (low, high), (low, high)))
    margin = policy.representation_margin
    found = [gap for gap in gaps if abs(gap.gap) > margin and not gap.interval[0] <= 0.0 <= gap.interval[1]]
    worst = max(found or gaps, key=lambda gap: abs(gap.gap))
    common |= {
        "value": worst.gap, "interval": worst.interval,
        "details": {"source": target.source, "groups": [
            {
                "attribute": gap.attribute, "group": gap.group,
                "share": gap.own, "declared": gap.others, "interval": gap.interval,
            }
            for gap in gaps
        ]},
    }  # fmt: skip
    if found:
        reason = "; ".join(f"{gap.attribute} {gap.group} {gap.own:.0%} here, {gap.others:.0%} there" for gap in found)
        return Finding(
            Verdict.WARN,
            f"not the target population: {reason}",
            "recruit these groups, or say so to the users",
            **common,
        )
    return Finding(Verdict.PASS, f"as declared ({target.source}); largest difference {worst.gap:+.1%}", **common)

"""BI11: groups of two attributes at once, such as women over 65, which neither attribute shows alone."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.bias.group_audit import (
    COLLECT,
    NOTHING_COLLECTED,
    Audited,
    Gap,
    Group,
    attributes,
    calibrated,
    listed,
    multiplicity,
    quantiles,
)
from clinical_assets.gates.bias.group_calibration import Level
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.proportions import Share, equality_p, newcombe

REMEDY = "look at the features of these patients together; recalibrate, or train with more of them"


def two_way_groups(audit: Audited, policy: BiasPolicy) -> list[Group]:
    """Every pair of groups of two attributes with enough events and enough patients to be shown."""
    total, found = int(audit.cases.sum()), []
    for first, second in combinations(attributes(audit), 2):
        names = audit.groups[first].astype(str) + " x " + audit.groups[second].astype(str)
        codes, labels = pd.factorize(names, sort=True)
        sizes = np.bincount(codes, minlength=len(labels))
        events = np.bincount(codes[audit.cases], minlength=len(labels))
        enough = (sizes >= policy.min_group_n) & (np.minimum(events, total - events) >= policy.min_group_events)
        found += [
            Group(f"{first} x {second}", str(labels[code]), codes == code, int(sizes[code]), int(events[code]))
            for code in np.flatnonzero(enough)
        ]
    return found


@check(GateName.BIAS, "BI11", "Groups of two attributes", "observed / expected, furthest from 1")
def intersections(case: Case) -> Finding:
    """O/E and sensitivity of every two-way group. WARN by Benjamini-Hochberg over all of them.

    BLOCK: over all of them together, the interval of a group's O/E lies outside the band. Sensitivity warns only: it
    follows the event rate, in which two-way groups differ more than any others.
    """
    from scipy.stats import false_discovery_control

    policy, audit = case.policy.bias, case.once(calibrated)
    acted = audit.risk >= case.facts.contract.endpoint.decision_threshold
    groups = two_way_groups(audit, policy)
    band, z = policy.observed_expected, quantiles(policy, 2 * len(groups))
    weight = np.where(audit.labels.label, audit.labels.weight, 0.0)
    levels, gaps, chances = [], [], []
    for group in groups:
        level = Level.of(audit.outcomes.take(group.inside), audit.risk[group.inside], audit.horizon)
        own, others = (Share.of(weight[rows], acted[rows]) for rows in (group.inside, ~group.inside))
        levels.append(_gap(group, level.ratio, 1.0, level.bounds(z[0]), level.bounds(z[1])))
        gaps.append(_gap(group, own.value, others.value, newcombe(own, others, z[0]), newcombe(own, others, z[1])))
        chances += [level.p_value, equality_p(own, others)]
    common: dict[str, Any] = {
        "n": len(audit.risk),
        "events": int(audit.cases.sum()),
        "threshold": f"O/E {band[0]:g} to {band[1]:g}; sensitivity within +-{policy.sensitivity_margin:g}; "
        f">= {policy.min_group_events} events per group",
        "threshold_source": BiasPolicy.source("intersection_fdr"),
        "details": {
            "observed_expected": [vars(level) for level in levels],
            "sensitivity": [vars(gap) for gap in gaps],
            "interval": "O/E: influence function, square-root scale; sensitivity: Newcombe 1998",
            "multiplicity": f"to warn: Benjamini-Hochberg at {policy.intersection_fdr:g} over {2 * len(groups)}; "
            f"intervals: {multiplicity(policy, 2 * len(groups))}",
            "reference": "O/E 1; sensitivity: all other patients of the audit",
        },
    }
    if not audit.members:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, **common)
    if audit.groups.shape[1] < 2:
        return Finding(Verdict.PASS, "does not apply: one attribute was collected, none to cross it with", **common)
    if not groups:
        return Finding(Verdict.INCONCLUSIVE, "no two-way group has enough events to be judged", COLLECT, **common)
    worst = max(levels, key=lambda level: abs(np.log(max(level.own, 1e-9))))
    common |= {"value": worst.own, "interval": worst.interval}
    wrong = [level for level in levels if level.strict[1] < band[0] or level.strict[0] > band[1]]
    if wrong:
        return Finding(Verdict.BLOCK, f"risk is wrong for: {listed(wrong)}", REMEDY, **common)
    beyond = [
        far
        for level, gap in zip(levels, gaps, strict=True)
        for far in (not band[0] <= level.own <= band[1], gap.gap < -policy.sensitivity_margin)
    ]
    rows = [row for pair in zip(levels, gaps, strict=True) for row in pair]
    real = false_discovery_control(chances) <= policy.intersection_fdr
    found = [row for row, there, far in zip(rows, real, beyond, strict=True) if there and far]
    if found:
        return Finding(Verdict.WARN, f"differs: {listed(found)}", REMEDY, **common)
    return Finding(Verdict.PASS, f"none of {len(groups)} two-way groups differs; furthest {worst}", **common)


def _gap(group: Group, own: float, others: float, interval: tuple[float, float], strict: tuple[float, float]) -> Gap:
    return Gap(group.attribute, group.name, group.n, group.events, own, others, own - others, interval, strict)

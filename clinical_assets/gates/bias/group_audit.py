"""The patients of the bias audit, their groups, and what every comparison between groups has in common.

Groups are those of the contract (`trials.groups`). They are judged on test and out-of-fold patients together, whom the
model in question had not seen. A group is compared with all other patients of the audit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding
from clinical_assets.gates.performance.evidence import aligned
from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.curves import HorizonLabels, horizon_labels
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.groups import NOT_REPORTED, sensitive_groups

NOTHING_COLLECTED = "no sensitive attribute was collected: nothing can be said about any group"
COLLECT = "collect the attribute, or restrict the intended use to the groups that were studied"


@dataclass(frozen=True)
class Audited:
    """The patients of the audit: `groups` one text column per attribute, arrays (n,) in the same order."""

    groups: pd.DataFrame
    risk: np.ndarray
    outcomes: Outcomes
    labels: HorizonLabels
    subjects: np.ndarray
    horizon: float | None

    @cached_property
    def cases(self) -> np.ndarray:
        """(n,) known to have had the event by the horizon."""
        return self.labels.label & (self.labels.weight > 0)

    @cached_property
    def controls(self) -> np.ndarray:
        """(n,) known to have been free of the event at the horizon."""
        return ~self.labels.label & (self.labels.weight > 0)

    @cached_property
    def members(self) -> tuple[Group, ...]:
        """Every group of every attribute, in the order of the columns and of their names."""
        found = []
        for attribute in self.groups.columns:
            codes, names = pd.factorize(self.groups[attribute].astype(str), sort=True)
            found += [self.group(attribute, str(name), codes == code) for code, name in enumerate(names)]
        return tuple(found)

    def group(self, attribute: str, name: str, inside: np.ndarray) -> Group:
        return Group(attribute, name, inside, int(inside.sum()), int(self.cases[inside].sum()))

    def unweighted(self) -> Audited:
        """Everybody counts alike, whether the outcome is known or not."""
        return replace(self, labels=HorizonLabels(self.labels.label, np.ones(len(self.risk))))

    def take(self, rows: np.ndarray) -> Audited:
        """The audit of the patients `rows` (boolean or positions); their weights stay."""
        return Audited(
            groups=self.groups.iloc[rows].reset_index(drop=True),
            risk=self.risk[rows],
            outcomes=self.outcomes.take(rows),
            labels=HorizonLabels(self.labels.label[rows], self.labels.weight[rows]),
            subjects=self.subjects[rows],
            horizon=self.horizon,
        )


@dataclass(frozen=True)
class Group:
    """`inside` (n,) bool: the members; `n` patients, `events` known by the horizon."""

    attribute: str
    name: str
    inside: np.ndarray
    n: int
    events: int

    def __str__(self) -> str:
        return f"{self.attribute} {self.name}"


@dataclass(frozen=True)
class Gap:
    """One group's `own` value, that of `others`, and the `gap` between them.

    `interval` and `strict` hold for all groups of the check together, at the policy's two levels.
    """

    attribute: str
    group: str
    n: int
    events: int
    own: float
    others: float
    gap: float
    interval: tuple[float, float]
    strict: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.attribute} {self.group} {self.own:.2f} against {self.others:.2f} ({low:+.2f} to {high:+.2f})"


def audited(case: Case) -> Audited:
    """Test and out-of-fold patients together."""
    return _gathered(case, case.facts.oof is not None)


def calibrated(case: Case) -> Audited:
    """Without the out-of-fold patients where recalibration was not nested: they say nothing about calibration."""
    nested = case.facts.oof is not None and case.facts.oof.nested
    return case.once(audited if nested else tested)


def tested(case: Case) -> Audited:
    """The patients of the locked test split alone."""
    return _gathered(case, False)


def reference_risk(case: Case) -> np.ndarray | None:
    """(n,) risks of the reference model for the patients of `calibrated`; None where it did not score them all."""
    facts = case.facts
    parts = [(facts.test, facts.reference_pred)]
    if facts.oof is not None and facts.oof.nested:
        if facts.reference_oof is None:
            return None
        parts.append((facts.train, facts.reference_oof))
    return np.concatenate([aligned(rows, predictions).risk for rows, predictions in parts])


def _gathered(case: Case, with_train: bool) -> Audited:
    facts = case.facts
    parts = [(facts.test, facts.test_pred)]
    if with_train and facts.oof is not None:
        parts.append((facts.train, facts.oof))
    frame = pd.concat([rows for rows, _ in parts], ignore_index=True)
    outcomes = Outcomes.from_frame(frame, facts.contract.endpoint)
    return Audited(
        groups=sensitive_groups(frame, facts.contract),
        risk=np.concatenate([aligned(rows, predictions).risk for rows, predictions in parts]),
        outcomes=outcomes,
        labels=horizon_labels(outcomes, float(facts.contract.endpoint.horizon_days or 0.0)),
        subjects=frame["subject_id"].to_numpy(),
        horizon=facts.contract.endpoint.horizon_days,
    )


def judged_groups(audit: Audited, policy: BiasPolicy) -> list[Group]:
    """The groups with enough events inside and among all others, and enough patients to be shown."""
    total = int(audit.cases.sum())
    return [
        group
        for group in audit.members
        if group.n >= policy.min_group_n and min(group.events, total - group.events) >= policy.min_group_events
    ]


def small_groups(audit: Audited, policy: BiasPolicy) -> list[str]:
    """Groups with too few events. Patients who did not report an attribute are no group of the population."""
    return [
        str(group) for group in audit.members if group.events < policy.min_group_events and group.name != NOT_REPORTED
    ]


def quantile(level: float, looks: int) -> float:
    """Two-sided normal quantile of a level that holds for `looks` intervals together (Bonferroni)."""
    return float(ndtri(1.0 - (1.0 - level) / (2.0 * max(looks, 1))))


def quantiles(policy: BiasPolicy, looks: int) -> tuple[float, float]:
    """Normal quantiles of what is shown and of what blocks."""
    return quantile(policy.confidence, looks), quantile(policy.block_confidence, looks)


def wald(estimate: float, error: float, z: float) -> tuple[float, float]:
    return estimate - z * error, estimate + z * error


def multiplicity(policy: BiasPolicy, looks: int) -> str:
    """The rule as it is written into every result."""
    return (
        f"{policy.confidence:.3g} (to block: {policy.block_confidence:.3g}) for all {looks} intervals of this check "
        "together, by Bonferroni"
    )


def listed(found: Iterable[object]) -> str:
    return "; ".join(map(str, found))


def details(
    policy: BiasPolicy, gaps: Sequence[Any], small: Sequence[str], method: str, looks: int | None = None
) -> dict[str, Any]:
    return {
        "groups": [vars(gap) for gap in gaps],
        "not_judged": list(small),
        "interval": method,
        "multiplicity": multiplicity(policy, looks or len(gaps)),
        "reference": "all other patients of the audit",
    }


def warned(
    case: Case,
    audit: Audited,
    gaps: Sequence[Gap],
    margin: float,
    quantity: str,
    method: str,
    source: str,
    looks: int | None = None,
) -> Finding:
    """The finding of a check that warns: a gap beyond the margin whose interval excludes 0."""
    policy = case.policy.bias
    small = small_groups(audit, policy)
    common: dict[str, Any] = {
        "n": len(audit.subjects),
        "events": int(audit.cases.sum()),
        "threshold": f"within +-{margin:g}; >= {policy.min_group_events} events per group",
        "threshold_source": source,
        "details": details(policy, gaps, small, method, looks),
    }
    if not gaps:
        reason = f"too few events to judge {', '.join(small) or 'any group'}" if audit.members else NOTHING_COLLECTED
        return Finding(Verdict.INCONCLUSIVE, reason, COLLECT, **common)
    found = [gap for gap in gaps if abs(gap.gap) > margin and not gap.interval[0] <= 0.0 <= gap.interval[1]]
    worst = max(found or gaps, key=lambda gap: abs(gap.gap))
    common |= {"value": worst.gap, "interval": worst.interval}
    if found:
        remedy = "say so to the users; compare event rates and case mix before blaming the model"
        return Finding(Verdict.WARN, f"{quantity} differs: {listed(found)}", remedy, **common)
    if small:
        reason = f"{quantity}: no difference found, but too few events to judge {', '.join(small)}"
        return Finding(Verdict.INCONCLUSIVE, reason, COLLECT, **common)
    return Finding(Verdict.PASS, f"{quantity}: no difference beyond {margin:g} shown; largest {worst}", **common)


def only_attribute(audit: Audited, attribute: str, labels: HorizonLabels) -> Audited:
    return replace(audit, groups=audit.groups[[attribute]], labels=labels)


def attributes(audit: Audited) -> Iterator[str]:
    yield from map(str, audit.groups.columns)

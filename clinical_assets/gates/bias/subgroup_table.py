"""Every group by every metric, for the evidence bundle: what was found, what could not be judged, and by which rules.

Nothing at row level; counts and estimates that rest on a cell below the suppression limit are withheld.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from clinical_assets.gates.bias.group_audit import (
    Audited,
    Gap,
    Group,
    audited,
    calibrated,
    quantile,
    reference_risk,
    wald,
)
from clinical_assets.gates.bias.group_calibration import INTERVAL as CALIBRATION
from clinical_assets.gates.bias.group_calibration import Level, calibration_slope, group_calibration
from clinical_assets.gates.bias.group_discrimination import DELONG, concordance_gaps, ranking, sampled
from clinical_assets.gates.bias.group_error_rates import flagged, share_gaps
from clinical_assets.gates.bias.group_net_benefit import net_benefit, net_benefit_gaps
from clinical_assets.gates.bias.sensitivity import sensitivity_gaps
from clinical_assets.gates.checks import Case
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.metrics.proportions import Share
from clinical_assets.modeling.plots import ForestRow, subgroup_forest

_WILSON = "Wilson 1927, effective number of patients (Kish 1965)"
METHODS = {
    "sensitivity": _WILSON,
    "specificity": _WILSON,
    "positive predictive value": _WILSON,
    "negative predictive value": _WILSON,
    "share flagged": _WILSON,
    "observed / expected": CALIBRATION,
    "calibration slope": CALIBRATION,
    "concordance": DELONG,
    "net benefit": "Wilson, by the predictive value among the flagged",
}
"""The metrics, in order, and how each interval is made."""

JUDGED_BY = {
    "sensitivity": "BI2",
    "specificity": "BI3",
    "positive predictive value": "BI9",
    "negative predictive value": "BI9",
    "share flagged": "BI10",
    "observed / expected": "BI5",
    "calibration slope": "BI5",
    "concordance": "BI6",
    "net benefit": "BI12",
}

Found = tuple[float, tuple[float, float]]
"""An estimate and its interval."""


@dataclass(frozen=True)
class SubgroupRow:
    """One metric of one group. `n` and `events` are numbers, or `<11`; `estimate` and `interval` are None where a cell
    is suppressed or the metric does not exist. `reference`: the value to which the group is compared. `verdict`: None
    for all patients together, whom the performance gate judges."""

    attribute: str
    group: str
    n: int | str
    events: int | str
    metric: str
    check: str
    estimate: float | None
    interval: tuple[float, float] | None
    reference: float | None
    verdict: Verdict | None


@dataclass(frozen=True)
class SubgroupTable:
    """`rows`: all patients first, then every group of every attribute, each with every metric."""

    rows: tuple[SubgroupRow, ...]
    confidence: float
    multiplicity: str
    reference_group: str
    min_group_events: int
    suppressed_below: int
    methods: Mapping[str, str] = field(default_factory=lambda: dict(METHODS))

    def as_dict(self) -> dict[str, Any]:
        """Built-in types only, as the evidence bundle stores it."""
        return asdict(self)


def subgroup_table(facts: ReleaseFacts, policy: GatePolicy) -> SubgroupTable:
    """The table of one release. A group with too few events has its rows too, INCONCLUSIVE."""
    case, bias = Case(facts, policy), policy.bias
    audit, at_level = case.once(audited), case.once(calibrated)
    verdicts, references = _judged(case, audit, at_level)
    everybody = audit.group("all", "all patients", np.ones(len(audit.risk), dtype=bool))
    rows = []
    for group in (everybody, *audit.members):
        estimates = _estimates(case, audit, at_level, group)
        hidden = group.n < bias.min_cell
        for metric in METHODS:
            found = estimates.get(metric) if not hidden else None
            key = (metric, group.attribute, group.name)
            rows.append(
                SubgroupRow(
                    attribute=group.attribute,
                    group=group.name,
                    n=_cell(group.n, bias.min_cell),
                    events=_cell(group.events, bias.min_cell),
                    metric=metric,
                    check=JUDGED_BY[metric],
                    estimate=None if found is None else found[0],
                    interval=None if found is None else found[1],
                    reference=references.get(key),
                    verdict=None if group is everybody else verdicts.get(key, Verdict.INCONCLUSIVE),
                )
            )
    return SubgroupTable(
        rows=tuple(rows),
        confidence=bias.confidence,
        multiplicity=f"intervals here: each group alone, {bias.confidence:.3g}; verdicts: all groups of a check "
        f"together, {bias.confidence:.3g} (to block: {bias.block_confidence:.3g}), by Bonferroni",
        reference_group="all other patients of the audit; for concordance, those within the other groups",
        min_group_events=bias.min_group_events,
        suppressed_below=bias.min_cell,
    )


def forest_plot(table: SubgroupTable, metric: str, title: str) -> bytes:
    """PNG of one metric: every group that is not suppressed, with its interval; all patients as the reference.

    Raises:
        KeyError: no such metric.
    """
    if metric not in METHODS:
        raise KeyError(f"no metric {metric!r}; the table holds {', '.join(METHODS)}")
    shown = [row for row in table.rows if row.metric == metric and row.estimate is not None]
    overall = next((row.estimate for row in shown if row.attribute == "all"), None)
    rows = [
        ForestRow(f"{row.attribute} {row.group}", row.estimate, *row.interval, row.n, row.events)
        for row in shown
        if row.attribute != "all" and row.interval is not None and row.estimate is not None
        and isinstance(row.n, int) and isinstance(row.events, int)
    ]  # fmt: skip
    return subgroup_forest(rows, title, f"{metric} ({table.confidence:.0%} interval)", overall=overall)


def _cell(count: int, limit: int) -> int | str:
    return count if count >= limit else f"<{limit}"


def _estimates(case: Case, audit: Audited, at_level: Audited, group: Group) -> dict[str, Found]:
    """Metrics of a group whose own cells are large enough."""
    bias, threshold = case.policy.bias, case.facts.contract.endpoint.decision_threshold
    z, acted, weight = quantile(bias.confidence, 1), flagged(case, audit), audit.labels.weight
    known = audit.cases | audit.controls
    found: dict[str, Found] = {}
    for metric, among, hit in (
        ("sensitivity", audit.cases, acted),
        ("specificity", audit.controls, ~acted),
        ("positive predictive value", known & acted, audit.labels.label),
        ("negative predictive value", known & ~acted, ~audit.labels.label),
    ):
        chosen = among & group.inside
        if chosen.sum() >= bias.min_cell:
            share = Share.of(weight[chosen], hit[chosen])
            found[metric] = share.value, share.bounds(z)
    share = Share(float(acted[group.inside].mean()), float(group.n)) if group.n else Share(float("nan"), 0.0)
    found["share flagged"] = share.value, share.bounds(z)
    if group.events < bias.min_cell:
        return found
    rank = ranking(audit, sampled(group.inside, bias.seed))
    if rank is not None:
        found["concordance"] = rank.concordance, wald(rank.concordance, rank.error, z)
    return found | dict(_at_level(at_level, _same(at_level, group), threshold, z))


def _at_level(audit: Audited, group: Group | None, threshold: float, z: float) -> Iterator[tuple[str, Found]]:
    """What only predictions that were recalibrated in every fold can say."""
    if group is None or not group.events:
        return
    outcomes, risk = audit.outcomes.take(group.inside), audit.risk[group.inside]
    level = Level.of(outcomes, risk, audit.horizon)
    yield "observed / expected", (level.ratio, level.bounds(z))
    _, slope, error = calibration_slope(outcomes, risk, audit.horizon)
    if np.isfinite(slope) and np.isfinite(error):
        yield "calibration slope", (slope, wald(slope, error, z))
    value, bounds = net_benefit(outcomes, risk, threshold, audit.horizon, (z,))
    yield "net benefit", (value, bounds[0])


def _same(audit: Audited, group: Group) -> Group | None:
    """The group among the patients of another audit."""
    if group.attribute == "all":
        return audit.group("all", group.name, np.ones(len(audit.risk), dtype=bool))
    return next((own for own in audit.members if str(own) == str(group)), None)


def _judged(
    case: Case, audit: Audited, at_level: Audited
) -> tuple[dict[tuple[str, str, str], Verdict], dict[tuple[str, str, str], float]]:
    """Verdict and reference value by metric, attribute and group, for the groups that can be judged."""
    bias, threshold = case.policy.bias, case.facts.contract.endpoint.decision_threshold
    acted, known = flagged(case, audit), audit.cases | audit.controls
    verdicts: dict[tuple[str, str, str], Verdict] = {}
    references: dict[tuple[str, str, str], float] = {}

    def keep(metric: str, row: Any, reference: float, blocks: bool, warns: bool) -> None:
        key = (metric, row.attribute, row.group)
        verdicts[key] = Verdict.BLOCK if blocks else Verdict.WARN if warns else Verdict.PASS
        references[key] = reference

    def differs(gap: Gap, margin: float) -> bool:
        return abs(gap.gap) > margin and not gap.interval[0] <= 0.0 <= gap.interval[1]

    for gap in sensitivity_gaps(audit, threshold, bias):
        unequal = not gap.interval[0] <= 0.0 <= gap.interval[1]
        keep("sensitivity", gap, gap.others, gap.harmed(bias.sensitivity_margin), unequal)
    for metric, among, hit in (
        ("specificity", audit.controls, ~acted),
        ("positive predictive value", known & acted, audit.labels.label),
        ("negative predictive value", known & ~acted, ~audit.labels.label),
    ):
        for gap in share_gaps(audit, among, hit, bias):
            keep(metric, gap, gap.others, False, differs(gap, bias.error_rate_margin))
    for gap in share_gaps(audit.unweighted(), np.ones(len(acted), dtype=bool), acted, bias):
        keep("share flagged", gap, gap.others, False, differs(gap, 1.0 - bias.selection_ratio))
    for row in group_calibration(at_level, bias, case.once(reference_risk)):
        low, high = bias.observed_expected
        keep("observed / expected", row, 1.0, row.wrong_level(bias.observed_expected), not low <= row.oe <= high)
        keep("calibration slope", row, 1.0, row.flat(bias.slope_floor), not row.slope >= bias.slope_floor)
    for gap in concordance_gaps(audit, bias):
        poor = gap.strict[1] < -bias.concordance_block
        keep("concordance", gap, gap.others, poor, differs(gap, bias.concordance_warn))
    for gap in net_benefit_gaps(at_level, threshold, bias):
        keep("net benefit", gap, 0.0, gap.strict[1] < 0.0, gap.gap < 0.0)
    return verdicts, references

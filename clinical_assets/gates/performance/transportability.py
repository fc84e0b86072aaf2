"""MP12: does the model hold at every site and in every period?

All patients whom the model had not seen, by site and by thirds of calendar time. The model is one, its patients differ:
no group may rank below the floor, and groups whose concordance or O/E differ by more than chance warn (Cochran's Q).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc, expit, logit

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import Predictions
from clinical_assets.gates.performance.calibration_error import level_error
from clinical_assets.gates.performance.discrimination import concordance, on_logit
from clinical_assets.gates.performance.evidence import Evidence, events_by_horizon, evidence_sets
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import Estimate, evidence_below, known
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.bootstrap import Draws
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.metrics.smooth import overall_risk
from clinical_assets.modeling.outcomes import Outcomes

PERIODS = ("first third", "second third", "last third")


@dataclass(frozen=True)
class Group:
    """One site or period: logit concordance, log O/E, each with its standard error."""

    name: str
    n: int
    events: int
    ranking: Estimate
    level: Estimate

    def row(self) -> dict[str, Any]:
        return {
            "group": self.name, "n": self.n, "events": self.events, "concordance": float(expit(self.ranking.value)),
            "observed_expected": float(np.exp(self.level.value)),
        }  # fmt: skip


@check(GateName.PERFORMANCE, "MP12", "Every site and every period", "lowest concordance of a site or period")
def transportability(case: Case) -> Finding:
    facts, policy = case.facts, case.policy.performance
    common: dict[str, Any] = {
        "n": len(facts.test),
        "threshold": f"no joint interval below {policy.discrimination_floor:g}; >= {policy.min_site_events} events",
        "threshold_source": "Epic sepsis model: AUROC .63 elsewhere against .76 to .83 claimed (Wong et al. 2021)",
    }
    frame, risk = _unseen(case)
    column = policy.site_column
    if column and column not in frame.columns:
        reason = f"the site column {column!r} is not in the cohort table"
        remedy = "keep it as an ignored column with `sensitive: true`, or correct gates.performance.site_column"
        return Finding(Verdict.INCONCLUSIVE, reason, remedy, **common)
    memberships: dict[str, pd.Series] = {"site": frame[column].astype(str)} if column else {}
    if facts.contract.index_date.kind == "calendar" and frame["index_date"].nunique() > len(PERIODS):
        memberships["period"] = _thirds(frame["index_date"])
    if not memberships:
        reason = "does not apply: no site column is declared, and the cohort has no calendar dates"
        return Finding(Verdict.PASS, reason, **common)
    groups = {kind: _groups(case, frame, risk, names) for kind, names in memberships.items()}
    judged = [group for kind in groups.values() for group in kind]
    if not judged:
        reason = f"no {' or '.join(memberships)} has {policy.min_site_events} events"
        return Finding(Verdict.WARN, reason, "pool more patients per site", **common)
    ranks = known([group.ranking for group in judged])
    lowest = min(judged, key=lambda group: group.ranking.value)
    heterogeneity = {
        f"{kind}: {measure}": p
        for kind, found in groups.items()
        for measure, values in (("concordance", [g.ranking for g in found]), ("O/E", [g.level for g in found]))
        if (p := cochran_q(values)) is not None
    }
    common |= {
        "value": float(expit(lowest.ranking.value)),
        "n": len(frame),
        "events": sum(group.events for group in judged),
        "details": {
            **{kind: [group.row() for group in found] for kind, found in groups.items()},
            "heterogeneity_p": heterogeneity,
        },
    }
    floor = float(logit(policy.discrimination_floor))
    below = evidence_below(ranks, floor, floor, policy.block_confidence, len(ranks))
    if below is not None:
        reason = f"concordance {expit(below.value):.3f} in {below.name}: ranks below the floor there"
        return Finding(Verdict.BLOCK, reason, "restrict the intended use, or train with patients from there", **common)
    differing = [name for name, p in heterogeneity.items() if p < policy.heterogeneity_p]
    text = f"lowest concordance {expit(lowest.ranking.value):.3f} ({lowest.name}) of {len(judged)} sites and periods"
    if differing:
        remedy = "report the figures by site and period"
        return Finding(Verdict.WARN, f"{text}; more than chance differs: {', '.join(differing)}", remedy, **common)
    return Finding(Verdict.PASS, text, **common)


def cochran_q(estimates: list[Estimate]) -> float | None:
    """p-value of Cochran's Q that the estimates have one mean; None with fewer than two."""
    found = known(estimates)
    if len(found) < 2:
        return None
    weight = np.array([one.error**-2.0 for one in found])
    value = np.array([one.value for one in found])
    mean = float(weight @ value / weight.sum())
    return float(chdtrc(len(found) - 1, float(weight @ (value - mean) ** 2)))


def _unseen(case: Case) -> tuple[pd.DataFrame, np.ndarray]:
    sets = case.once(evidence_sets)
    return pd.concat([one.frame for one in sets], ignore_index=True), np.concatenate([one.risk for one in sets])


def _thirds(dates: pd.Series) -> pd.Series:
    edges = dates.quantile([1 / 3, 2 / 3]).to_numpy()
    place = (dates.to_numpy()[:, None] > edges).sum(axis=1)
    return pd.Series(np.array(PERIODS)[place], index=dates.index)


def _groups(case: Case, frame: pd.DataFrame, risk: np.ndarray, names: pd.Series) -> list[Group]:
    """Groups with enough patients of either kind."""
    facts, policy = case.facts, case.policy.performance
    found = []
    for name, rows in names.groupby(names).groups.items():
        place = frame.index.get_indexer(rows)
        part = frame.iloc[place].reset_index(drop=True)
        outcomes = Outcomes.from_frame(part, facts.contract.endpoint)
        events = events_by_horizon(facts, outcomes)
        if min(events, outcomes.n - events) >= policy.min_site_events:
            found.append(_group(case, str(name), part, outcomes, risk[place], events, policy))
    return found


def _group(
    case: Case,
    name: str,
    part: pd.DataFrame,
    outcomes: Outcomes,
    risk: np.ndarray,
    events: int,
    policy: PerformancePolicy,
) -> Group:
    horizon = case.facts.contract.endpoint.horizon_days
    draws = Draws.make(part["subject_id"].to_numpy(), policy.bootstrap_seed, policy.bootstrap_replicates)
    predictions = Predictions(part["subject_id"].to_numpy(), risk)
    evidence = Evidence(name, part, outcomes, predictions, draws, events)
    ranking = on_logit(evidence, concordance(evidence, ConcordancePairs.of(outcomes, horizon), risk, policy))
    observed = overall_risk(outcomes, horizon)
    level = float(np.log(observed / risk.mean())) if observed > 0 and risk.mean() > 0 else float("nan")
    error = level_error(outcomes, horizon, risk)
    return Group(name, outcomes.n, events, ranking, Estimate(name, level, error, events))

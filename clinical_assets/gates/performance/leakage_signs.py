"""MP15, continued: signs of leakage in categories (c), in what hangs on one feature (d), in too good a result (e)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.discrimination import all_pairs
from clinical_assets.gates.performance.evidence import TEST, Evidence, judged_sets, too_few
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import Estimate
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.discrimination import harrell_c
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes

GATE = GateName.PERFORMANCE
FEWEST_FEATURES = 4
"""With fewer features one always holds most of the concordance."""
NOTABLE_LOSS = 0.05
"""Concordance lost over all features; below it shares mean nothing."""
REMEDY = "find out when this column is recorded; if after the index date, give it role post_baseline"
SCORED = 2000


@check(GATE, "MP15c", "No category consists of early events", "largest share of early events in a category")
def early_categories(case: Case) -> Finding:
    """Training patients by category (missing is one): nearly all with an event in the first quarter of event times
    blocks. For a label, where diagnosis may put nearly all on one side, it warns.
    """
    facts, policy = case.facts, case.policy.performance
    outcomes = Outcomes.from_frame(facts.train, facts.contract.endpoint)
    binary = outcomes.kind == "binary"
    common: dict[str, Any] = {
        "n": outcomes.n,
        "events": outcomes.events,
        "threshold": f"below {policy.leak_category_share:g} in categories of >= {policy.leak_category_n} patients",
        "threshold_source": PerformancePolicy.source("leak_category_share"),
    }
    if outcomes.events < policy.leak_min_events:
        return Finding(
            Verdict.INCONCLUSIVE, f"only {outcomes.events} events", "review the categories by hand", **common
        )
    early = outcomes.flag
    if not binary:
        early = outcomes.flag & (outcomes.times() <= np.quantile(outcomes.times()[outcomes.flag], 0.25))
    shares = category_shares(facts.train, facts.contract.features, early, policy.leak_category_n)
    if not shares:
        return Finding(Verdict.PASS, "does not apply: no category with enough patients", **common)
    worst = max(shares, key=shares.__getitem__)
    common |= {
        "value": shares[worst],
        "details": {"shares": dict(sorted(shares.items(), key=lambda one: -one[1])[:20])},
    }
    found = [name for name, share in shares.items() if share >= policy.leak_category_share]
    if found:
        what = "have the label" if binary else "have an early event"
        reason = f"nearly all patients of {', '.join(found)} {what}"
        return Finding(Verdict.WARN if binary else Verdict.BLOCK, reason, REMEDY, **common)
    return Finding(Verdict.PASS, f"at most {shares[worst]:.2f} ({worst})", **common)


def category_shares(frame: pd.DataFrame, features: Any, early: np.ndarray, least: int) -> dict[str, float]:
    """`column = value` -> share of `early` (n,), for categories, yes/no columns and missing values with enough rows."""
    shares: dict[str, float] = {}
    for column in features:
        values = frame[column.name]
        known = values.astype(str) if column.dtype in ("category", "boolean") else pd.Series("known", values.index)
        names = known.where(values.notna(), "missing")
        if names.nunique() < 2:
            continue
        table = pd.DataFrame({"name": names.to_numpy(), "early": early}).groupby("name")["early"].agg(["size", "mean"])
        for name, row in table[table["size"] >= least].iterrows():
            shares[f"{column.name} = {name}"] = float(row["mean"])
    return shares


@check(GATE, "MP15d", "No feature carries it all", "largest share of the concordance lost by permutation")
def dominance(case: Case) -> Finding:
    """Each feature permuted over the test patients and scored by the serving path (Breiman 2001). Never blocks."""
    facts, policy = case.facts, case.policy.performance
    common: dict[str, Any] = {
        "n": len(facts.test),
        "threshold": f"at most {policy.dominance:g} of what all features lose",
        "threshold_source": PerformancePolicy.source("dominance"),
    }
    names = [column.name for column in facts.contract.features]
    if len(names) < FEWEST_FEATURES:
        return Finding(Verdict.PASS, f"does not apply: {len(names)} features", **common)
    sets = [one for one in case.once(judged_sets) if one.name == TEST]
    if not sets:
        return too_few(case)
    if facts.serve_score is None:
        return Finding(Verdict.INCONCLUSIVE, "no serving path to score with", "see MP19", **common)
    evidence = sets[0]
    losses = _losses(case, evidence, names)
    total = sum(losses.values())
    largest = max(losses, key=losses.__getitem__)
    share = losses[largest] / total if total > 0 else 0.0
    common |= {
        "value": share,
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "details": {"loss": dict(sorted(losses.items(), key=lambda one: -one[1])[:20])},
    }
    if total >= NOTABLE_LOSS and share > policy.dominance:
        return Finding(Verdict.WARN, f"{largest} alone carries {share:.0%} of the ranking", REMEDY, **common)
    return Finding(Verdict.PASS, f"{largest} carries {share:.0%} of the ranking", **common)


def _losses(case: Case, evidence: Evidence, names: list[str]) -> dict[str, float]:
    """Concordance lost when a feature's values go to other patients; not below 0."""
    facts = case.facts
    assert facts.serve_score is not None
    order = np.random.default_rng(case.policy.performance.bootstrap_seed).permutation(min(evidence.outcomes.n, SCORED))
    rows = evidence.frame.iloc[: len(order)][names].reset_index(drop=True)
    outcomes = evidence.outcomes.take(np.arange(len(order)))
    pairs = (
        case.once(all_pairs)[evidence.name]
        if outcomes.n == evidence.outcomes.n
        else ConcordancePairs.of(outcomes, facts.contract.endpoint.horizon_days)
    )
    whole = pairs.concordance(np.asarray(facts.serve_score(rows)))
    losses = {}
    for name in names:
        permuted = rows.assign(**{name: rows[name].to_numpy()[order]})
        losses[name] = max(whole - pairs.concordance(np.asarray(facts.serve_score(permuted))), 0.0)
    return losses


@check(GATE, "MP15e", "Not better than is known to be possible", "Harrell's C (label: AUROC)")
def too_good(case: Case) -> Finding:
    """Above the best published figure by more than three standard errors warns."""
    policy = case.policy.performance
    ceiling = policy.published_concordance
    common: dict[str, Any] = {
        "n": len(case.facts.test),
        "threshold": "none declared" if ceiling is None else f"at most {ceiling:g} + 3 standard errors",
        "threshold_source": PerformancePolicy.source("published_concordance"),
    }
    if ceiling is None:
        reason = "does not apply: no published concordance is declared (gates.performance.published_concordance)"
        return Finding(Verdict.PASS, reason, **common)
    sets = case.once(judged_sets)
    if not sets:
        return too_few(case)
    found = []
    for evidence in sets:
        pairs = case.once(all_pairs)[evidence.name]
        values = pairs.replicates(evidence.risk, evidence.draws.counts)
        error = float(np.nanstd(values, ddof=1))
        survival = evidence.outcomes.kind == "survival"
        value = harrell_c(evidence.outcomes, evidence.risk) if survival else pairs.concordance(evidence.risk)
        found.append(Estimate(evidence.name, value, error, evidence.events))
    common |= {
        "value": found[0].value,
        "n": sets[0].outcomes.n,
        "events": sets[0].events,
        "details": {one.name: {"value": one.value, "standard_error": one.error} for one in found},
    }
    above = [one for one in found if one.value > ceiling + 3.0 * one.error]
    if above:
        reason = f"{above[0].value:.3f} on {above[0].name}, published are {ceiling:g}: too good to be true"
        return Finding(Verdict.WARN, reason, "look for features that know the outcome (MP15a to MP15d)", **common)
    return Finding(Verdict.PASS, f"{found[0].value:.3f} on {found[0].name}, published are {ceiling:g}", **common)

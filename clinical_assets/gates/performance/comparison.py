"""MP9, MP10, MP11 and MP13: against the champion, against the first approved model, on the same patients, and against
simple models.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.performance.discrimination import all_pairs, difference, plain, reference_of
from clinical_assets.gates.performance.evidence import TEST, Evidence, bounds, judged_sets, too_few
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import Estimate, evidence_below, pooled
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.curves import horizon_labels

GATE = GateName.PERFORMANCE
SHADOW = "compare both models in shadow: the paired evidence there decides"


@check(GATE, "MP9", "Not inferior to what is there", "difference in Uno's C (label: AUROC)")
def non_inferiority(case: Case) -> Finding:
    """Paired bootstrap against the champion on the test split; without a champion, against the reference model."""
    facts = case.facts
    name = facts.champion_name or "the champion" if facts.champion_pred is not None else facts.reference_name
    pairs = [(one, other) for one in case.once(judged_sets) if (other := _comparator(facts, one)) is not None]
    return not_inferior(case, pairs, name, case.policy.performance.confidence)


def not_inferior(case: Case, sets: list[tuple[Evidence, Predictions]], name: str, level: float) -> Finding:
    """The candidate against another model, called `name`, on each set; intervals at `level`.

    PASS: one set shows that no more than the margin is lost. BLOCK: more than the margin is lost in the estimate, of
    concordance or of skill, and the joint interval over all sets excludes that nothing is. Else INCONCLUSIVE: shadow
    decides. Skill is asked too because concordance, being made of ranks, is slow to tell two models apart (Pepe et al.
    2013, Vickers et al. 2011).
    """
    if not sets:
        return too_few(case)
    policy = case.policy.performance
    found, losses, skills = [], [], []
    for evidence, other in sets:
        gain = difference(evidence, case.once(all_pairs)[evidence.name], other, policy, level)
        losses.append(plain(evidence, gain))
        skills.append(skill_gain(evidence, other, case.facts.contract.endpoint.horizon_days))
        common: dict[str, Any] = {
            "value": gain.estimate,
            "interval": bounds(gain),
            "n": evidence.outcomes.n,
            "events": evidence.events,
            "threshold": f"lower bound above -{policy.non_inferiority_margin:g}; "
            f"half-width at most {policy.non_inferiority_margin:g}",
            "threshold_source": PerformancePolicy.source("non_inferiority_margin"),
            "details": {
                "comparator": name, "set": evidence.name, "level": level,
                "replicates": gain.replicates, "seed": gain.seed,
            },
        }  # fmt: skip
        text = f"{gain.estimate:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) against {name} on {evidence.name}"
        if gain.low > 0.0 or (
            gain.half_width <= policy.non_inferiority_margin and gain.low > -policy.non_inferiority_margin
        ):
            found.append(Finding(Verdict.PASS, text, **common))
        elif gain.half_width > policy.non_inferiority_margin:
            reason = f"{text}: too imprecise to show non-inferiority at {policy.non_inferiority_margin:g}"
            found.append(Finding(Verdict.INCONCLUSIVE, reason, SHADOW, **common))
        else:
            reason = f"{text}: neither non-inferior nor inferior at {policy.non_inferiority_margin:g}"
            found.append(Finding(Verdict.INCONCLUSIVE, reason, SHADOW, **common))
    ranks, forecasts = pooled(losses), pooled(skills)
    looks, margin = len(ranks) + len(forecasts), policy.non_inferiority_margin
    for what, joint in (("", ranks), (" in skill", forecasts)):
        worse = evidence_below(joint, 0.0, -margin, policy.block_confidence, looks)
        if worse is None:
            continue
        reason = f"{worse.value:+.3f}{what} against {name} on {worse.name}: inferior; {found[0].reason}"
        return replace(found[0], verdict=Verdict.BLOCK, reason=reason, remedy=f"keep {name}")
    return next((one for one in found if one.verdict is Verdict.PASS), found[0])


def skill_gain(evidence: Evidence, other: Predictions, horizon: float | None) -> Estimate:
    """Difference of the Brier skills at the horizon, candidate minus other: squared errors weighted for censoring, in
    units of the error of giving everyone the observed risk. Its error is that of the mean of paired differences."""
    labels = horizon_labels(evidence.outcomes, horizon or 0.0)
    observed = float(np.sum(labels.weight * labels.label) / labels.weight.sum())
    nothing = observed * (1.0 - observed) * float(labels.weight.mean())
    own, theirs = (labels.weight * (labels.label - risk) ** 2 for risk in (evidence.risk, evidence.of(other)))
    if not nothing > 0.0:
        return Estimate(evidence.name, float("nan"), float("nan"), evidence.events)
    gain = (theirs - own) / nothing
    error = float(np.std(gain, ddof=1) / np.sqrt(len(gain)))
    return Estimate(evidence.name, float(gain.mean()), error, evidence.events)


def _comparator(facts: ReleaseFacts, evidence: Evidence) -> Predictions | None:
    """A champion has seen its training patients, so it is compared on the test split alone."""
    if facts.champion_pred is None:
        return reference_of(facts, evidence)
    return facts.champion_pred if evidence.name == TEST else None


@check(
    GATE, "MP10", "No creeping loss over updates", "difference in Uno's C (label: AUROC) to the first approved model"
)
def no_creep(case: Case) -> Finding:
    """Many updates, each non-inferior to the one before, can lose a lot. So the first approved model is compared too,
    with the error shared out over the looks that this test split may have (Bonferroni), and the looks are counted.
    """
    facts, policy = case.facts, case.policy.performance
    looks = {look.model_digest for look in facts.looks if look.split_digest == facts.split.digest}
    seen = len(looks | {facts.model_digest})
    common: dict[str, Any] = {
        "n": len(facts.test),
        "threshold": f"at most {policy.max_looks} models judged on one test split; "
        f"lower bound above -{policy.non_inferiority_margin:g}",
        "threshold_source": PerformancePolicy.source("max_looks"),
    }
    counted = {"looks": seen, "of": policy.max_looks, "on_record": facts.model_digest in looks}
    if looks and seen > policy.max_looks:
        return Finding(
            Verdict.BLOCK,
            f"this test split has judged {seen} models: it is no longer unseen",
            "add patients whom no model has seen, which makes a new test split",
            value=float(seen),
            details=counted,
            **common,
        )
    level = 1.0 - (1.0 - policy.confidence) / policy.max_looks
    found = _against_anchor(case, level)
    if not found.threshold:  # nothing was estimated
        found = replace(found, **common)
    details = {**found.details, **counted, "level": level}
    if facts.model_digest not in looks:
        unrecorded = "this model's opening of the test split is not on record, so that looks cannot be counted"
        if found.verdict is Verdict.PASS:
            return replace(found, verdict=Verdict.WARN, reason=f"{unrecorded}; {found.reason}", details=details)
        return replace(found, reason=f"{found.reason}; {unrecorded}", details=details)
    return replace(found, reason=f"look {seen} of {policy.max_looks}; {found.reason}", details=details)


def _against_anchor(case: Case, level: float) -> Finding:
    facts = case.facts
    if facts.anchor_name is None:
        return Finding(Verdict.PASS, "no model was approved before: this one may become the first")
    name = f"the first approved model {facts.anchor_name}"
    if facts.anchor_pred is None:
        reason = f"{name} cannot be compared: it is gone, or its features, endpoint or horizon were others"
        return Finding(Verdict.INCONCLUSIVE, reason, SHADOW)
    anchor = facts.anchor_pred
    sets = [(one, anchor) for one in case.once(judged_sets) if one.name == TEST]
    return not_inferior(case, sets, name, level)


@check(GATE, "MP11", "The same patients for both", "rows scored by one model and not by the other")
def same_population(case: Case) -> Finding:
    """Candidate, reference, champion and anchor were scored on exactly the test split's rows, for one horizon."""
    facts = case.facts
    expected = sorted(facts.test["subject_id"].astype(str))
    scored = {
        "candidate": facts.test_pred,
        facts.reference_name or "reference": facts.reference_pred,
        f"champion {facts.champion_name}": facts.champion_pred,
        f"first approved {facts.anchor_name}": facts.anchor_pred,
    }
    compared = {name: predictions for name, predictions in scored.items() if predictions is not None}
    horizon = facts.contract.endpoint.horizon_days
    problems, apart = [], {}
    for name, predictions in compared.items():
        rows = sorted(str(subject) for subject in predictions.subject_ids)
        apart[name] = _apart(expected, rows)
        if apart[name]:
            problems.append(f"{name}: {apart[name]} rows differ from the test split's")
        if horizon is not None and predictions.times is not None and abs(predictions.times[-1] - horizon) > 0.5:
            problems.append(f"{name}: predicts to day {predictions.times[-1]:g}, the horizon is day {horizon:g}")
    recorded = str(facts.lineage.get("contract_digest", ""))
    if recorded != facts.contract.digest:
        problems.append("the candidate was trained under another contract (index rule, outcome, horizon)")
    common: dict[str, Any] = {
        "value": float(max(apart.values(), default=0)),
        "n": len(expected),
        "threshold": "0 rows; one contract; one horizon",
        "threshold_source": "a comparison on different patients compares the patients",
        "details": {"compared": list(compared), "rows_apart": apart},
    }
    if problems:
        return Finding(Verdict.BLOCK, "; ".join(problems), "score every model on the whole test split again", **common)
    return Finding(Verdict.PASS, f"{len(expected)} rows, the same for {', '.join(compared)}", **common)


def _apart(expected: list[str], rows: list[str]) -> int:
    """Rows in one list and not in the other; a row twice counts."""
    from collections import Counter

    left, right = Counter(expected), Counter(rows)
    return sum(((left - right) + (right - left)).values())


@check(GATE, "MP13", "Better than simple models", "gain in Uno's C (label: AUROC) over the reference model")
def simple_models(case: Case) -> Finding:
    """Against no model (see MP3), the penalised reference model, and a model of stage alone. Never blocks."""
    facts, policy = case.facts, case.policy.performance
    sets = case.once(judged_sets)
    if not sets:
        return too_few(case)
    evidence = sets[0]
    others = {facts.reference_name: reference_of(facts, evidence), **_stage_alone(facts, evidence)}
    gains = {
        name: difference(evidence, case.once(all_pairs)[evidence.name], other, policy)
        for name, other in others.items()
        if other is not None
    }
    no_model = case.results["MP3"].details.get(evidence.name, {}).get("value") if "MP3" in case.results else None
    common: dict[str, Any] = {
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "threshold": "gain above 0",
        "threshold_source": "19 models on 34 sets, none significantly better than Cox (Burk et al. 2024)",
        "details": {
            "gain": {name: [gain.estimate, gain.low, gain.high] for name, gain in gains.items()},
            "skill_against_no_model": no_model,
        },
    }
    if not gains:
        return Finding(Verdict.INCONCLUSIVE, "no simple model was predicted for these patients", **common)
    first = next(iter(gains.values()))
    common |= {"value": first.estimate, "interval": bounds(first)}
    text = "; ".join(
        f"{gain.estimate:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) over {name}" for name, gain in gains.items()
    )
    if all(gain.estimate == 0.0 and gain.half_width == 0.0 for gain in gains.values()):
        return Finding(Verdict.PASS, f"the candidate is {facts.reference_name}, the simple model itself", **common)
    behind = [name for name, gain in gains.items() if gain.estimate < 0.0]
    if behind:
        return Finding(Verdict.WARN, f"{text}: no gain over {', '.join(behind)}", "prefer the simpler model", **common)
    return Finding(Verdict.PASS, text, **common)


def _stage_alone(facts: ReleaseFacts, evidence: Evidence) -> dict[str, Predictions]:
    """A penalised model of the contract's stage columns alone; nothing where there is no stage, or nothing else."""
    from clinical_assets.modeling.encoder import features_of
    from clinical_assets.modeling.model import FamilyModel
    from clinical_assets.modeling.outcomes import Outcomes

    endpoint, features = facts.contract.endpoint, features_of(facts.contract)
    stage = tuple(feature for feature in features if "stage" in feature.name.split("_"))
    if not stage or len(stage) == len(features):
        return {}
    model = FamilyModel("cox", stage, endpoint.kind, seed=0, horizon=endpoint.horizon_days)
    model.fit(facts.train, Outcomes.from_frame(facts.train, endpoint))
    risk = model.risk(evidence.frame, endpoint.horizon_days)
    return {"a model of stage alone": Predictions(evidence.frame["subject_id"].to_numpy(), risk)}

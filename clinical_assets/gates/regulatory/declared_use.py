"""Gate 4, regulatory: what is declared about the model's use, and whether the evidence is what it claims to be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from clinical_assets.gates.checks import REGISTER, Case, Finding, check
from clinical_assets.gates.regulatory.reporting_items import CHAI, TRIPOD_AI, left_to_people, sources, unanswered
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.data_status import SUBJECT_PREFIX
from clinical_assets.trials.placeholder import TO_BE_COMPLETED

GATE = GateName.REGULATORY


@check(GATE, "RG13", "Declarations are complete", "declarations left to be completed")
def declarations(case: Case) -> Finding:
    """No placeholder is left, and what a model card must say by TRIPOD+AI and CHAI is declared or measured."""
    from clinical_assets.gates import judging  # noqa: F401  every gate registers its checks

    facts = case.facts
    left = [f"contract.{key}" for key in _placeholders(facts.contract.model_dump(mode="json"))]
    left += [f"manifest.{key}" for key in _placeholders(facts.manifest)]
    left += [name for name, text in facts.artifacts_text.items() if TO_BE_COMPLETED in text]
    card = facts.model_dir / "model.json"
    known = sources(facts, json.loads(card.read_text()) if card.is_file() else {})
    open_items = {
        "TRIPOD+AI": unanswered(TRIPOD_AI, known, REGISTER),
        "CHAI": unanswered(CHAI, known, REGISTER),
    }
    unsaid = [f"{guide} {item} ({', '.join(lacking)})" for guide, items in open_items.items()
              for item, lacking in items.items()]  # fmt: skip
    people = left_to_people(TRIPOD_AI) + left_to_people(CHAI)
    common: dict[str, Any] = {
        "value": float(len(left) + len(unsaid)),
        "n": 2 + len(facts.artifacts_text) + len(TRIPOD_AI) + len(CHAI),
        "threshold": "0",
        "threshold_source": "TRIPOD+AI (BMJ 2024;385:e078378), CHAI applied model card; FDA 2025: context of use",
        "details": {"left": left, "unanswered": open_items, "left_to_people": people},
    }
    if left:
        return Finding(
            Verdict.BLOCK,
            f"{len(left)} declarations are left to be completed: {', '.join(left[:5])}{', ...' * (len(left) > 5)}",
            f"replace each `{TO_BE_COMPLETED}` in the cancer type's file, then materialize it again",
            **common,
        )
    if facts.declared is None:
        return Finding(Verdict.INCONCLUSIVE, "no context of use is known", "declare `context_of_use`", **common)
    if unsaid:
        more = f"; {len(unsaid) - 5} more" * (len(unsaid) > 5)
        remedy = "declare it in the cancer type's file, then materialize it again"
        return Finding(Verdict.BLOCK, f"a model card could not say: {'; '.join(unsaid[:5])}{more}", remedy, **common)
    reason = f"{common['n'] - len(people)} texts and items answered; left to people: {', '.join(people)}"
    return Finding(Verdict.PASS, reason, **common)


def _placeholders(value: Any, place: str = "") -> Iterator[str]:
    """Keys below which the placeholder stands; an entry of a list goes by its own name."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _placeholders(below, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for position, entry in enumerate(value):
            name = entry.get("name", position) if isinstance(entry, Mapping) else position
            yield from _placeholders(entry, f"{place}.{name}")
    elif isinstance(value, str) and TO_BE_COMPLETED in value:
        yield place


@check(GATE, "RG15", "Context of use, risk tier and credibility plan", "steps of the plan without a check")
def context_of_use(case: Case) -> Finding:
    """Question, influence, consequence and plan are declared, and every step of the plan is one that is carried out."""
    from clinical_assets.gates import judging  # noqa: F401  every gate registers its checks

    facts = case.facts
    common: dict[str, Any] = {
        "n": 0,
        "threshold": "0; question, influence times consequence, plan",
        "threshold_source": "FDA, Considerations for the Use of Artificial Intelligence (draft, 2025), steps 1-5",
    }
    if facts.declared is None:
        remedy = "declare `context_of_use`"
        return Finding(Verdict.INCONCLUSIVE, "no context of use is known", remedy, **common)
    declared, use = facts.declared, facts.declared.context_of_use
    unmet = {
        step.activity: absent
        for step in use.credibility
        if (absent := [id for id in step.checks if id not in REGISTER])
    }
    common |= {
        "value": float(len(unmet)),
        "n": len(use.credibility),
        "details": {
            "question": use.question or _question(case), "digest": use.digest, "influence": use.model_influence,
            "consequence": declared.consequence, "risk_tier": declared.risk_tier,
            "plan": {step.activity: list(step.checks) for step in use.credibility}, "unmet": unmet,
        },
    }  # fmt: skip
    if unmet:
        named = "; ".join(f"{activity} ({', '.join(ids)})" for activity, ids in unmet.items())
        return Finding(Verdict.BLOCK, f"the plan names checks that do not exist: {named}", "correct the ids", **common)
    tier = f"risk {declared.risk_tier}: influence {use.model_influence}, consequence {declared.consequence}"
    return Finding(
        Verdict.PASS, f"{tier}; {len(use.credibility)} steps of the credibility plan are carried out", **common
    )


def _question(case: Case) -> str:
    endpoint = case.facts.contract.endpoint
    by = f" by day {endpoint.horizon_days:g}" if endpoint.horizon_days else ""
    return f"What is the risk of {endpoint.name}{by} for a patient of the intended use?"


@check(GATE, "RG16", "Blinding is kept", "unblinding columns in use")
def blinding(case: Case) -> Finding:
    """While a trial is blinded, nothing that reveals the arm or the adjudicated outcome is modelled, kept or shown."""
    facts = case.facts
    common: dict[str, Any] = {"n": 0, "threshold": "0 while the trial is blinded", "threshold_source": "ICH E6(R3) 4.1"}
    if facts.declared is None:
        remedy = "declare `trial`"
        return Finding(Verdict.INCONCLUSIVE, "nothing is declared about the trial", remedy, **common)
    trial = facts.declared.trial
    if not trial.blinded:
        return Finding(Verdict.PASS, "does not apply: the trial is declared open or unblinded", **common)
    if not trial.unblinding_columns:
        remedy = "list them in `trial.unblinding_columns`"
        reason = "the trial is blinded, and it is not declared which columns would unblind it"
        return Finding(Verdict.INCONCLUSIVE, reason, remedy, **common)
    sources = {column.source_name: column.name for column in facts.contract.columns}
    names = {name for column in trial.unblinding_columns for name in (column, sources.get(column, column))}
    used = sorted(names & {*map(str, facts.train.columns), *map(str, facts.test.columns)})
    shown = sorted(f"{text}: {name}" for text, content in facts.artifacts_text.items() for name in names
                   if f'"{name}"' in content and text != "context_of_use.json")  # fmt: skip
    common |= {"value": float(len(used) + len(shown)), "n": len(names), "details": {"used": used, "shown": shown}}
    if used or shown:
        reason = f"the trial is blinded, yet in use: {', '.join(used) or 'none'}; shown: {', '.join(shown) or 'none'}"
        return Finding(Verdict.BLOCK, reason, "ignore these columns until the trial is unblinded", **common)
    return Finding(Verdict.PASS, f"none of {len(names)} unblinding columns is in use", **common)


@check(GATE, "RG17", "Estimand is declared", "attributes left open")
def estimand(case: Case) -> Finding:
    """Population, variable, intercurrent events, summary; the rest follows from contract and intended use."""
    facts = case.facts
    common: dict[str, Any] = {"n": 4, "threshold": "0 of 4", "threshold_source": "ICH E9(R1) A.3.3"}
    if facts.declared is None:
        return Finding(
            Verdict.INCONCLUSIVE, "nothing is declared about the trial", "declare `trial.estimand`", **common
        )
    declared, endpoint = facts.declared.trial.estimand, facts.contract.endpoint
    horizon = f"risk by day {endpoint.horizon_days:g}" if endpoint.horizon_days else "probability of the label"
    attributes = {
        "population": declared.population or facts.declared.context_of_use.intended_use,
        "variable": declared.variable or f"{endpoint.name}: {endpoint.definition}",
        "intercurrent events": declared.intercurrent_events,
        "summary": declared.summary or horizon,
    }
    left = [name for name, text in attributes.items() if not text]
    common |= {"value": float(len(left)), "details": attributes}
    if left:
        remedy = "say in `trial.estimand` how treatment changes and the like are handled"
        return Finding(Verdict.WARN, f"left open: {', '.join(left)}", remedy, **common)
    return Finding(Verdict.PASS, "population, variable, intercurrent events and summary are stated", **common)


@check(GATE, "RG21", "Evidence comes from patients", "data status")
def evidence_from_patients(case: Case) -> Finding:
    """The manifest says whose data these are; subjects named like simulated ones are never taken for patients."""
    facts = case.facts
    status = facts.manifest.get("data_status")
    subjects = pd.concat([facts.train["subject_id"], facts.test["subject_id"]])
    invented = int(subjects.str.startswith(SUBJECT_PREFIX).sum())
    common: dict[str, Any] = {
        "value": status,
        "n": len(subjects),
        "threshold": "no simulated data; with them `shadow` at most",
        "threshold_source": "a verdict is about patients; a simulated cohort returns what was put into it",
        "details": {"simulated_identifiers": invented},
    }
    if status is None or (invented and status != "simulated"):
        return Finding(
            Verdict.BLOCK,
            f"{invented} subjects are named {SUBJECT_PREFIX}…, the manifest calls the data {status}",
            "declare `source.data_status` as it is, then ingest again",
            **common,
        )
    if status == "simulated":
        return Finding(
            Verdict.INCONCLUSIVE,
            "the data are simulated; they show that the platform works, not that the model does",
            "train on patients' data; no waiver replaces them",
            **common,
        )
    return Finding(Verdict.PASS, f"the data are {status}", **common)

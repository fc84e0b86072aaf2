"""Gate 5, data inside the artifact: a model is what was learnt from patients, not the patients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.regulatory.identifiers import scan
from clinical_assets.gates.security.artifact_code import contents
from clinical_assets.gates.security.cohort_traces import CohortTraces
from clinical_assets.gates.security.stored_values import Stored, stored_values
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.card import golden_rows
from clinical_assets.modeling.encoder import Encoder

FEWEST_RECORDS = 3
"""Records that equal a patient's before a list counts: one may by chance."""


@check(GateName.SECURITY, "SE12", "No patients inside the artifact", "places that hold patients' data")
def data_in_artifact(case: Case) -> Finding:
    """Identifiers in texts, subjects by name, rows and columns of the cohort among records, tensors and lists."""
    facts, files = case.facts, case.once(contents)
    stored = stored_values(files)
    card = _card(files)
    frames = [frame for frame in (facts.train, facts.test) if len(frame)]
    traces = CohortTraces.of(facts.contract, frames, _encoder(card))
    found = {
        **_identifiers(case, stored),
        **_subjects(case, stored, frames),
        **_records(case, stored, frames, card),
        **{place: what for place, array in stored.arrays.items() if (what := traces.found_in(array))},
    }
    per_patient = [place for place, array in stored.arrays.items() if place not in found and traces.one_each(array)]
    common: dict[str, Any] = {
        "value": float(len(found)),
        "n": len(stored.arrays) + len(stored.records) + sum(map(len, stored.texts.values())),
        "threshold": "0 places",
        "threshold_source": "45 CFR 164.514; a model that carries its patients cannot leave the house",
        "details": {"found": found, "arrays": len(stored.arrays), "files": len(files), "per_patient": per_patient},
    }
    if not files:
        return Finding(Verdict.BLOCK, "the model directory is empty", "train and save the model again", **common)
    if found:
        listed = "; ".join(f"{place}: {what}" for place, what in list(found.items())[:5])
        remedy = "save coefficients and aggregates only (no prototypes, support vectors, rows or identifiers)"
        return Finding(Verdict.BLOCK, listed, remedy, **common)
    if per_patient:
        return Finding(
            Verdict.WARN,
            f"{', '.join(per_patient[:3])} holds one value for each patient of a split",
            "leave out what is stored per patient (residuals, risks, weights)",
            **common,
        )
    rows = len(facts.train) + len(facts.test)
    return Finding(Verdict.PASS, f"none of {rows} patients in {len(stored.arrays)} arrays and all texts", **common)


def _identifiers(case: Case, stored: Stored) -> dict[str, str]:
    score, known = case.policy.regulatory.identifier_score, case.facts.known_contacts
    texts = {place: scan(place, values, score, known) for place, values in stored.texts.items()}
    return {place: ", ".join(f"{one.entity} ({one.count})" for one in hits) for place, hits in texts.items() if hits}


def _subjects(case: Case, stored: Stored, frames: list[pd.DataFrame]) -> dict[str, str]:
    """Subject identifiers among the texts. A row number names nobody, so short numbers are not searched."""
    subjects = {str(one) for frame in frames for one in frame["subject_id"]}
    subjects = {one for one in subjects if len(one) >= 5 or not one.isdigit()}
    subjects -= {level for column in case.facts.contract.columns for level in column.categories or ()}
    counts = {place: len(subjects.intersection(values)) for place, values in stored.texts.items()}
    return {place: f"{count} subject identifiers" for place, count in counts.items() if count}


def _records(case: Case, stored: Stored, frames: list[pd.DataFrame], card: Mapping[str, Any]) -> dict[str, str]:
    """Records that equal a patient's in all their columns of the cohort, two at least.

    The card's rows with known answers are synthetic; that they are is shown by drawing them again.
    """
    found = {}
    for place, records in stored.records.items():
        names = [name for name in case.facts.contract.table_columns if any(name in record for record in records)]
        if len(names) < 2 or not frames or (place == "model.json.golden" and _drawn_again(records, card)):
            continue
        asked = {tuple(_plain(record.get(name)) for name in names) for record in records}
        known = {tuple(map(_plain, row)) for frame in frames for row in frame[names].itertuples(index=False, name=None)}
        both = len(asked & known)
        if both >= FEWEST_RECORDS:
            found[place] = f"{both} records that equal patients in {len(names)} columns"
    return found


def _plain(value: Any) -> float | str | None:
    if isinstance(value, bool | int | float | np.number):
        return None if np.isnan(float(value)) else float(value)
    return None if value is None or value is pd.NA else str(value)


def _drawn_again(records: list[dict[str, Any]], card: Mapping[str, Any]) -> bool:
    encoder = _encoder(card)
    if encoder is None:
        return False
    drawn = golden_rows(encoder, len(records))
    return [{name: record.get(name) for name in row} for record, row in zip(records, drawn, strict=True)] == drawn


def _card(files: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        card = json.loads(files.get("model.json", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def _encoder(card: Mapping[str, Any]) -> Encoder | None:
    try:
        return Encoder.from_state(card["encoder"])
    except (KeyError, TypeError, ValueError, IndexError):
        return None

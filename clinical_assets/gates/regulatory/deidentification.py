"""Gate 4, regulatory: nothing that identifies a patient, in the data, in the texts that are kept, or on the way out.

The 18 classes of the Safe Harbor rule (45 CFR 164.514(b)(2)) by name and by value, free text, dates and ages, and the
size of the groups in what leaves the platform.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.regulatory.disclosure import fine_details, small_cells
from clinical_assets.gates.regulatory.free_text import free_text_columns
from clinical_assets.gates.regulatory.identifiers import identifier_name, scan
from clinical_assets.gates.regulatory.policy import RegulatoryPolicy
from clinical_assets.gates.verdict import GateName, Verdict

GATE = GateName.REGULATORY


@check(GATE, "RG1", "No identifier among the columns", "columns named like a direct identifier")
def identifier_columns(case: Case) -> Finding:
    """Columns of both frames and of the contract, source names included; the pseudonymous subject column is exempt."""
    facts = case.facts
    subject = {column.name for column in facts.contract.columns if column.role == "subject"} | {"subject_id"}
    kept = [column for column in facts.contract.columns if column.role == "feature" or column.sensitive]
    names = {*map(str, facts.train.columns), *map(str, facts.test.columns), *(column.name for column in kept)}
    names = (names | {column.source_name for column in kept}) - subject
    hits = {name: words for name in sorted(names) if (words := identifier_name(name)) is not None}
    common: dict[str, Any] = {
        "value": float(len(hits)),
        "n": len(names),
        "threshold": "0 of the 18 Safe Harbor classes",
        "threshold_source": "45 CFR 164.514(b)(2)",
        "details": {"columns": hits},
    }
    if hits:
        text = ", ".join(f"{name} ({words})" for name, words in hits.items())
        return Finding(
            Verdict.BLOCK, f"named like an identifier: {text}", "drop the column, or rename it if it is none", **common
        )
    return Finding(Verdict.PASS, f"none of {len(names)} columns", **common)


@check(GATE, "RG2", "No identifier among the values", "identifiers found")
def identifier_values(case: Case) -> Finding:
    """Distinct texts of every column, whole numbers too long for a measurement, kept texts, the model's files."""
    facts, policy = case.facts, case.policy.regulatory
    found, scanned = [], 0
    for place, values in _places(facts, policy.max_scanned_values):
        scanned += len(values)
        found += scan(place, values, policy.identifier_score, facts.known_contacts)
    common: dict[str, Any] = {
        "value": float(sum(entry.count for entry in found)),
        "n": scanned,
        "threshold": f"0 with score >= {policy.identifier_score:g}",
        "threshold_source": f"45 CFR 164.514(b)(2); {RegulatoryPolicy.source('identifier_score')}",
        "details": {"found": [vars(entry) for entry in found]},
    }
    if found:
        text = "; ".join(map(str, found[:5]))
        return Finding(
            Verdict.BLOCK,
            f"looks like identifiers: {text}",
            "remove the values at the source, then ingest again",
            **common,
        )
    return Finding(Verdict.PASS, f"none in {scanned} distinct values and lines", **common)


def _places(facts: ReleaseFacts, limit: int) -> Iterator[tuple[str, list[str]]]:
    """Where identifiers could hide, with the distinct texts there."""
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    for name in frame.columns:
        values = frame[name].dropna()
        if pd.api.types.is_datetime64_any_dtype(values):
            continue
        if pd.api.types.is_numeric_dtype(values):
            long = values[(values.abs() >= 1e8) & (values == values.round())]
            texts = [f"{name} {number:.0f}" for number in long.unique()]
        else:
            texts = [str(value) for value in values.unique()]
        yield f"column {name}", texts[:: -(-len(texts) // limit)] if len(texts) > limit else texts
    for name, text in facts.artifacts_text.items():
        yield name, text.splitlines()
    for path in _text_files(facts.model_dir):
        yield f"model file {path.name}", path.read_text(errors="replace").splitlines()


def _text_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.suffix in (".json", ".txt", ".md") and path.is_file())


@check(GATE, "RG3", "No free text among the columns", "columns of free text")
def free_text(case: Case) -> Finding:
    """Patterns do not find names in prose, and no language model is at hand that would: free text does not pass."""
    facts, policy = case.facts, case.policy.regulatory
    found, texts = free_text_columns(facts, policy.free_text_words, policy.free_text_distinct)
    common: dict[str, Any] = {
        "value": float(len(found)),
        "n": texts,
        "threshold": f"0; prose is {policy.free_text_words} words or more outside a declared list of categories",
        "threshold_source": f"45 CFR 164.514(b)(2)(i)(A); {RegulatoryPolicy.source('free_text_words')}",
        "details": {"columns": found},
    }
    if found:
        named = "; ".join(f"{name}: {what}" for name, what in found.items())
        remedy = "drop the column, or code it into declared categories at the source; then ingest again"
        return Finding(Verdict.BLOCK, f"free text, which can name a patient: {named}", remedy, **common)
    return Finding(Verdict.PASS, f"none of {texts} text columns", **common)


@check(GATE, "RG4", "No dates, high ages or fine places", "columns with details finer than Safe Harbor")
def fine_detail(case: Case) -> Finding:
    """Dates finer than a year, ages over 89, five-digit postal codes. Named inside, refused on the way out."""
    facts = case.facts
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    inside = fine_details(frame, facts.contract, allowed=("subject_id",))
    outside = {
        f"{table.name}.{name}": what
        for table in facts.exports
        for name, what in fine_details(table.frame, facts.contract).items()
    }
    common: dict[str, Any] = {
        "value": float(len(inside) + len(outside)),
        "n": facts.train.shape[1] + sum(table.frame.shape[1] for table in facts.exports),
        "threshold": "0 in exports; inside the platform they are named",
        "threshold_source": "45 CFR 164.514(b)(2)(i)(B) and (C)",
        "details": {"inside": inside, "exported": outside},
    }
    if outside:
        named = "; ".join(f"{name}: {what}" for name, what in outside.items())
        return Finding(Verdict.BLOCK, f"would be exported: {named}", "export years, ages up to 89, regions", **common)
    if inside:
        named = "; ".join(f"{name}: {what}" for name, what in inside.items())
        return Finding(
            Verdict.WARN,
            f"inside the platform, not exported: {named}",
            "coarsen at the source where the model does not need it",
            **common,
        )
    return Finding(Verdict.PASS, f"none in {common['n']} columns", **common)


@check(GATE, "RG5", "Exports show no small groups", "smallest group in an export")
def small_groups(case: Case) -> Finding:
    """k-anonymity over the sensitive attributes of row-level tables; counts in aggregated ones and in the bundle."""
    facts, policy = case.facts, case.policy.regulatory
    common: dict[str, Any] = {
        "threshold": f"{policy.smallest_group} patients in a group or none, {policy.smallest_diversity} outcomes",
        "threshold_source": RegulatoryPolicy.source("smallest_group"),
        "n": len(facts.exports) + (facts.bundle is not None),
    }
    if not common["n"]:
        return Finding(Verdict.PASS, "does not apply: nothing is exported with this release yet", **common)
    judged = [
        small_cells(table, facts.contract, policy.smallest_group, policy.smallest_diversity) for table in facts.exports
    ]
    faults = [fault for result in judged for fault in result.faults]
    faults += [f"bundle: {place}" for place in (facts.bundle.small_cells if facts.bundle else ())]
    smallest = [result.smallest for result in judged if result.smallest is not None]
    common |= {"value": float(min(smallest)) if smallest else float(len(faults)), "details": {"faults": faults}}
    if faults:
        more = f"; {len(faults) - 3} more" * (len(faults) > 3)
        return Finding(Verdict.BLOCK, "; ".join(faults[:3]) + more, "suppress or merge the small groups", **common)
    return Finding(Verdict.PASS, f"no small group in {common['n']} exports", **common)

"""The draft itself: source, outcome, columns and leaks of an unknown data file, as a contract that loads."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import pandas as pd

from clinical_assets.drafting.errors import DraftError
from clinical_assets.drafting.location import missing_texts
from clinical_assets.drafting.names import SUBJECT, contract_name, words
from clinical_assets.drafting.outcome import event_coding, event_rate, proposed_horizon
from clinical_assets.drafting.proposals import Proposal, propose
from clinical_assets.gates.performance.leakage import largest_separation
from clinical_assets.gates.thresholds import PerformancePolicy
from clinical_assets.trials.canonical_table import canonical_table
from clinical_assets.trials.codes import codes
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.numeric import numbers
from clinical_assets.trials.placeholder import TO_BE_COMPLETED
from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.read import RawTable
from clinical_assets.trials.sources.rows import apply_row_rules, without_missing_text
from clinical_assets.trials.sources.spec import ROW_RULES, SourceSpec
from clinical_assets.trials.table_digest import table_sha256

AUDITED = {"age": "age", "sex": "sex", "gender": "sex", "race": "race", "ethnic": "race", "ethnicity": "race"}
"""Words in column names, and the attribute of a fairness audit that they stand for."""


@dataclass(frozen=True)
class Question:
    """What only the person knows: the outcome, and who a row is about. Names are columns of the source.

    `horizon` is in days. `rows_are_subjects` says that no column identifies subjects and that no subject has two rows.
    """

    time: str = ""
    event: str = ""
    label: str = ""
    event_values: tuple[str, ...] = ()
    time_unit: str = "days"
    horizon: float | None = None
    subject: str = ""
    rows_are_subjects: bool = False
    index_date: str = ""

    @property
    def outcome(self) -> tuple[str, ...]:
        return (self.label,) if self.label else (self.time, self.event)


@dataclass(frozen=True)
class Draft:
    """A source and a contract that fit each other, with remarks for the person by column, and counts."""

    source: SourceSpec
    contract: CohortContract
    remarks: dict[str, str]
    rows: int
    events: int
    notes: tuple[str, ...]


def draft(source: SourceSpec, question: Question) -> Draft:
    """Read `source` and propose a contract for `question`.

    Raises:
        DraftError: a column that the source does not have, subjects with several rows, an unclear outcome, no feature.
        SourceError, ContractError: the source cannot be read.
    """
    reading = kind_reader(source.kind).read(source)
    labels = reading.frame.attrs.get("labels", {})
    frame = reading.frame.rename(columns=str)
    _check_columns(frame, source, question)
    source = source.model_copy(update={"missing": missing_texts(frame, source.missing)})
    frame = without_missing_text(frame, source.missing)
    source, notes = _row_rules(source, frame, question)
    frame, _ = apply_row_rules(frame, source)
    subject = _subject(frame, question)
    if not subject:
        source = source.model_copy(update={"content_sha256": table_sha256(reading.frame)})
    notes.append(f"subjects: column {subject}" if subject else "subjects: one per row, numbered; the content is pinned")
    columns = _columns(frame, subject, question, labels, notes)
    raw = RawTable(frame, source.label, "", "", "", "", ())
    return _judged(source, raw, columns, subject, question, notes)


def _check_columns(frame: pd.DataFrame, source: SourceSpec, question: Question) -> None:
    found = frame.columns.tolist()
    if bool(question.label) == bool(question.time or question.event) or bool(question.time) != bool(question.event):
        raise DraftError(
            "name the outcome: --time COL and --event COL, or --label COL; the columns are " + ", ".join(found)
        )
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise DraftError(f"{source.label}: column {', '.join(twice)} appears more than once; rename it in the source")
    rules = [name for rule in ROW_RULES for name in getattr(source, rule)]
    for name in (*question.outcome, question.subject, question.index_date, *rules):
        if name and name not in found:
            close = difflib.get_close_matches(name, found, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise DraftError(f"the source has no column {name!r}; {hint}it has {', '.join(found)}")


def _row_rules(source: SourceSpec, frame: pd.DataFrame, question: Question) -> tuple[SourceSpec, list[str]]:
    """Rows without an outcome, or without follow-up, are left out by a declared and counted rule."""
    notes, rules = [], {}
    chosen, _ = apply_row_rules(frame, source)
    unknown = [name for name in question.outcome if chosen[name].isna().any()]
    if unknown:
        rules["require"] = (*source.require, *(name for name in unknown if name not in source.require))
        left_out = int(chosen[unknown].isna().any(axis="columns").sum())
        notes.append(f"rows: {left_out} of {len(chosen)} have no outcome and are left out (`source.require`)")
    if question.time:
        time, _ = numbers(chosen[question.time])
        if none := int((time <= 0).sum()):
            rules["above"] = {**source.above, question.time: 0}
            notes.append(f"rows: {none} of {len(chosen)} have no follow-up and are left out (`source.above`)")
    return source.model_copy(update=rules), notes


def _subject(frame: pd.DataFrame, question: Question) -> str:
    """The column that identifies subjects, or "" where each row is one."""
    if question.rows_are_subjects:
        return ""
    named = [name for name in frame.columns if SUBJECT.fullmatch(name)]
    subject = question.subject or next(iter(named), "")
    if not subject:
        return ""
    spelt = codes(frame[subject])
    if again := int((spelt.duplicated() | spelt.isna()).sum()):
        raise DraftError(
            f"column {subject!r} repeats or misses a subject in {again} of {len(frame)} rows; one row per subject is "
            "needed: choose rows with --where COL=VALUE, name another column with --subject, or say --rows-are-subjects"
        )
    return subject


def _columns(
    frame: pd.DataFrame, subject: str, question: Question, labels: dict[str, str], notes: list[str]
) -> list[Proposal]:
    known = {subject: "subject", question.index_date: "index_date", question.time: "time", question.event: "event",
             question.label: "label"}  # fmt: skip
    columns, taken = [], set()
    for source in map(str, frame.columns):
        role = known.get(source)
        name = contract_name(source, taken, is_outcome=source in question.outcome)
        taken.add(name)
        if role is None:
            columns.append(propose(name, source, frame[source], labels.get(source, "")))
            continue
        fields = {"name": name} | ({"source": source} if source != name else {}) | {"role": role}
        proposal = Proposal(fields)
        if role in ("event", "label"):
            coding = event_coding(source, frame[source], question.event_values)
            proposal.fields |= {"dtype": "boolean"} | ({"recode": coding.recode} if coding.recode else {})
            proposal.remarks.append(coding.said)
            notes.append(f"outcome: {coding.said} in column {source}")
        elif role == "time":
            proposal.fields |= {"unit": question.time_unit.removesuffix("s")}
        else:
            proposal.fields |= {"dtype": "category" if role == "subject" else "date"}
        columns.append(proposal)
    return columns


def _judged(
    source: SourceSpec, raw: RawTable, columns: list[Proposal], subject: str, question: Question, notes: list[str]
) -> Draft:
    """Without the features that give the outcome away, and with the event rate that the data show."""
    contract = _contract(raw, columns, subject, question)
    table = canonical_table(raw, contract)
    for name, auc in largest_separation(table, contract, PerformancePolicy()).items():
        _suspect(next(column for column in columns if column.name == name), auc, bool(question.label), notes)
    horizon = None if question.label else question.horizon or proposed_horizon(table["time"].to_numpy(float))
    rate, band = event_rate(table, horizon)
    final = _contract(raw, columns, subject, question, horizon, band, rate)
    remarks = {column.name: "; ".join(column.remarks) for column in columns if column.remarks}
    events = int(table["label" if question.label else "event"].sum())
    return Draft(source, final, remarks, len(table), events, tuple(notes))


def _suspect(column: Proposal, auc: float, binary: bool, notes: list[str]) -> None:
    """Leave a column out that separates early events as the leakage check of the gates would not let pass."""
    policy = PerformancePolicy()
    block, warn = (policy.leak_label, policy.leak_block) if binary else (policy.leak_block, policy.leak_warn)
    if auc >= block:
        reason = f"Gives the outcome away (AUC {auc:.2f}); a feature only if it was known before"
        column.leave_out("post_baseline", reason)
        notes.append(f"suspected leak: {column.name} (AUC {auc:.2f}) is left out as post-baseline")
    elif auc >= warn:
        column.remarks.append(f"LEAK? AUC {auc:.2f} alone")
        notes.append(f"suspected leak: {column.name} (AUC {auc:.2f}) is a feature; find out when it is recorded")


def _contract(
    raw: RawTable,
    columns: list[Proposal],
    subject: str,
    question: Question,
    horizon: float | None = 1.0,
    band: tuple[float, float] = (0.0, 1.0),
    rate: float = 0.5,
) -> CohortContract:
    """
    Raises:
        DraftError: no column is left as a feature.
    """
    if not any(column.fields["role"] == "feature" for column in columns):
        reasons = ", ".join(
            f"{column.name} ({column.fields.get('reason', column.fields['role'])})" for column in columns
        )
        raise DraftError(f"no column can be a feature: {reasons}")
    seen = {AUDITED[word] for column in columns for word in words(column.name) if word in AUDITED}
    endpoint = {
        "kind": "binary" if question.label else "survival",
        "name": TO_BE_COMPLETED,
        "definition": TO_BE_COMPLETED,
        "event_rate_band": band,
        "decision_threshold": min(0.95, max(0.05, round(20 * rate) / 20)),
    }
    if not question.label:
        endpoint |= {"horizon_days": horizon, "time_unit": question.time_unit}
    return CohortContract.model_validate(
        {
            "endpoint": endpoint,
            "index_date": _index_date(raw, columns, question),
            "bands": {column.name: column.bands for column in columns if column.bands},
            "not_collected": [name for name in ("age", "sex", "race", "socio_economic_position") if name not in seen],
            "subject_from": "column" if subject else "row_number",
            "columns": [column.fields for column in columns],
        }
    )


def _index_date(raw: RawTable, columns: list[Proposal], question: Question) -> dict[str, Any]:
    note = f"{TO_BE_COMPLETED}: at which clinical moment is the prediction made?"
    if not question.index_date:
        return {"kind": "nominal", "date": "2000-01-01", "note": f"{note} The day is a placeholder."}
    column = next(column for column in columns if column.fields["role"] == "index_date")
    years, text = numbers(raw.frame[question.index_date])
    if text.any() or not ((years >= 1900) & (years <= 2100)).all():
        return {"kind": "calendar", "column": column.name, "note": note}
    column.fields["dtype"] = "integer"
    return {
        "kind": "calendar",
        "column": column.name,
        "day_of_year": "07-01",
        "note": f"{note} 1 July stands for the day.",
    }

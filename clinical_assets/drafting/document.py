"""A draft as the YAML file that a person completes: one line a column, with the remarks beside it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from clinical_assets.drafting.draft import Draft
from clinical_assets.trials.placeholder import TO_BE_COMPLETED

HEADER = f"""
A draft by `clinical new-cancer`. It loads and trains as it is; the gates refuse its model until you have

1. replaced every "{TO_BE_COMPLETED}" (units, licence, citation, endpoint, context of use; check RG13),
2. given every feature its `available_at`: the day, counted from the index date, on which its value is known; 0 or less,
   or it is no feature but `post_baseline` (check MP15a),
3. read every guess: roles, types, categories and their order, plausible ranges (proposed from the data, rounded
   outwards), bands, event coding, horizon, event rate band and decision threshold.
"""


@dataclass(frozen=True)
class Heading:
    """What the file says about the cancer type itself; `icd10` stands for no particular site unless given."""

    slug: str
    title: str
    icd10: str
    owner: str


def document(draft: Draft, heading: Heading) -> str:
    """The content of `configs/cancers/<slug>.yaml`."""
    tested = round(0.3 * draft.events)
    task = "prognosis" if draft.contract.endpoint.kind == "survival" else "diagnosis"
    site = "" if heading.icd10 != "C80" else f"   # {TO_BE_COMPLETED}: C80 names no site"
    return "\n".join(
        [
            "# yaml-language-server: $schema=../cancer.schema.json",
            *(f"# {line}".rstrip() for line in HEADER.strip().splitlines()),
            f"slug: {heading.slug}",
            f"title: {_flow(heading.title)}",
            f"icd10: {heading.icd10}{site}",
            f"task: {task}",
            "tier: research",
            f"tier_reason: {draft.events} events in {draft.rows} patients; about {tested} in the locked test split.",
            "risk_class: high",
            f"owners: [{_flow(heading.owner)}]",
            "",
            "context_of_use:",
            *(f"  {key}: {TO_BE_COMPLETED}" for key in ("intended_use", "users", "not_for")),
            "",
            "source:",
            *_section(draft.source),
            "",
            f"split: {{salt: {heading.slug}-1, test_fraction: 0.30}}",
            "",
            "contract:",
            "  endpoint:",
            *_section(draft.contract.endpoint, 4, ("kind", "name", "definition")),
            "  index_date:",
            *_section(draft.contract.index_date, 4, ("kind",)),
            *([f"  bands: {_flow(_plain(draft.contract.bands))}"] if draft.contract.bands else []),
            f"  not_collected: {_flow(list(draft.contract.not_collected))}   # attributes a fairness audit would want",
            *(["  subject_from: row_number"] if draft.contract.subject_from == "row_number" else []),
            "  columns:",
            *_columns(draft),
            "",
        ]
    )


def _columns(draft: Draft) -> list[str]:
    lines = []
    for column in draft.contract.columns:
        fields = _given(column)
        if column.role == "feature":
            fields["available_at"] = None
        remark = draft.remarks.get(column.name)
        lines.append(f"    - {_flow(fields)}{f'   # {remark}' if remark else ''}")
    return lines


def _section(model: BaseModel, indent: int = 2, first: tuple[str, ...] = ("kind",)) -> list[str]:
    fields = _given(model)
    ordered = {name: fields[name] for name in first if name in fields} | fields
    return [textwrap.indent(f"{name}: {_flow(value)}", " " * indent) for name, value in ordered.items()]


def _given(model: BaseModel) -> dict[str, Any]:
    """Fields that differ from their default, in the order of the model."""
    return _plain(model.model_dump(exclude_defaults=True))


def _plain(value: Any) -> Any:
    """With whole numbers written as such."""
    if isinstance(value, dict):
        return {key: _plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flow(value: Any) -> str:
    """One line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1_000_000)
    return text.removesuffix("\n").removesuffix("\n...")

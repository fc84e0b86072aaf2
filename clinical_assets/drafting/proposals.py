"""What a column probably is: role, type, categories, range. Of patients' values only levels and round bounds pass."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.drafting.names import is_sensitive, learnt_afterwards, words
from clinical_assets.gates.regulatory.identifiers import identifier_name, scan
from clinical_assets.gates.thresholds import RegulatoryPolicy
from clinical_assets.trials.codes import codes
from clinical_assets.trials.numeric import numbers
from clinical_assets.trials.placeholder import TO_BE_COMPLETED

MAX_LEVELS = 20
"""Text with more different values is free text or an identifier rather than a category."""
MAX_LEVEL_LENGTH = 60
FEW = 5
"""Levels with fewer patients are worth merging."""

_DATE = re.compile(r"\d{4}-\d{2}(-\d{2}([T ].*)?)?$|\d{1,2}[./]\d{1,2}[./]\d{4}$")
_TRUTH = {"yes": 1, "no": 0, "y": 1, "n": 0}


@dataclass
class Proposal:
    """`fields` of a contract's column, a `remark` beside it, and band edges when it is a sensitive number."""

    fields: dict[str, Any]
    remarks: list[str] = field(default_factory=list)
    bands: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return self.fields["name"]

    def leave_out(self, role: str, reason: str) -> None:
        """Turn a feature into a column that models do not see."""
        kept = {key: self.fields[key] for key in ("name", "source") if key in self.fields}
        self.fields = {**kept, "role": role, "reason": reason}
        self.bands = ()


def propose(name: str, source: str, values: pd.Series, label: str = "") -> Proposal:
    """Role `feature` unless something speaks against it. `available_at` stays null: no file knows it."""
    head = {"name": name} | ({"source": source} if source != name else {})
    spelt = codes(values)
    levels = spelt.value_counts()
    reason = _unusable(source, values, levels)
    if reason:
        return Proposal({**head, "role": "ignored", "reason": reason})
    fields, remarks = _typed(values, levels)
    if fields is None:
        return Proposal({**head, "role": "ignored", "reason": remarks[0]})
    proposal = Proposal({**head, "role": "feature", **fields, "available_at": None}, remarks)
    share = float(spelt.isna().mean())
    if share:
        proposal.remarks.insert(0, f"{share:.0%} missing" if share >= 0.01 else "under 1 % missing")
    if share > 0.04:
        proposal.fields["max_missing"] = min(1.0, math.ceil(20 * (share + 0.02)) / 20)
    if is_sensitive(source):
        proposal.fields["sensitive"] = True
        _describe_age(proposal, source)
        proposal.bands = _bands(values) if "unit" in fields else ()
    if label:
        proposal.fields["description"] = label
    if hint := learnt_afterwards(source):
        proposal.leave_out(
            "post_baseline", f"Named after something that is learnt later ({hint}); a feature if it was known before"
        )
    return proposal


def _unusable(source: str, values: pd.Series, levels: pd.Series) -> str:
    """Why a column cannot be a feature, or ""."""
    if levels.empty:
        return "Empty"
    if len(levels) == 1:
        return "Constant"
    if hint := identifier_name(source):
        return f"Named like an identifier ({hint}); remove it from the source if it is one"
    text = [str(level) for level in levels.index]
    if not pd.api.types.is_numeric_dtype(values):
        score = RegulatoryPolicy().identifier_score
        if found := scan(source, text, score):
            return f"Values look like identifiers ({', '.join(sorted({hit.entity for hit in found}))}); remove it"
    different = len(levels) == len(values) > MAX_LEVELS and all(level.isdigit() for level in text)
    if different and {"id", "no", "nr", "num", "number", "row"} & set(words(source)):
        return "A different number in every row: an identifier"
    if pd.api.types.is_datetime64_any_dtype(values) or all(_DATE.match(level) for level in text):
        return "A date; derive a duration in days if it was known by the index date"
    return ""


def _typed(values: pd.Series, levels: pd.Series) -> tuple[dict[str, Any] | None, list[str]]:
    """Fields of the type with remarks; None with the reason when the column fits no type."""
    text = [str(level) for level in levels.index]
    if {level.lower() for level in text} <= {"0", "1", "0.0", "1.0", "true", "false"}:
        return {"dtype": "boolean"}, []
    if {level.lower() for level in text} <= _TRUTH.keys():
        return {"dtype": "boolean", "recode": {level: _TRUTH[level.lower()] for level in sorted(text)}}, []
    parsed, unreadable = numbers(values)
    coded = len(text) == 2 or any(re.match(r"-?0\d", level) for level in text)
    if not unreadable.any() and not coded:
        return _measured(parsed[np.isfinite(parsed)], len(text))
    if len(text) > MAX_LEVELS or max(map(len, text)) > MAX_LEVEL_LENGTH:
        return None, [f"{len(text)} different texts: free text or an identifier"]
    remarks = []
    if all(re.fullmatch(r"-?\d+(\.\d+)?", level) for level in text):
        remarks.append("codes: give them readable names with `recode`")
    if rare := int((levels < FEW).sum()):
        remarks.append(f"{rare} of {len(levels)} levels with fewer than {FEW} patients: merge them with `recode`?")
    return {"dtype": "category", "categories": sorted(text)}, remarks


def _measured(found: np.ndarray, levels: int) -> tuple[dict[str, Any], list[str]]:
    whole = bool((found == np.round(found)).all())
    low, high = float(found.min()), float(found.max())
    remarks = []
    if whole and levels <= 10 and low >= 0:
        remarks.append(f"{levels} whole numbers: if they are codes, declare a category with `recode`")
    if low < 0 < np.median(found):
        remarks.append("some are negative: if that means missing, list the code in `source.missing`")
    bounds = [0 if low >= 0 else -_round_up(-low), _round_up(high) if high > 0 else 0]
    return {
        "dtype": "integer" if whole else "number",
        "unit": TO_BE_COMPLETED,
        "plausible_range": bounds,
    }, remarks


def _round_up(value: float) -> float:
    """1, 2 or 5 times a power of ten, at least half as large again as `value`: a bound that is no patient's value."""
    scale = 10.0 ** math.floor(math.log10(1.5 * value))
    bound = next(step * scale for step in (1, 2, 5, 10) if step * scale >= 1.5 * value)
    return int(bound) if bound >= 1 else float(f"{bound:.1g}")


def _describe_age(proposal: Proposal, source: str) -> None:
    """Age in years is the one measurement that can be told from its name and its range."""
    bounds = proposal.fields.get("plausible_range")
    if bounds and "age" in words(source) and bounds[0] == 0 and 100 <= bounds[1] <= 200:
        proposal.fields |= {"unit": "year", "plausible_range": [0, 120]}


def _bands(values: pd.Series) -> tuple[float, ...]:
    """Round edges near the terciles, each with patients on both sides; one edge when there is room for no more."""
    found, _ = numbers(values)
    found = found[np.isfinite(found)]
    step = 5.0 if np.ptp(found) >= 20 else 1.0
    edges = sorted({step * round(float(edge) / step) for edge in np.quantile(found, [1 / 3, 2 / 3])})
    inside = tuple(edge for edge in edges if found.min() < edge <= found.max())
    return inside or (float(np.ceil(np.median(found))),)

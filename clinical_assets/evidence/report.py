"""The report that people read: one HTML file without script or network, every number of which cites the bundle."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import unescape
from importlib import resources
from itertools import zip_longest
from typing import Any

from clinical_assets.evidence.citation import resolve
from clinical_assets.evidence.words import GATES, SCOPES, TIERS, VERDICTS
from clinical_assets.gates.verdict import GateName, Scope, Tier, Verdict

CAPTIONS = {
    "calibration": (
        "Do predicted and observed risk agree?",
        "Each dot is a group of patients of similar predicted risk, with its 95 % interval; the line is a smooth "
        "estimate over all of them, the shade its 95 % band. On the dashed diagonal prediction and observation agree.",
    ),
    "discrimination": (
        "Does it tell patients apart?",
        "Higher is better. The dashed line is what a coin would reach; the shade is the 95 % interval.",
    ),
    "risk-groups": (
        "What happened to patients whom it called low, middle and high risk?",
        "The further apart, the better. Curves end where fewer than 11 patients are still observed.",
    ),
    "drift": (
        "Do the test patients resemble the others?",
        "The columns that moved most. Below 0.1 is hardly any change, above 0.2 asks for a look.",
    ),
    "decision-curve": (
        "Is it worth acting on?",
        "Where the solid line lies above both others, acting on the model does more good than treating everybody or "
        "nobody. The dashed upright line marks the threshold that was declared before the test.",
    ),
}


def render(parsed: Mapping[str, Any], plots: Mapping[str, bytes]) -> str:
    """
    Args:
        parsed: the bundle's JSON documents by path; `card.json`, `metrics.json`, `tables/*.json` and
            `records/decision.json` are read.
        plots: SVG by name.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("clinical_assets.evidence", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["day"] = _day
    environment.filters["marked"] = _marked
    card, record = parsed["card.json"], parsed["records/decision.json"]
    checks = _checks(record, {limit["check"] for limit in card["about"]["in_the_way"]})
    return environment.get_template("report.html.j2").render(
        card=card,
        record=record,
        metrics=parsed["metrics.json"],
        cohort=parsed["tables/cohort.json"],
        groups=_groups(parsed["tables/subgroups.json"]["rows"]),
        measured={entry["check"]: entry for entry in card["performance"]},
        open_checks=[check for check in checks if check["verdict"] != Verdict.PASS],
        passed=_by_gate([check for check in checks if check["verdict"] == Verdict.PASS]),
        number=_Numbers(parsed),
        held=lambda pointer: resolve(pointer, parsed.__getitem__),
        plots={name: Markup(svg.decode()) for name, svg in plots.items()},
        captions=CAPTIONS,
        array=_array(parsed["metrics.json"]["of_100"]),
        style=Markup(resources.files("clinical_assets.evidence").joinpath("report.css").read_text()),
        words=lambda verdict: VERDICTS[Verdict(verdict)],
        scope=SCOPES[Scope(record["scope"])],
        tier=TIERS[Tier(record["tier"])],
    )


class _Numbers:
    """Writes a cited number as `<data>`, rounded for the eye and exact for whoever verifies."""

    def __init__(self, parsed: Mapping[str, Any]) -> None:
        self._parsed = parsed

    def __call__(self, evidence: str | Mapping[str, Any], digits: int | None = 0, scale: float = 1.0) -> Any:
        """Without `digits`, three significant ones; a count or other text of the evidence stays as it is."""
        from markupsafe import Markup, escape

        pointer = evidence if isinstance(evidence, str) else evidence["evidence"]
        value = resolve(pointer, self._parsed.__getitem__)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return Markup(f'<span data-evidence="{escape(pointer)}">{escape(str(value))}</span>')
        if digits is None:
            exact = float(value).is_integer() or not value
            digits = 0 if exact else max(0, 2 - math.floor(math.log10(abs(value * scale))))
        text = f"{value * scale:,.{digits}f}"
        text = text.replace("-", "−") if float(text.replace(",", "")) else f"{0:.{digits}f}"
        return Markup(f'<data value="{value!r}" data-scale="{scale:g}" data-evidence="{escape(pointer)}">{text}</data>')


def _checks(record: Mapping[str, Any], deciding: set[str]) -> list[dict[str, Any]]:
    """Checks of all gates, worst first and those first that keep the scope narrow, with their place in the record."""
    found = [
        {
            **check,
            "gate": GATES[GateName(gate)],
            "place": f"records/decision.json#/reports/{gate}/checks/{index}",
            "deciding": check["id"] in deciding,
        }
        for gate, report in sorted(record["reports"].items(), key=lambda item: list(GATES).index(GateName(item[0])))
        for index, check in enumerate(report["checks"])
    ]
    return sorted(found, key=lambda check: (list(VERDICTS).index(Verdict(check["verdict"])), not check["deciding"]))


def _groups(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Group -> metric -> place of its row in the table."""
    found: dict[str, dict[str, int]] = {}
    for index, row in enumerate(rows):
        name = row["group"] if row["attribute"] == "all" else f"{row['attribute'].replace('_', ' ')} {row['group']}"
        found.setdefault(name.replace(">=", "≥ ").replace("<", "< "), {})[row["metric"]] = index
    return found


def _by_gate(checks: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    return {gate: found for gate in GATES.values() if (found := [check for check in checks if check["gate"] == gate])}


def _array(of_100: Mapping[str, int] | None) -> list[list[str]] | None:
    """Rows of ten: which kind each of 100 patients is."""
    if of_100 is None:
        return None
    kinds = [kind for kind, count in of_100.items() for _ in range(count)]
    return [[kind for kind in row if kind] for row in zip_longest(*[iter(kinds)] * 10)]


def _marked(text: str) -> Any:
    """Commands between back-ticks as code, a capital letter first; everything else escaped."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text[:1].upper() + text[1:]))))


def _day(moment: str) -> str:
    at = datetime.fromisoformat(moment)
    return f"{at.day} {at:%B %Y}"


def numbers_shown(html: str) -> list[tuple[str, str, float, str]]:
    """(evidence, exact value, scale, text) of every number that a report shows with its evidence."""
    pattern = r'<data value="([^"]*)" data-scale="([^"]*)" data-evidence="([^"]*)">([^<]*)</data>'
    return [(unescape(found[3]), found[1], float(found[2]), found[4]) for found in re.finditer(pattern, html)]


def texts_shown(html: str) -> list[tuple[str, str]]:
    """(evidence, text) of every text that a report quotes with its evidence."""
    pattern = r'<span data-evidence="([^"]*)">([^<]*)</span>'
    return [(unescape(found[1]), unescape(found[2])) for found in re.finditer(pattern, html)]

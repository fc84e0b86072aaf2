"""The pictures of a bundle, drawn from its own measures: nothing is shown that the numbers do not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clinical_assets.evidence.svg import BLUE, INK, QUIET, SERIES, WIDTH, Axis, Chart, Point, percent_axis, time_axis

if TYPE_CHECKING:
    from clinical_assets.gates.verdict import CheckResult

ROW = 22.0
FOREST = "observed / expected"


def pictures(measures: Mapping[str, Any], subgroups: Sequence[Mapping[str, Any]], row_flow: Mapping[str, Any],
             moved: CheckResult | None) -> dict[str, bytes]:  # fmt: skip
    """SVG by name; a picture whose numbers do not exist is left out."""
    drawn = {
        "calibration": calibration(measures),
        "discrimination": discrimination(measures),
        "decision-curve": decision_curve(measures),
        "risk-groups": risk_groups(measures),
        "subgroups": forest(subgroups),
        "row-flow": flow(row_flow),
        "drift": drift(moved),
    }
    return {name: svg for name, svg in drawn.items() if svg is not None}


def calibration(measures: Mapping[str, Any]) -> bytes | None:
    found = measures["calibration"]
    if found is None:
        return None
    groups = found["groups"]
    top = max([*_known(found["high"]), *_known(found["observed"]), *(g["observed"]["high"] for g in groups)])
    high = min(1.0, max(0.1, 1.08 * max(top, found["predicted"][-1])))
    chart = Chart(
        "calibration", "Predicted and observed risk",
        "Observed against predicted risk. On the dashed diagonal both agree. "
        + " ".join(f"Predicted {g['predicted']:.0%}: observed {g['observed']['value']:.0%} "
                   f"({g['observed']['low']:.0%} to {g['observed']['high']:.0%})." for g in groups),
        percent_axis("predicted risk", high), percent_axis("observed risk", high),
    )  # fmt: skip
    chart.rule((0.0, 0.0), (high, high))
    low, upper = _zip(found["predicted"], found["low"]), _zip(found["predicted"], found["high"])
    chart.band(low, upper)
    chart.line(_zip(found["predicted"], found["observed"]))
    for group in groups:
        seen = group["observed"]
        chart.whisker((group["predicted"], seen["low"]), (group["predicted"], min(seen["high"], high)), INK)
        chart.dot((group["predicted"], seen["value"]), INK)
    return chart.render()


def discrimination(measures: Mapping[str, Any]) -> bytes | None:
    found = measures["discrimination"]
    if found is None:
        return None
    if found["kind"] == "roc":
        chart = Chart(
            "discrimination", "Sensitivity and false alarms",
            "Share of those with the event recognised, over the share of the others who are flagged by mistake.",
            percent_axis("false alarms among those without the event"), percent_axis("recognised"),
        )  # fmt: skip
        chart.rule((0.0, 0.0), (1.0, 1.0))
        chart.line(_zip(found["false_positive"], found["true_positive"]))
        return chart.render()
    points = found["points"]
    floor = min(0.4, *(point["low"] for point in points))
    ticks = tuple((0.1 * step, f"{10 * step}") for step in range(int(floor * 10), 11) if 0.1 * step >= floor)
    chart = Chart(
        "discrimination", "How often the right patient of two is ranked higher, over time",
        " ".join(f"By {p['days'] / 365.25:.1f} years: {p['auc']:.2f} ({p['low']:.2f} to {p['high']:.2f})."
                 for p in points) + " A coin would reach 0.50.",
        time_axis(measures["horizon_days"]), Axis("right pairs of 100", floor, 1.0, ticks),
    )  # fmt: skip
    chart.rule((chart.x.low, 0.5), (chart.x.high, 0.5))
    chart.label((chart.x.high, 0.5), "a coin: 50", "end", QUIET, rise=6)
    days = [point["days"] for point in points]
    chart.band(_zip(days, [p["low"] for p in points]), _zip(days, [p["high"] for p in points]))
    chart.line(_zip(days, [point["auc"] for point in points]))
    for point in points:
        chart.dot((point["days"], point["auc"]), size=3.5)
    return chart.render()


def decision_curve(measures: Mapping[str, Any]) -> bytes | None:
    found = measures["decision_curve"]
    at = found["threshold"]
    top = max(0.02, 1.12 * max(*found["model"], *found["treat_all"]))
    low = -0.25 * top
    step = next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if top / step <= 6), 0.25)
    ticks = tuple((step * index, f"{100 * step * index:.0f}") for index in range(int(top / step) + 1))
    declared = measures["decision_threshold"]
    chart = Chart(
        "decision-curve", "Is acting on the model better than treating everybody or nobody?",
        f"Net benefit for each 100 patients over the risk from which one would act. Declared: {declared:.0%}.",
        percent_axis("risk from which one would act", at[-1]), Axis("net benefit for each 100", low, top, ticks),
    )  # fmt: skip
    chart.rule((declared, low), (declared, top))
    chart.line([(x, y) for x, y in zip(at, found["treat_all"], strict=True) if y >= low], SERIES[1][0], SERIES[1][1])
    chart.line([(chart.x.low, 0.0), (chart.x.high, 0.0)], SERIES[2][0], SERIES[2][1])
    chart.line([(x, y) for x, y in zip(at, found["model"], strict=True) if y >= low], *SERIES[0])
    right = WIDTH - 16
    chart.text(right, 28, "act on the model", "end", SERIES[0][0])
    chart.text(right, 46, "- - treat everybody", "end", SERIES[1][0])
    chart.text(right, 64, "· · treat nobody", "end", SERIES[2][0])
    return chart.render()


def risk_groups(measures: Mapping[str, Any]) -> bytes | None:
    """Event-free share of the thirds of predicted risk, with the number at risk under the axis."""
    groups = measures["risk_groups"]
    if not groups:
        return None
    if measures["horizon_days"] is None:
        return _shares(groups)
    chart = Chart(
        "risk-groups", "What happened to patients of lower, middle and higher predicted risk",
        " ".join(f"{g['name']}: {1 - g['observed_risk']['value']:.0%} without the event in the end." for g in groups),
        time_axis(measures["horizon_days"]), percent_axis("without the event"),
        height=400.0, below=ROW * (len(groups) + 1),
    )  # fmt: skip
    base = chart.height - 52.0 - chart.below + 64
    chart.text(4, base, "number at risk", colour=QUIET, size=12.5)
    for row, (group, (colour, dash)) in enumerate(zip(groups, SERIES, strict=True)):
        points = _zip(group["days"], group["event_free"])
        chart.steps(points, colour, dash)
        if points:
            chart.label(points[-1], group["name"].split()[0], "end", colour, rise=8)
        y = base + ROW * (row + 1) - 3
        chart.text(4, y, group["name"].split()[0], colour=colour, size=12.5)
        for day, count in zip(group["at_risk_days"], group["at_risk"], strict=True):
            x = chart.at(day, 0.0)[0]
            last = day >= chart.x.high - 1e-6
            chart.text(WIDTH - 4 if last else x, y, str(count), "end" if last else "middle", colour, 12.5)
    return chart.render()


def _shares(groups: Sequence[Mapping[str, Any]]) -> bytes:
    positions = [(index + 0.5, group["name"].split()[0]) for index, group in enumerate(groups)]
    chart = Chart(
        "risk-groups", "Observed share in patients of lower, middle and higher predicted risk",
        " ".join(f"{g['name']}: {g['observed_risk']['value']:.0%}." for g in groups),
        Axis("third of predicted risk", 0.0, float(len(groups)), tuple(positions)), percent_axis("with the event"),
    )  # fmt: skip
    for (place, _), group in zip(positions, groups, strict=True):
        seen = group["observed_risk"]
        chart.whisker((place, seen["low"]), (place, seen["high"]))
        chart.dot((place, seen["value"]))
    return chart.render()


def forest(rows: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Observed over expected risk by group; one is agreement. Groups that are withheld have no row."""
    known = [row for row in rows if row["metric"] == FOREST and row["attribute"] != "all" and row["interval"]]
    if not known:
        return None
    low = max(0.0, min(0.7, *(row["interval"][0] for row in known)))
    high = min(3.0, max(1.3, *(row["interval"][1] for row in known)))
    candidates = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
    chart = _dots(
        "subgroups", "Observed over expected risk, group by group",
        " ".join(f"{row['attribute']} {row['group']}: {row['estimate']:.2f} "
                 f"({row['interval'][0]:.2f} to {row['interval'][1]:.2f})." for row in known),
        Axis("observed / expected (1 is agreement)", low, high,
             tuple((tick, f"{tick:g}") for tick in candidates if low <= tick <= high)),
        [f"{row['attribute']} {row['group']}".replace(">=", "≥ ").replace("<", "< ") for row in known],
    )  # fmt: skip
    chart.rule((1.0, 0.0), (1.0, float(len(known))))
    for index, row in enumerate(known):
        y = len(known) - index - 0.5
        chart.whisker((max(row["interval"][0], low), y), (min(row["interval"][1], high), y), BLUE)
        chart.dot((min(max(row["estimate"], low), high), y))
    return chart.render()


def drift(check: CheckResult | None) -> bytes | None:
    """The columns that moved most between the reference and the rows judged, by the index of DQ11."""
    details = {} if check is None else check.details
    found = {name: entry["psi"] for name, entry in details.items() if isinstance(entry, Mapping) and "psi" in entry}
    most = sorted((name for name in found if found[name] is not None), key=lambda name: -found[name])[:8]
    if not most:
        return None
    high = max(0.3, 1.1 * found[most[0]])
    ticks = tuple((0.1 * step, f"{0.1 * step:.1f}") for step in range(int(high * 10) + 1)) if high < 0.8 else (
        (0.0, "0"), (high / 1.1, f"{high / 1.1:.1f}")
    )  # fmt: skip
    title = "How far columns moved from the reference"
    text = " ".join(f"{name}: {found[name]:.2f}." for name in most)
    chart = _dots("drift", title, text, Axis("stability index (0 is no change)", 0.0, high, ticks), most)
    for index, name in enumerate(most):
        y = len(most) - index - 0.5
        chart.whisker((0.0, y), (max(found[name], 0.0), y))
        chart.dot((max(found[name], 0.0), y))
    return chart.render()


def _dots(name: str, title: str, text: str, axis: Axis, labels: Sequence[str]) -> Chart:
    """An empty chart with one labelled row for each of `labels`, first on top."""
    rows = Axis("", 0.0, float(len(labels)), ())
    chart = Chart(name, title, text, axis, rows, height=80.0 + 28.0 * len(labels), left=178.0)
    for index, label in enumerate(labels):
        plain = label.replace("_", " ")
        y = chart.at(axis.low, len(labels) - index - 0.5)[1] + 4.5
        chart.text(170, y, plain if len(plain) < 24 else f"{plain[:22]}…", "end")
    return chart


def flow(rows: Mapping[str, Any]) -> bytes:
    """Boxes from the rows of the source down to the two sides of the split."""
    steps, sides = rows["steps"], rows["sides"]
    axis = Axis("", 0.0, 1.0, ())
    text = " ".join(f"{step['step']}: {step['rows']}." for step in (*steps, *sides))
    height = 8.0 + 62.0 * (len(steps) + 1)
    chart = Chart("row-flow", "From the rows of the source to the patients judged", text, axis, axis, height)
    for index, step in enumerate(steps):
        left_out = f"  ({step['excluded']} left out)" if step["excluded"] else ""
        chart.box(4, 4.0 + 62.0 * index, WIDTH - 8, f"{step['step']}{left_out}", str(step["rows"]))
    half = (WIDTH - 20) / 2
    for index, side in enumerate(sides):
        start = 4 + index * (half + 12)
        chart.box(start, 4.0 + 62.0 * len(steps), half, side["step"], str(side["rows"]), last=True)
    return chart.render()


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None] or [0.0]


def _zip(x: Sequence[float], y: Sequence[float | None]) -> list[Point]:
    return [(a, b) for a, b in zip(x, y, strict=True) if b is not None]

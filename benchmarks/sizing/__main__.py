"""What 10,000 cancer types and 100 million predictions a day need, from measured unit costs.

nice python -m benchmarks.sizing                                   SQLite; about three minutes on 2 cores
nice python -m benchmarks.sizing --url postgresql+psycopg2://...   the prediction log on an empty PostgreSQL database
python -m benchmarks.sizing --reckon --partitions 500              other loads from the units that were measured
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.sizing import units as costs
from benchmarks.sizing.figure import draw
from benchmarks.sizing.plan import Figure, Load, plan
from benchmarks.sizing.units import RESULTS, Units
from benchmarks.tables import Section, markdown, show
from clinical_assets.foundation.files import write_atomic

FIRST, SECOND = "larynx", "prostate"
ANSWERS = (1000, 2000)


def measured(url: str, scratch: Path) -> tuple[Units, list[dict[str, Any]]]:
    """The units, and what they predict of a small case beside what was measured of it."""
    cases: list[dict[str, Any]] = []

    def compare(what: str, predicted: float, found: float) -> None:
        cases.append({"case": what, "reckoned": predicted, "measured": found, "ratio": predicted / found})

    first = costs.after_runs(scratch / "runs", [FIRST])
    both = costs.after_runs(scratch / "runs", [FIRST, SECOND])
    second = both.less(first)
    compare(f"objects after {SECOND} too, MiB", 2 * first.stored_mib, both.stored_mib)
    compare(f"Dagster rows of {SECOND}", first.dagster_rows, second.dagster_rows)
    log_url = url or f"sqlite:///{scratch}/log.db"
    logged = costs.log(log_url, 20_000, 100)
    small, large = costs.serve(scratch / "serving", f"sqlite:///{scratch}/serving.db", ANSWERS)
    compare(f"CPU s of {ANSWERS[1]} answers", small.cpu_s / ANSWERS[0] * ANSWERS[1], large.cpu_s)
    compare(f"log rows of {ANSWERS[1]} answers", ANSWERS[1], large.rows)
    speed = json.loads((RESULTS / "pipeline_speed.json").read_text())["partitions"]
    ten, more, all_ = (speed[count]["cpu_s"] for count in ("10", "25", "55"))
    compare("CPU s of 55 partitions, from 10 and 25", more + (more - ten) / 15 * 30, all_)
    units = Units(
        **costs.published(),
        **costs.catalogue(),
        **costs.routes(),
        **logged,
        answer_cpu_s=large.cpu_s / ANSWERS[1],
        server_mib=large.resident_mib,
        stored_mib=both.stored_mib / 2,
        dagster_rows=both.dagster_rows / 2,
        dagster_kib=both.dagster_kib / 2,
        platform_rows=both.platform_rows / 2,
    )
    return units, cases


def sections(units: Units, load: Load, figures: list[Figure], cases: list[dict[str, Any]]) -> list[Section]:
    loads = [(name, f"{number:g}") for name, number in asdict(load).items()]
    needed = [(one.group, one.what, f"{one.value:,.4g}", one.unit, one.how) for one in figures]
    unit_rows = [(name, f"{number:,.4g}") for name, number in asdict(units).items()]
    checks = [(one["case"], *(f"{one[key]:,.3g}" for key in ("reckoned", "measured", "ratio"))) for one in cases]
    return [
        Section("Needed", "A cell is a platform of its own: database, route objects, namespace, controller.",
                ("part", "what", "value", "unit", "how"), needed),
        Section("Assumed", "Meaning: `Load` in benchmarks/sizing/plan.py.", ("what", "value"), loads),
        Section("Measured for one", "Meaning: `Units` in benchmarks/sizing/units.py.", ("what", "value"), unit_rows),
        Section("Small cases", "Reckoned from a smaller measurement, then measured; 1 is a perfect forecast.",
                ("case", "reckoned", "measured", "ratio"), checks),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--url", default="", help="an empty database for the prediction log; default a SQLite file")
    parser.add_argument("--reckon", action="store_true", help="measure nothing, take the units of the last time")
    for one in fields(Load):
        parser.add_argument(f"--{one.name.replace('_', '-')}", type=type(one.default), default=one.default)
    given = parser.parse_args()
    load = replace(Load(), **{one.name: getattr(given, one.name) for one in fields(Load)})
    file = given.out / "sizing.json"
    if given.reckon:
        kept = json.loads(file.read_text())
        show(sections(Units(**kept["units"]), load, plan(Units(**kept["units"]), load), kept["cases"])[:2], Console())
        return
    with tempfile.TemporaryDirectory() as scratch:
        units, cases = measured(given.url, Path(scratch))
    figures = plan(units, load)
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    machine["log"] = "postgresql" if given.url else "sqlite"
    content = {"machine": machine, "units": asdict(units), "load": asdict(load), "cases": cases}
    content["needed"] = [asdict(one) for one in figures]
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(content, indent=1).encode())
    shown = sections(units, load, figures, cases)
    introduction = f"`python -m benchmarks.sizing`; prediction log on {machine['log']}, {machine['cores']} cores."
    write_atomic(file.with_suffix(".md"), markdown("Sizing", introduction, shown).encode())
    draw(units, load, file.with_suffix(".svg"))
    show(shown, Console())


if __name__ == "__main__":
    main()

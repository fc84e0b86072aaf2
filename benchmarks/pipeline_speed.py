"""How long the pipeline takes: warm backfill against cold scripts, unchanged re-run, growth in partitions and rows.

python -m benchmarks.pipeline_speed --out benchmarks/results          everything (about 40 minutes on 2 cores)
python -m benchmarks.pipeline_speed --parts warm,unchanged            some parts
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import tables
from benchmarks.large_cohort import write_cohort
from benchmarks.measured_process import Cost, measure, single_threaded
from benchmarks.tables import Row, Section
from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.files import write_atomic

ROOT = Path(__file__).parent.parent
CLINICAL = str(Path(sys.executable).with_name("clinical"))
INTRODUCTION = (
    "From raw trial data to a signed verdict with all five gates: {cancers} cancer types, {machine[cores]} cores, "
    "Python {machine[python]}."
)
NOTE = (
    "Peak: resident memory of all processes together. Cold: a new process for each cancer type, one after the other, "
    "as scripts would run; where only some were measured, their mean times the number of types."
)
console = Console(stderr=True, highlight=False)


class Benchmark:
    """Parts in the order in which they are reported; each keeps its figures at once."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self.arguments, self.scratch = arguments, scratch
        self.cancers = list(load_catalog())
        self.figures: dict[str, Any] = {
            "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
            "cancers": len(self.cancers),
        }

    def warm(self) -> None:
        """Every cancer type, raw data to signed verdict, over warm worker processes, from an empty state."""
        self._note("warm", self._backfill("all", self.cancers))

    def unchanged(self) -> None:
        """The same command on the same state."""
        self._note("unchanged", self._backfill("all", self.cancers))

    def cold(self) -> None:
        """One cold process after the other; with `--cold-sample` for every k-th cancer type, extrapolated."""
        step = max(1, len(self.cancers) // self.arguments.cold_sample) if self.arguments.cold_sample else 1
        chosen = self.cancers[::step]
        environment = single_threaded(self.scratch / "cold")
        seconds = {}
        for cancer in chosen:
            cost = measure([sys.executable, "-m", "benchmarks.cold_script", cancer], environment, ROOT)
            seconds[cancer] = cost.row()
            console.print(f"cold {cancer}: {cost.wall_s:.1f} s")
        total = sum(row["wall_s"] for row in seconds.values()) * len(self.cancers) / len(chosen)
        self.figures["cold"] = {"measured": seconds, "sampled": len(chosen), "all_one_by_one_s": total}

    def partitions(self) -> None:
        """Wall time over the first 10, 25 and 55 cancer types."""
        self.figures["partitions"] = {}
        for count in (10, 25, 55):
            if count <= len(self.cancers):
                cost = self._backfill(f"partitions-{count}", self.cancers[:count])
                self.figures["partitions"][count] = cost.row()
                console.print(f"{count} cancer types: {cost.wall_s:.0f} s")

    def rows(self) -> None:
        """One made-up cohort of 30 features at growing size, raw data to signed verdict in one process."""
        self.figures["rows"] = {}
        for rows in self.arguments.rows:
            configs = self.scratch / f"configs-{rows}"
            slug = write_cohort(configs, rows)
            environment = single_threaded(self.scratch / f"rows-{rows}", configs)
            cost = measure([CLINICAL, "backfill", slug, "--jobs", "1"], environment, ROOT)
            data_mib = rows * 30 * 8 / 2**20
            self.figures["rows"][rows] = {**cost.row(), "data_mib": data_mib}
            console.print(f"{rows} rows: {cost.wall_s:.0f} s, peak {cost.peak_mib:.0f} MiB, exit {cost.exit_code}")
            if cost.exit_code:
                console.print(cost.output[-2000:])

    def _backfill(self, name: str, cancers: list[str]) -> Cost:
        return measure([CLINICAL, "backfill", *cancers], single_threaded(self.scratch / name), ROOT)

    def _note(self, part: str, cost: Cost) -> None:
        self.figures[part] = cost.row()
        console.print(f"{part}: {cost.wall_s:.0f} s, {cost.cpu_s:.0f} CPU s, peak {cost.peak_mib:.0f} MiB")
        if cost.exit_code:
            console.print(cost.output[-2000:])

    def sections(self) -> list[Section]:
        return [Section("Costs", NOTE, ("what", "wall s", "CPU s", "peak MiB"), list(self._rows()))]

    def _rows(self) -> Iterator[Row]:
        for part in ("warm", "unchanged"):
            if part in self.figures:
                yield _row(f"{part}, {self.figures['cancers']} cancer types", self.figures[part])
        if cold := self.figures.get("cold"):
            yield f"cold, one by one ({cold['sampled']} measured)", f"{cold['all_one_by_one_s']:.0f}", "", ""
            if "warm" in self.figures:
                yield "cold / warm", f"{cold['all_one_by_one_s'] / self.figures['warm']['wall_s']:.1f}x", "", ""
        for part, unit in (("partitions", "cancer types"), ("rows", "rows x 30")):
            for size, row in self.figures.get(part, {}).items():
                yield _row(f"{size} {unit}", row)


def _row(what: str, cost: dict[str, float]) -> Row:
    failed = f" (failed, exit {cost['exit_code']})" if cost["exit_code"] else ""
    return what + failed, f"{cost['wall_s']:.1f}", f"{cost['cpu_s']:.1f}", f"{cost['peak_mib']:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="warm,unchanged,cold,partitions,rows", help="comma-separated")
    parser.add_argument(
        "--rows", type=lambda text: [int(n) for n in text.split(",")], default=[10**3, 10**4, 10**5, 10**6]
    )
    parser.add_argument("--cold-sample", type=int, default=0, help="measure only so many cold processes; 0: all")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="pipeline-speed-"))
    benchmark = Benchmark(arguments, scratch)
    try:
        for name in arguments.parts.split(","):
            part: Callable[[], None] = getattr(benchmark, name)
            part()
            arguments.out.mkdir(parents=True, exist_ok=True)
            write_atomic(arguments.out / "pipeline_speed.json", json.dumps(benchmark.figures, indent=2).encode())
            page = tables.markdown("Pipeline speed", INTRODUCTION.format(**benchmark.figures), benchmark.sections())
            write_atomic(arguments.out / "pipeline_speed.md", page.encode())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    tables.show(benchmark.sections(), Console(highlight=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

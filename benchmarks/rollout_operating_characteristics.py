"""False rollback, false promotion, power and delay of the rollout's tests under continuous looks, beside other rules.

    python -m benchmarks.rollout_operating_characteristics [--replications 2000] [--output results.json]

All rules see the same simulated patients: 10 % prevalence, champion AUROC .79, looks every 50 patients, alpha .05.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from benchmarks import rollout_rules as rules
from benchmarks.rollout_scenarios import SCENARIOS

CHUNK = 250
TARGETS: tuple[tuple[str, str, str, float], ...] = (
    ("harm, equal model", "M0", "rate", 0.05),
    ("promotion, model at the margin", "M0", "rate", 0.05),
    ("promotion, model at the margin", "M2", "rate", 0.05),
    ("promotion, rare heavy losses", "M0", "rate", 0.05),
    ("promotion, rare heavy losses", "M2", "rate", 0.05),
    ("split, equal, ramp, prevalence 6 to 15 %", "M4", "rate", 0.05),
    ("split, equal, ramp, prevalence 15 to 6 %", "M4", "rate", 0.05),
    ("split 10 %, equal", "M4", "rate", 0.05),
    ("all guardrails, equal model", "guardrails", "rate", 0.05),
    ("survival in weeks, equal", "M5 harm", "rate", 0.05),
    ("promotion, worse model (risks too low), labels come over a year", "M0, mature patients only", "rate", 0.05),
    ("harm, +10 %", "M0", "mean_over_oracle", 1.3),
    ("harm, +25 %", "M0", "mean_over_oracle", 1.3),
    ("harm, +50 %", "M0", "mean_over_oracle", 1.3),
    ("promotion, equal model", "M0", "median", 1000),
    ("promotion, equal model", "M2", "median", 700),
    ("split 50 %, +25 %", "M4", "median", 1700),
    ("errors .1 to 1 %, requests of the challenger", "objective", "median", 900),
)


def measure(replications: int, seed: int = 0) -> dict[str, Any]:
    """Every scenario and rule: rate of acting with its 95 % interval, median and restricted mean patients."""
    measured = {}
    for index, (name, run) in enumerate(SCENARIOS.items()):
        rng = np.random.default_rng([seed, index])
        parts = [run(rng, min(CHUNK, replications - done)) for done in range(0, replications, CHUNK)]
        measured[name] = {rule: _summary(np.concatenate([part[rule] for part in parts])) for rule in parts[0]}
        oracle = measured[name].get("oracle SPRT", {}).get("mean")
        for figures in measured[name].values():
            figures["mean_over_oracle"] = figures["mean"] / oracle if oracle and figures["mean"] else None
    return measured


def _summary(patients: np.ndarray) -> dict[str, Any]:
    acted = patients < rules.NEVER // rules.EVERY
    interval = binomtest(int(acted.sum()), len(acted)).proportion_ci(method="wilson")
    median = float(np.median(patients)) if acted.mean() > 0.5 else None
    mean = float(np.where(acted, patients, patients[acted].max()).mean()) if acted.mean() > 0.5 else None
    return {"rate": float(acted.mean()), "interval": [interval.low, interval.high], "median": median, "mean": mean}


def judged(measured: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, rule, figure, limit in TARGETS:
        value = measured[name][rule][figure]
        yield {
            "scenario": name,
            "rule": rule,
            "figure": figure,
            "limit": limit,
            "value": value,
            "met": value is not None and value <= limit,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    started = time.perf_counter()
    measured = measure(given.replications)
    targets = list(judged(measured))
    print(f"{'scenario':66} {'rule':26} {'acted':>6}  {'95 % interval':13} {'median':>7} {'mean':>7} {'/oracle':>7}")
    for name, found in measured.items():
        for rule, f in found.items():
            low, high = f["interval"]
            shown = [f"{f[key]:7.0f}" if f[key] else "      -" for key in ("median", "mean")]
            ratio = f"{f['mean_over_oracle']:7.2f}" if f["mean_over_oracle"] else "      -"
            print(f"{name:66} {rule:26} {f['rate']:6.3f}  {low:.3f}..{high:.3f}  {shown[0]} {shown[1]} {ratio}")
    for t in targets:
        met = "met" if t["met"] else "MISSED"
        print(f"{met:6} {t['scenario']}, {t['rule']}: {t['figure']} {t['value']} <= {t['limit']}")
    seconds = time.perf_counter() - started
    print(f"{given.replications} replications in {seconds:.0f} s")
    if given.output:
        document = {"replications": given.replications, "seconds": seconds, "targets": targets, "measured": measured}
        given.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

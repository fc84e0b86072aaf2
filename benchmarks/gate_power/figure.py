"""One picture: faulty releases that reach patients, without a gate, behind a typical one, behind the five."""

from __future__ import annotations

from pathlib import Path

import matplotlib

from benchmarks.gate_power.summary import Summary
from clinical_assets.gates.verdict import GateName

COLOURS = {"ungated": "#b2182b", "typical gate": "#ef8a62", "five gates": "#2166ac"}


def bars(summary: Summary, path: Path) -> None:
    """Write an SVG; equal input, equal file."""
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "gate_power"
    matplotlib.rcParams["font.size"] = 9
    gates = ["", *(gate.value for gate in GateName)]
    figure, axes = plt.subplots(figsize=(9, 4))
    for place, gate in enumerate(gates):
        reached = summary.reached(summary.of("medium", gate))
        for offset, (arm, count) in enumerate(reached.items()):
            share = 100.0 * count / max(1, reached["ungated"])
            label = arm if place == 0 else None
            bar = axes.bar(place + 0.27 * (offset - 1), share, width=0.25, color=COLOURS[arm], label=label)
            axes.bar_label(bar, [str(count)], fontsize=7)
    axes.set_xticks(range(len(gates)), [gate.replace("_", " ") or "all faults" for gate in gates])
    axes.set_ylabel("faulty releases that reach patients, %")
    avoided = summary.reductions(summary.of("medium"))
    axes.set_title(
        f"Failed deployments reduced by {avoided['ungated']:.1%} against no gate, "
        f"by {avoided['typical gate']:.1%} against the typical gate (medium severity)",
        fontsize=9,
    )
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)

"""BI17: is any group worse off than with the model that answers today?

Both models are judged on the same patients of the test split; the champion has seen the training patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.gates.bias.group_audit import (
    COLLECT,
    NOTHING_COLLECTED,
    Audited,
    Group,
    judged_groups,
    listed,
    multiplicity,
    quantiles,
    small_groups,
    tested,
    wald,
)
from clinical_assets.gates.bias.group_calibration import Level
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.evidence import aligned
from clinical_assets.gates.verdict import GateName, Verdict


@dataclass(frozen=True)
class Change:
    """What a group gains (+) or loses (-): sensitivity and net benefit; O/E of the candidate and of the champion."""

    attribute: str
    group: str
    n: int
    events: int
    sensitivity: float
    interval: tuple[float, float]
    strict: tuple[float, float]
    net_benefit: float
    oe: float
    oe_strict: tuple[float, float]
    champion_oe: float

    def __str__(self) -> str:
        return (
            f"{self.attribute} {self.group} sensitivity {self.sensitivity:+.2f} ({self.interval[0]:+.2f} to "
            f"{self.interval[1]:+.2f}), O/E {self.oe:.2f} after {self.champion_oe:.2f}"
        )

    def misses_more(self, margin: float) -> bool:
        """Sensitivity is lost beyond the margin, and fewer false alarms do not make up for it."""
        return self.strict[1] < -margin and self.net_benefit < 0.0

    def loses_calibration(self, band: tuple[float, float]) -> bool:
        """O/E was inside the band and is outside, and not 1, over all groups together."""
        inside, still = (band[0] <= ratio <= band[1] for ratio in (self.champion_oe, self.oe))
        return inside and not still and not self.oe_strict[0] <= 1.0 <= self.oe_strict[1]


def changes(audit: Audited, champion: np.ndarray, threshold: float, policy: BiasPolicy) -> list[Change]:
    """Every group with enough events; `champion` (n,) holds the champion's risks for the patients of the audit."""
    groups = judged_groups(audit, policy)
    z = quantiles(policy, 2 * len(groups))
    return [_change(audit, champion, group, threshold, z) for group in groups]


def _change(audit: Audited, champion: np.ndarray, group: Group, threshold: float, z: tuple[float, float]) -> Change:
    step = (audit.risk >= threshold).astype(float) - (champion >= threshold)
    weight, odds = audit.labels.weight, threshold / (1.0 - threshold)
    gain, error = _paired(step[group.inside & audit.cases], weight[group.inside & audit.cases])
    outcomes = audit.outcomes.take(group.inside)
    now, before = (Level.of(outcomes, risk[group.inside], audit.horizon) for risk in (audit.risk, champion))
    worth = weight * step * np.where(audit.labels.label, 1.0, -odds)
    return Change(
        group.attribute, group.name, group.n, group.events,
        sensitivity=gain, interval=wald(gain, error, z[0]), strict=wald(gain, error, z[1]),
        net_benefit=float(worth[group.inside].mean()),
        oe=now.ratio, oe_strict=now.bounds(z[1]), champion_oe=before.ratio,
    )  # fmt: skip


def _paired(step: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted mean of paired differences of -1, 0 and 1, and its error; a pair either way is added to the discordant
    ones (Agresti & Min 2005), so that agreement by chance is not taken for certainty."""
    size = float(weight.sum()) ** 2 / float(weight @ weight)
    mean = float(weight @ step) / float(weight.sum())
    spread = (float(weight @ step**2) / float(weight.sum()) * size + 1.0) / (size + 2.0) - mean**2
    return mean, float(np.sqrt(max(spread, 0.0) / (size + 2.0)))


@check(
    GateName.BIAS, "BI17", "No group worse than today", "largest loss of sensitivity in a group, against the champion"
)
def no_group_worse(case: Case) -> Finding:
    """BLOCK: over all groups together, a group loses sensitivity beyond the margin, or its calibration."""
    facts, policy = case.facts, case.policy.bias
    margin, band = policy.champion_margin, policy.observed_expected
    common: dict[str, Any] = {
        "n": len(facts.test),
        "threshold": f"sensitivity lost at most {margin:g}; O/E not out of {band[0]:g} to {band[1]:g}",
        "threshold_source": BiasPolicy.source("champion_margin"),
    }
    if facts.champion_pred is None:
        return Finding(Verdict.PASS, "does not apply: no model answers for this cancer type yet", **common)
    audit = case.once(tested)
    champion = aligned(facts.test, facts.champion_pred).risk
    found = changes(audit, champion, facts.contract.endpoint.decision_threshold, policy)
    small = small_groups(audit, policy)
    common |= {
        "events": int(audit.cases.sum()),
        "details": {
            "groups": [vars(change) for change in found],
            "not_judged": small,
            "interval": "paired, Wald after Agresti & Min 2005; O/E by influence functions",
            "multiplicity": multiplicity(policy, 2 * len(found)),
            "reference": facts.champion_name,
        },
    }
    if not audit.members:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, **common)
    worse = [change for change in found if change.misses_more(margin) or change.loses_calibration(band)]
    if found:
        worst = min(worse or found, key=lambda change: change.sensitivity)
        common |= {"value": worst.sensitivity, "interval": worst.strict if worse else worst.interval}
    if worse:
        return Finding(
            Verdict.BLOCK, f"worse than {facts.champion_name} for: {listed(worse)}", "keep the champion", **common
        )
    if small or not found:
        reason = f"too few events in the test split to compare {', '.join(small) or 'any group'}"
        return Finding(Verdict.INCONCLUSIVE, reason, "the paired evidence collected in shadow decides", **common)
    lower = [change for change in found if change.interval[1] < 0.0]
    if lower:
        return Finding(Verdict.WARN, f"lower sensitivity: {listed(lower)}", "say so to the users", **common)
    return Finding(Verdict.PASS, f"no group shown to be worse off; least {worst}", **common)

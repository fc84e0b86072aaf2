"""How verdicts, scopes and numbers are said to people who have not read the specification."""

from __future__ import annotations

from clinical_assets.gates.verdict import GateName, Scope, Tier, Verdict

VERDICTS = {
    Verdict.ERROR: "Check crashed",
    Verdict.BLOCK: "Failed",
    Verdict.INCONCLUSIVE: "Too little evidence",
    Verdict.WARN: "Passed with a warning",
    Verdict.PASS: "Passed",
}
"""Worst first."""

GATES = {
    GateName.DATA_QUALITY: "Data quality",
    GateName.PERFORMANCE: "Performance",
    GateName.BIAS: "Fairness between groups",
    GateName.REGULATORY: "Records and controls",
    GateName.SECURITY: "Security",
}

SCOPES = {
    Scope.TRAFFIC: "May answer requests about patients, step by step and under watch",
    Scope.SHADOW: "May only run in shadow: no patient and no clinician sees its answers",
    Scope.NONE: "May not be used",
}

TIERS = {
    Tier.CLINICAL: "Evidence of the clinical tier",
    Tier.RESEARCH: "Evidence of the research tier: for studies, not for care",
}


def span(days: float | None) -> str:
    """A horizon in words: 5 years, 18 months, 90 days; empty for a diagnosis made now."""
    if days is None:
        return ""
    years, months = days / 365.25, days / 30.4375
    if abs(years - round(years)) < 0.02 and round(years) >= 1:
        return f"{round(years)} year{'s' * (round(years) != 1)}"
    if months >= 3 and abs(months - round(months)) < 0.05:
        return f"{round(months)} months"
    return f"{days:.0f} days"

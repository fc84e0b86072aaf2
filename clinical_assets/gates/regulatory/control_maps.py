"""Gate 4, regulatory: which checks give evidence for which principle or article. A map, and no claim of
conformity.

What no machine can show (how people work with the model, a quality system) is listed as the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinical_assets.gates.checks import REGISTER, Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict

GATE = GateName.REGULATORY


@dataclass(frozen=True)
class Control:
    """`checks`: ids whose results are evidence; none for what is the user's own."""

    name: str
    checks: tuple[str, ...] = ()


GMLP = (
    Control("1 intended use understood, several disciplines", ("RG13", "RG15", "RG17")),
    Control("2 software engineering and security", ("RG11", "RG12", "SE1", "SE4", "SE5", "SE9")),
    Control("3 data represent the intended patients", ("DQ11", "DQ13", "BI1", "BI15", "BI16", "BI19")),
    Control("4 training independent of test data", ("DQ6", "DQ7", "DQ8", "MP10", "MP15a", "MP15b", "RG9")),
    Control("5 reference standard fit for purpose", ("DQ9", "DQ16", "MP17", "RG21")),
    Control("6 model suits data and use", ("DQ17", "MP13", "MP14", "SE13")),
    Control("7 performance of person and model together"),
    Control("8 tested under clinically relevant conditions", ("MP1", "MP3", "MP5", "MP6", "MP12", "BI2")),
    Control("9 users are informed", ("RG13", "RG20", "BI19")),
    Control("10 deployed models are monitored, retraining is controlled", ("MP9", "MP10", "RG14", "DQ11")),
)
"""Good Machine Learning Practice for Medical Device Development, IMDRF/AIML WG/N88 FINAL:2025."""

AI_ACT = (
    Control("Article 9 risk management", ("RG14", "RG15", "MP9", "BI2")),
    Control("Article 10 data and data governance", ("DQ1", "DQ3", "DQ9", "DQ18", "BI1", "BI15", "BI16", "RG1", "RG2")),
    Control("Article 11 technical documentation", ("RG13", "RG20")),
    Control("Article 12 record-keeping", ("RG6", "RG11")),
    Control("Article 13 transparency to deployers", ("RG13", "RG15", "BI19")),
    Control("Article 14 human oversight", ("RG7", "RG9", "RG10")),
    Control(
        "Article 15 accuracy, robustness, cybersecurity", ("MP1", "MP5", "MP18", "MP19", "SE1", "SE4", "SE5", "SE14")
    ),
    Control("Article 17 quality management system"),
)
"""Regulation (EU) 2024/1689, requirements for high-risk systems."""


@check(GATE, "RG18", "Evidence by principle of good machine learning practice", "principles with evidence")
def good_practice(case: Case) -> Finding:
    return _mapped(GMLP, "IMDRF/AIML WG/N88 FINAL:2025")


@check(GATE, "RG19", "Evidence by article of the AI Act", "articles with evidence")
def ai_act(case: Case) -> Finding:
    return _mapped(AI_ACT, "Regulation (EU) 2024/1689, Articles 9 to 15 and 17")


def evidence_for(controls: tuple[Control, ...]) -> Mapping[str, tuple[str, ...]]:
    """The checks of each control that run in this platform."""
    from clinical_assets.gates import judging  # noqa: F401  every gate registers its checks

    return {control.name: tuple(id for id in control.checks if id in REGISTER) for control in controls}


def _mapped(controls: tuple[Control, ...], source: str) -> Finding:
    evidence = evidence_for(controls)
    users = [control.name for control in controls if not control.checks]
    bare = [control.name for control in controls if control.checks and not evidence[control.name]]
    shown = {name: f"evidence for it: {', '.join(ids)}" for name, ids in evidence.items() if ids}
    common: dict[str, Any] = {
        "value": float(len(shown)),
        "n": len(controls),
        "threshold": "at least one check for each that a machine can show",
        "threshold_source": source,
        "details": {"evidence": shown, "left_to_the_user": users, "without": bare},
    }
    rest = f"; left to the user: {'; '.join(users)}" if users else ""
    if bare:
        return Finding(
            Verdict.WARN,
            f"no check gives evidence for {'; '.join(bare)}{rest}",
            "add a check, or show it yourself",
            **common,
        )
    return Finding(Verdict.PASS, f"evidence for {len(shown)} of {len(controls)}{rest}", **common)

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

PART_11 = (
    Control("11.10(a) validation of the system"),
    Control("11.10(b) accurate and complete copies", ("RG20",)),
    Control("11.10(c) protection of records", ("RG20", "RG6")),
    Control("11.10(d) access limited to authorised individuals", ("RG9",)),
    Control("11.10(e) audit trails", ("RG6",)),
    Control("11.10(f) sequencing of steps", ("RG9",)),
    Control("11.10(g) authority checks", ("RG9", "RG10")),
    Control("11.10(h) device checks"),
    Control("11.10(i) education and training"),
    Control("11.10(j) policies on accountability"),
    Control("11.10(k) control of system documentation", ("RG11", "RG13")),
    Control("11.30 open systems", ("RG8", "SE4", "SE5")),
    Control("11.50 signature manifestations", ("RG7",)),
    Control("11.70 signature and record linking", ("RG8",)),
    Control("11.100 signatures unique to one individual", ("RG7", "RG9")),
    Control("11.200 two identification components", ("RG9",)),
    Control("11.300 controls for codes and passwords"),
)
"""21 CFR Part 11, electronic records and electronic signatures."""

ICH_E6 = (
    Control("4.1 blinding safeguarded", ("RG16",)),
    Control("4.2.1 data capture", ("DQ1", "DQ2", "DQ5", "DQ18")),
    Control("4.2.2 metadata and audit trails", ("RG6", "DQ18")),
    Control("4.2.3 review of data and metadata", ("DQ3", "DQ4", "DQ10", "DQ16")),
    Control("4.2.4 data corrections", ("RG6", "RG11")),
    Control("4.2.5 transfer, exchange and migration", ("DQ18", "RG8")),
    Control("4.2.6 data sets final before analysis", ("RG9", "RG11", "MP10", "MP16")),
    Control("4.2.7 retention and access", ("RG20",)),
    Control("4.2.8 destruction"),
    Control("4.3.1 procedures for computerised systems"),
    Control("4.3.2 training"),
    Control("4.3.3 security", ("SE4", "SE7", "SE9", "SE10", "SE11", "SE15")),
    Control("4.3.4 validation of the system"),
    Control("4.3.5 system release", ("RG9", "RG10", "SE5")),
    Control("4.3.6 system failure"),
    Control("4.3.7 technical support"),
    Control("4.3.8 user management", ("RG7", "RG9")),
)
"""ICH E6(R3) Good Clinical Practice, section 4, data governance."""

MAPS: Mapping[str, tuple[Control, ...]] = {
    "21 CFR Part 11": PART_11,
    "ICH E6(R3), section 4": ICH_E6,
    "Good machine learning practice, IMDRF N88": GMLP,
    "EU AI Act": AI_ACT,
}


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

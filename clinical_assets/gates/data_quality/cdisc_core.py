"""DQ2: does an SDTM or ADaM source conform, by CDISC's own rules engine (CORE)? Reads the engine's JSON report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict

RAN = frozenset({"SUCCESS", "ISSUE REPORTED"})
"""Statuses of a rule that was executed; every other one (SKIPPED, EXECUTION ERROR) was not."""
LESSER = frozenset({"warning", "notice", "information"})
"""Severities that warn. The public report gives none, and an issue without severity counts as an error."""


@dataclass(frozen=True)
class ConformanceIssue:
    """One rule broken in one data set, `rows` times."""

    rule: str
    dataset: str
    message: str
    rows: int
    severity: str = "error"


@dataclass(frozen=True)
class ConformanceReport:
    """What CORE found. `skipped` maps the rules that did not run to their status."""

    engine: str
    standard: str
    version: str
    terminology: str
    rules_run: int
    skipped: Mapping[str, str]
    issues: tuple[ConformanceIssue, ...]


@dataclass(frozen=True)
class Conformance:
    """`standard`: what the source claims to follow ("ADaM", "SDTM"), "" for none. `report` is None where the engine did
    not run, and `problem` says why.
    """

    standard: str = ""
    problem: str = ""
    report: ConformanceReport | None = field(default=None)


def read_report(content: Mapping[str, Any]) -> ConformanceReport:
    """The JSON report of `core validate -of JSON`, in the spellings of its versions up to 0.17.

    In newer versions the summary lists failed executions beside issues: rules that did not run, none that was broken.

    Raises:
        ValueError: not such a report, or one without its list of rules: without it nobody knows what was skipped.
    """
    sections = {_key(name): value for name, value in content.items()}
    missing = [name for name in ("conformancedetails", "issuesummary", "rulesreport") if name not in sections]
    if missing:
        raise ValueError(f"not a JSON report of CDISC CORE: {', '.join(missing)} missing; run it without --raw-report")
    details = {_key(name): value for name, value in sections["conformancedetails"].items()}
    rules = [{_key(name): value for name, value in rule.items()} for rule in sections["rulesreport"]]
    summary = [{_key(name): value for name, value in issue.items()} for issue in sections["issuesummary"]]
    detailed = [{_key(name): value for name, value in issue.items()} for issue in sections.get("issuedetails", [])]
    broken = {(issue.get("coreid"), issue.get("dataset")) for issue in detailed if issue.get("variables")}
    statuses = {str(rule.get("coreid")): str(rule.get("status", "")).upper() for rule in rules}
    return ConformanceReport(
        engine=str(details.get("coreengineversion", "")),
        standard=str(details.get("standard", "")),
        version=str(details.get("version", "")),
        terminology=str(details.get("ctversion") or ""),
        rules_run=sum(status in RAN for status in statuses.values()),
        skipped={rule: status for rule, status in sorted(statuses.items()) if status not in RAN},
        issues=tuple(
            ConformanceIssue(
                rule=str(issue.get("coreid")),
                dataset=str(issue.get("dataset")),
                message=str(issue.get("message")),
                rows=int(issue.get("issues") or 0),
                severity=str(issue.get("severity") or "error").lower(),
            )
            for issue in summary
            if statuses.get(str(issue.get("coreid"))) in RAN or (issue.get("coreid"), issue.get("dataset")) in broken
        ),
    )


def _key(name: str) -> str:
    """`Issue_Summary`, `issue Summary` and `CORE-ID` are spelt differently from version to version."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


@check(GateName.DATA_QUALITY, "DQ2", "CDISC conformance", "rules broken")
def cdisc_conformance(case: Case) -> Finding:
    """Errors block, lesser issues warn, and rules that were skipped are listed: silence is no conformance."""
    conformance = case.facts.conformance
    common: dict[str, Any] = {
        "n": len(case.facts.train) + len(case.facts.test),
        "threshold": "0 errors; skipped rules are named",
        "threshold_source": "CDISC CORE (rules engine, issues 355 and 773 on skipped rules)",
    }
    if conformance is None or not conformance.standard:
        return Finding(Verdict.PASS, "does not apply: the source is neither SDTM nor ADaM", **common)
    report = conformance.report
    if report is None:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"the source is {conformance.standard}, its conformance is unknown: {conformance.problem}",
            "install CDISC CORE and name its program in CDISC_CORE, then ingest again",
            **common,
        )
    errors = [issue for issue in report.issues if issue.severity not in LESSER]
    common |= {
        "value": float(len({issue.rule for issue in errors})),
        "n": report.rules_run + len(report.skipped),
        "details": {
            "engine": report.engine,
            "standard": f"{report.standard} {report.version}",
            "terminology": report.terminology,
            "rules_run": report.rules_run,
            "skipped": dict(report.skipped),
            "issues": [vars(issue) for issue in report.issues],
        },
    }
    remedy = "correct the data sets, or have the deviation explained in the reviewer's guide"
    skipped = f"{len(report.skipped)} of {report.rules_run + len(report.skipped)} rules were not run"
    if errors:
        return Finding(Verdict.BLOCK, f"{_spoken(errors)}; {skipped}", remedy, **common)
    if not report.rules_run:
        return Finding(
            Verdict.INCONCLUSIVE, f"no rule was run; {skipped}", "check standard, version and files", **common
        )
    if report.issues:
        return Finding(Verdict.WARN, f"{_spoken(list(report.issues))}; {skipped}", remedy, **common)
    if report.skipped:
        return Finding(
            Verdict.WARN, f"no issue in {report.rules_run} rules; {skipped}", "give the engine what they lack", **common
        )
    return Finding(Verdict.PASS, f"no issue in {report.rules_run} rules", **common)


def _spoken(issues: list[ConformanceIssue]) -> str:
    return "; ".join(f"{issue.rule} in {issue.dataset}: {issue.message} ({issue.rows})" for issue in issues[:3])

"""Gate 5, the serving request path: what is not a patient of the contract gets a refusal, never a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.security.facts import ServedAnswer
from clinical_assets.gates.security.request_bodies import BadRequest, bad_requests, body, mutated, typical_row
from clinical_assets.gates.verdict import GateName, Verdict

MUTATIONS, SEED = 200, 20_240_501
REFUSED = (400, 422)
COMMON: dict[str, Any] = {
    "threshold": "0: every bad request is refused, every mutated one refused or answered with risks from 0 to 1",
    "threshold_source": "a hard fact: a score for impossible input misleads whoever reads it",
}


@check(GateName.SECURITY, "SE15", "Bad requests are refused", "bad requests that were not refused")
def request_fuzz(case: Case) -> Finding:
    """The server's own request validation against requests with one fault each, and against damaged bytes."""
    facts = case.facts
    if facts.serve_request is None:
        return Finding(Verdict.INCONCLUSIVE, "the serving path is not at hand", "hand in the request path", **COMMON)
    row = typical_row(facts.contract, facts.train)
    valid = body(facts.contract, row)
    answered = answer(case, valid)
    if not _is_risk(answered):
        return Finding(
            Verdict.BLOCK,
            f"the request of a typical patient is not answered: {answered.reason or answered.status}",
            "serve the contract that the model was trained under",
            value="refused",
            **COMMON,
        )
    bad = list(bad_requests(facts.contract, row))
    failures = scored(case, bad)
    tried = list(mutated(valid, SEED, MUTATIONS))
    for data in tried:
        given = answer(case, data)
        if given.status not in REFUSED and not _is_risk(given):
            failures[f"damaged bytes: {given.reason or given.status}"] += 1
    common = COMMON | {
        "value": float(failures.total()),
        "n": len(bad) + len(tried),
        "details": {"failures": dict(failures), "kinds": len({request.fault for request in bad})},
    }
    if failures:
        listed = "; ".join(f"{fault} ({count})" for fault, count in failures.most_common(5))
        return Finding(Verdict.BLOCK, f"not refused: {listed}", "repair the server's request validation", **common)
    return Finding(Verdict.PASS, f"{len(bad)} bad and {len(tried)} damaged requests, none scored", **common)


def scored(case: Case, requests: Iterable[BadRequest]) -> Counter[str]:
    """Bad requests that were not refused, by fault and column."""
    failures: Counter[str] = Counter()
    for request in requests:
        given = answer(case, request.body)
        if given.status not in REFUSED:
            where = f" in {request.column}" if request.column else ""
            how = "scored" if given.status == 200 else f"broke the server ({given.reason})"
            failures[f"{request.fault}{where} {how}"] += 1
    return failures


def answer(case: Case, data: bytes) -> ServedAnswer:
    """What the path says; an exception that it lets through is a status 500."""
    assert case.facts.serve_request is not None
    try:
        return case.facts.serve_request(data)
    except Exception as error:
        return ServedAnswer(status=500, reason=type(error).__name__)


def _is_risk(given: ServedAnswer) -> bool:
    risks = np.asarray(given.risks, dtype=np.float64)
    return given.status == 200 and len(risks) > 0 and bool(((risks >= 0) & (risks <= 1)).all())

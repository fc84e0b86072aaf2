"""Do the champion's answers still look like those it was judged on? Windows of recent scores against the reference.

A model's risk is a function of its inputs, and the inputs themselves are not logged: a shift of the patients that the
model can see shows in its scores. Each score is read once and lies in one window, so windows are independent looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel
from sqlalchemy import Engine, select

from clinical_assets.audit.chain import snapshot
from clinical_assets.rollout import stages
from clinical_assets.rollout.entries import Arm, PredictionStatus, Progress
from clinical_assets.rollout.evidence.drift import ScoreReference
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.tables import predictions

WINDOW = 500
"""Scores of one look."""

ROWS = 50_000
"""Predictions read at most in one call; the rest waits for the next."""

LEVEL = 0.001
"""Chance of a false alarm of one look."""

MOVED, LARGE = 0.1, 0.25
"""Population stability index from which a shift is worth a look, and from which a model is retrained (Siddiqi 2006)."""


class Filling(BaseModel):
    """Scores of one champion so far, counted between the quantiles of its reference."""

    digest: str
    counts: list[int]


class Place(BaseModel):
    """How far the log was read, and the windows that are being filled, by cancer type."""

    seq: int = 0
    filling: dict[str, Filling] = {}


class Look(BaseModel):
    """One full window against its reference. `psi` less its expectation under no drift; `p` of Pearson's test."""

    cancer: str
    digest: str
    upto: int
    n: int
    psi: float
    p: float
    verdict: Literal["as judged", "moved", "large"]


def references(ledger: Ledger) -> dict[str, tuple[str, ScoreReference]]:
    """By cancer type the model that answers by default, and its scores on the locked test split."""
    found: dict[str, tuple[str, ScoreReference]] = {}
    for progress in ledger.standings():
        digest, reference = _champion(progress)
        known = found.get(progress.rollout.cancer)
        if not sum(reference.counts) and known is not None and known[0] == digest:
            continue
        found[progress.rollout.cancer] = digest, reference
    return {cancer: both for cancer, both in found.items() if both[0] and sum(both[1].counts)}


def _champion(progress: Progress) -> tuple[str, ScoreReference]:
    plan = RolloutPlan.model_validate(progress.rollout.policy)
    if progress.stage == stages.DONE:
        return plan.challenger, plan.challenger_scores
    return plan.champion, plan.champion_scores


def looks(engine: Engine, known: dict[str, tuple[str, ScoreReference]], place: Place) -> Iterator[Look]:
    """Read on from `place`, which is moved, and judge each window that became full. A patient counts once a call."""
    p = predictions.c
    query = select(p.seq, p.cancer, p.digest, p.patient, p.risk).where(
        p.seq > place.seq, p.arm == Arm.CHAMPION, p.status == PredictionStatus.OK
    )
    with snapshot(engine) as connection:
        rows = connection.execute(query.order_by(p.seq).limit(ROWS)).all()
    seen: set[tuple[str, str]] = set()
    for row in rows:
        place.seq = row.seq
        digest, reference = known.get(row.cancer, ("", ScoreReference()))
        if row.digest != digest or (row.cancer, row.patient) in seen:
            continue
        seen.add((row.cancer, row.patient))
        filling = place.filling.get(row.cancer)
        if filling is None or filling.digest != digest:
            filling = place.filling[row.cancer] = Filling(digest=digest, counts=[0] * len(reference.counts))
        filling.counts[reference.bin(row.risk)] += 1
        if sum(filling.counts) >= WINDOW:
            del place.filling[row.cancer]
            yield _look(row.cancer, filling, reference, row.seq)


def _look(cancer: str, filling: Filling, reference: ScoreReference, upto: int) -> Look:
    import numpy as np

    from clinical_assets.gates.data_quality.distances import categorical_drift

    drift = categorical_drift(np.asarray(reference.counts), np.asarray(filling.counts))
    size = "large" if drift.psi >= LARGE else "moved" if drift.psi >= MOVED else "as judged"
    verdict = size if drift.p < LEVEL else "as judged"
    return Look(
        cancer=cancer, digest=filling.digest, upto=upto, n=drift.n_current, psi=drift.psi, p=drift.p, verdict=verdict
    )

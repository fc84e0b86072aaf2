"""Which follow-up bands mirrored patients have passed since the last step, for the evidence from person-time.

A band is accounted once it and the reporting lag have passed, for whoever was at risk in it as far as was reported by
then. A report that comes later, or says that follow-up had ended earlier, takes back what was accounted too much.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, or_

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.rollout.evidence.hazard import BAND_EDGES
from clinical_assets.rollout.evidence.news import Passage
from clinical_assets.rollout.evidence.reading import Scope, mirrored_pairs, outcome_columns, outcome_of
from clinical_assets.rollout.tables import outcomes, predictions


@dataclass(frozen=True)
class _Patient:
    champion: float
    challenger: float
    end: float  # share of the horizon at which follow-up ended, infinite while it goes on
    event: bool

    def passes(self, band: int) -> Passage | None:
        start = BAND_EDGES[band - 1] if band else 0.0
        if self.end <= start:
            return None
        event = self.event and self.end <= BAND_EDGES[band]
        return Passage(self.champion, self.challenger, band, min(self.end, BAND_EDGES[band]), event)

    def corrects(self, band: int) -> Passage | None:
        """What a report changes in a band that was accounted as passed without event."""
        if self.end > BAND_EDGES[band]:
            return None
        start = BAND_EDGES[band - 1] if band else 0.0
        event = self.event and self.end > start
        return Passage(self.champion, self.challenger, band, max(self.end, start), event, withdrawn=True)


def passages(connection: Connection, scope: Scope) -> list[Passage]:
    """Passages accounted between two cursors, in the order of prediction time, then position, then band."""
    plan = scope.plan
    if not plan.counts_person_time or plan.horizon_days is None:
        return []
    horizon_s, lag_s = plan.horizon_s, plan.policy.reporting_lag_days * SECONDS_PER_DAY
    ends = [horizon_s * (1 - edge) - lag_s for edge in BAND_EDGES]
    windows = [(scope.before.mature_until + end, scope.until.mature_until + end) for end in ends]
    first, mirrored = predictions.alias("first"), predictions.alias("mirrored")
    within = [(first.c.predicted_at > low) & (first.c.predicted_at <= high) for low, high in windows]
    late = (outcomes.c.seq > scope.before.seq) & (first.c.predicted_at <= windows[0][0])
    query = (
        mirrored_pairs(first, mirrored, scope)
        .add_columns(first.c.seq, *outcome_columns)
        .outerjoin(outcomes, outcome_of(first, scope.until))
        .where(first.c.rollout_id == scope.rollout_id, first.c.seq <= scope.until.seq)
    )
    found = []
    for condition in (or_(*within), late):
        rows = connection.execute(query.where(condition)).all()
        found.extend((row.predicted_at, row.seq, row) for row in rows)
    chosen = {seq: (at, row) for at, seq, row in found}
    told: list[Passage] = []
    for _, (at, row) in sorted(chosen.items(), key=lambda item: (item[1][0], item[0])):
        ended = row.outcome_seq is not None
        end = row.time / plan.horizon_days if ended else float("inf")
        patient = _Patient(row.champion, row.challenger, end, bool(row.event) and ended)
        newly_reported = ended and row.outcome_seq > scope.before.seq
        for band, (low, high) in enumerate(windows):
            if low < at <= high:
                passage = patient.passes(band)
            elif newly_reported and at <= low:
                passage = patient.corrects(band)
            else:
                continue
            if passage is not None:
                told.append(passage)
    return told

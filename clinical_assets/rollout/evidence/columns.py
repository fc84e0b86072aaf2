"""Rows of the prediction log as columns: what a step of the evidence reads, in few queries however many rows there are.

Where rows are looked up by key, their position is an expression (`seq + 0`): an index on it would start the search from
the whole rollout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, case, func, select

from clinical_assets.rollout.entries import GROUP_SEPARATOR, Arm, PredictionStatus
from clinical_assets.rollout.evidence.news import Observed
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.tables import memberships, outcomes, predictions

T = TypeVar("T")

CHAMPION, CHALLENGER, SHADOW = 0, 1, 2
"""Codes of an arm; the first two also of a model."""

KEYS = 900
"""Keys in one query; SQLite's oldest limit is 999 bound values."""

BLOCK = 50_000
"""Rows fetched at once."""

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Logged:
    """Predictions by column. `model` 2: neither of the plan's; `risk` NaN: invalid."""

    seq: np.ndarray
    request: list[str]
    patient: list[str]
    model: np.ndarray
    arm: np.ndarray
    propensity: np.ndarray
    risk: np.ndarray
    ok: np.ndarray
    predicted_at: np.ndarray
    recorded_at: np.ndarray
    ours: np.ndarray

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def mirrored(self) -> np.ndarray:
        """Champion's answers while every request was mirrored: one by each patient's first makes a pair."""
        return self.ours & (self.arm == CHAMPION) & (self.propensity == 0)

    @property
    def randomised(self) -> np.ndarray:
        return self.ours & (self.arm != SHADOW) & (self.propensity > 0) & (self.propensity < 1)

    @property
    def promoted(self) -> np.ndarray:
        """Answers by the challenger alone."""
        return self.ours & (self.model == CHALLENGER) & (self.arm == CHALLENGER) & (self.propensity == 1)

    @property
    def copies(self) -> np.ndarray:
        """Valid scores of mirrored requests, whose answers nobody saw."""
        return (self.arm == SHADOW) & self.ok


def logged(connection: Connection, rollout_id: str, plan: RolloutPlan, *conditions: Any) -> Logged:
    """The predictions that satisfy `conditions`, in any order."""
    p = predictions.c
    query = select(
        p.seq,
        p.request_id,
        p.patient,
        case((p.digest == plan.champion, CHAMPION), (p.digest == plan.challenger, CHALLENGER), else_=2),
        case((p.arm == Arm.CHAMPION, CHAMPION), (p.arm == Arm.CHALLENGER, CHALLENGER), else_=SHADOW),
        p.propensity,
        p.risk,
        case((p.status == PredictionStatus.OK, 1), else_=0),
        p.predicted_at,
        p.recorded_at,
        case((p.rollout_id == rollout_id, 1), else_=0),
    )
    seq, request, patient, model, arm, propensity, risk, ok, at, recorded, ours = _columns(
        connection,
        query.where(*conditions),
        (int, str, str, int, int, float, float, bool, float, float, bool),
    )
    return Logged(seq, request, patient, model, arm, propensity, risk, ok, at, recorded, ours)


def joined(parts: Sequence[Logged]) -> Logged:
    """All rows of `parts`, each row once, in the order of the log."""
    whole = np.concatenate([part.seq for part in parts])
    seq, places = np.unique(whole, return_index=True)
    texts = []
    for name in ("request", "patient"):
        every = [value for part in parts for value in getattr(part, name)]
        texts.append([every[i] for i in places])
    rest = ("model", "arm", "propensity", "risk", "ok", "predicted_at", "recorded_at", "ours")
    return Logged(seq, *texts, *(np.concatenate([getattr(part, name) for part in parts])[places] for name in rest))


def of_requests(
    connection: Connection, rollout_id: str, plan: RolloutPlan, requests: Iterable[str], until: int
) -> list[Logged]:
    """The predictions of `requests` logged up to `until`."""
    p = predictions.c
    return [
        logged(connection, rollout_id, plan, p.request_id.in_(keys), p.seq + 0 <= until)
        for keys in _slices(list(requests))
    ]


@dataclass(frozen=True)
class Posted:
    """Outcomes by column, and the place of each request's."""

    seq: np.ndarray
    place: dict[str, int]
    told: Observed

    def of(self, requests: Sequence[str]) -> np.ndarray:
        """(n,) places, -1 where there is none."""
        return np.fromiter((self.place.get(request, -1) for request in requests), int, len(requests))

    def at(self, places: np.ndarray) -> Observed:
        told = self.told
        return Observed(told.time[places], told.event[places], told.label[places], told.recorded_at[places])


def posted(connection: Connection, cancer: str, after: int, until: int, requests: Iterable[str]) -> Posted:
    """The outcomes of a cancer type logged after `after`, and the earlier ones of `requests`; none after `until`."""
    o = outcomes.c
    query = select(o.seq, o.request_id, o.time, o.event, o.label, o.recorded_at).where(o.cancer == cancer)
    kinds = (int, str, float, float, float, float)
    parts = [_columns(connection, query.where(o.seq > after, o.seq <= until), kinds)]
    parts += [
        _columns(connection, query.where(o.seq + 0 <= min(after, until), o.request_id.in_(keys)), kinds)
        for keys in _slices(list(requests))
    ]
    names = [request for part in parts for request in part[1]]
    seq, time, event, label, recorded = (np.concatenate([part[i] for part in parts]) for i in (0, 2, 3, 4, 5))
    return Posted(seq, {name: i for i, name in enumerate(names)}, Observed(time, event, label, recorded))


@dataclass(frozen=True)
class Firsts:
    """Position in the log of the first row of a kind that each row's patient has, `NEVER` if none. All (n,)."""

    mirrored: np.ndarray
    randomised: np.ndarray
    promoted: np.ndarray
    scored: tuple[np.ndarray, np.ndarray]


def firsts(connection: Connection, rollout_id: str, plan: RolloutPlan, rows: Logged, history: int) -> Firsts:
    """Of the patients of `rows`, which hold everything after `history`; what came before is looked up."""
    code: dict[str, int] = {}
    places = np.fromiter((code.setdefault(patient, len(code)) for patient in rows.patient), int, len(rows))
    kinds = {"mirrored": rows.mirrored, "randomised": rows.randomised, "promoted": rows.promoted}
    kinds |= {str(model): rows.ours & (rows.model == model) for model in (CHAMPION, CHALLENGER)}
    found = {kind: np.full(len(code), NEVER) for kind in kinds}
    for kind, which in kinds.items():
        np.minimum.at(found[kind], places[which], rows.seq[which])
    p = predictions.c
    earlier = select(p.seq).where(p.rollout_id == rollout_id, p.seq <= history).limit(1)
    if history and connection.execute(earlier).first() is not None:
        randomised = p.arm.in_((Arm.CHAMPION, Arm.CHALLENGER)) & (p.propensity > 0) & (p.propensity < 1)
        conditions = {"mirrored": (p.arm == Arm.CHAMPION) & (p.propensity == 0), "randomised": randomised}
        conditions["promoted"] = (p.digest == plan.challenger) & (p.arm == Arm.CHALLENGER) & (p.propensity == 1)
        conditions |= {str(CHAMPION): p.digest == plan.champion, str(CHALLENGER): p.digest == plan.challenger}
        earliest = [func.min(case((condition, p.seq))) for condition in conditions.values()]
        for keys in _slices(list(code)):
            query = select(p.patient, *earliest).where(
                p.rollout_id == rollout_id, p.seq + 0 <= history, p.patient.in_(keys)
            )
            query = query.group_by(p.patient)
            for patient, *seqs in connection.execute(query):
                for kind, seq in zip(conditions, seqs, strict=True):
                    if seq is not None:
                        found[kind][code[patient]] = min(seq, found[kind][code[patient]])
    by_row = {kind: seqs[places] for kind, seqs in found.items()}
    models = by_row[str(CHAMPION)], by_row[str(CHALLENGER)]
    return Firsts(by_row["mirrored"], by_row["randomised"], by_row["promoted"], models)


def groups_of(connection: Connection, cancer: str, requests: Sequence[str]) -> list[tuple[str, ...]]:
    """The groups told with each request, none where nothing was told."""
    told: dict[str, str] = {}
    for keys in _slices(list(requests)):
        query = select(memberships.c.request_id, memberships.c.groups)
        query = query.where(memberships.c.cancer == cancer, memberships.c.request_id.in_(keys))
        told.update((request, groups) for request, groups in connection.execute(query))
    known = {"": ()} | {groups: split(groups) for groups in set(told.values())}
    return [known[told.get(request, "")] for request in requests]


def split(stored: str | None) -> tuple[str, ...]:
    return tuple(stored.split(GROUP_SEPARATOR)) if stored else ()


def _columns(connection: Connection, query: Any, kinds: Sequence[type]) -> list[Any]:
    """One list of texts or array of numbers per column; NULL is NaN."""
    found: list[list[Any]] = [[] for _ in kinds]
    cursor = connection.execute(query).cursor  # plain tuples: a `Row` for each costs as much as the query
    assert cursor is not None
    while rows := cursor.fetchmany(BLOCK):
        for column, kind, values in zip(found, kinds, zip(*rows, strict=True), strict=True):
            column.append(values if kind is str else np.array(values, dtype=kind))
    cursor.close()
    return [
        [value for part in parts for value in part] if kind is str else np.concatenate([np.empty(0, kind), *parts])
        for parts, kind in zip(found, kinds, strict=True)
    ]


def _slices(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), KEYS):
        yield items[start : start + KEYS]

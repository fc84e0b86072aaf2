"""Faults that harm one group of patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import expit

from benchmarks.gate_power.fault import Severity, fault, generator
from benchmarks.gate_power.performance_faults import blurring, on_link
from benchmarks.gate_power.releases import Release, with_frames, with_risk
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.performance.evidence import taken
from clinical_assets.gates.verdict import GateName
from clinical_assets.trials.groups import NOT_REPORTED, sensitive_groups

GATE = GateName.BIAS
HARMED = ("BI2", "BI5", "BI6", "BI7", "BI12")
"""A level or a ranking that is off in one group shows in sensitivity, calibration, discrimination or net benefit."""


def members(release: Release) -> Callable[[pd.DataFrame], np.ndarray] | None:
    """Who belongs to the group that is harmed: the one with most events, of at most half of the patients, whose
    attribute the model sees, too. None where no group has the events that the policy asks of one."""
    facts = release.facts
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    happened = (frame["label"] if "label" in frame else frame["event"]).to_numpy() == 1
    if "time" in frame:
        happened &= frame["time"].to_numpy() <= float(facts.contract.endpoint.horizon_days or 0.0)
    inputs = {column.name for column in facts.contract.features}
    found: dict[tuple[str, str], int] = {}
    for attribute, names in sensitive_groups(frame, facts.contract).items():
        for name in set(names) - {NOT_REPORTED} if attribute in inputs else ():
            inside = (names == name).to_numpy()
            if inside.mean() <= 0.55:
                found[str(attribute), str(name)] = int(happened[inside].sum())
    if not found:
        return None
    (attribute, name), events = max(found.items(), key=lambda item: (item[1], item[0]))
    if events < release.policy.bias.min_group_events:
        return None
    contract = facts.contract

    def inside_group(rows: pd.DataFrame) -> np.ndarray:
        whole = rows.reindex(columns=list(frame.columns))
        return (sensitive_groups(whole, contract)[attribute] == name).to_numpy()

    return inside_group


def _in_group(release: Release, change: Callable[[np.ndarray], np.ndarray]) -> ReleaseFacts | None:
    inside = members(release)
    if inside is None:
        return None
    return with_risk(release.facts, lambda risk, frame: np.where(inside(frame), change(risk), risk))


@fault(GATE, "risks too low in one group", *HARMED)
def group_shift(release: Release, severity: Severity) -> ReleaseFacts | None:
    return _in_group(release, lambda risk: expit(on_link(risk) - severity.of(0.4, 1.2, 2.4)))


@fault(GATE, "risks too extreme in one group", *HARMED)
def group_calibration(release: Release, severity: Severity) -> ReleaseFacts | None:
    centre = float(np.median(on_link(release.facts.test_pred.risk)))
    factor = severity.of(1.5, 3.0, 6.0)
    return _in_group(release, lambda risk: expit(centre + factor * (on_link(risk) - centre)))


@fault(GATE, "features of one group mixed up", *HARMED)
def group_features(release: Release, severity: Severity) -> ReleaseFacts | None:
    """One laboratory's results belong to other patients of the group: their risks no longer rank them."""
    inside, facts = members(release), release.facts
    if inside is None:
        return None
    order = pd.Index(facts.test["subject_id"].astype(str)).get_indexer(facts.test_pred.subject_ids.astype(str))
    return _in_group(release, blurring(release, severity.of(0.7, 2.0, 8.0), inside(facts.test)[order]))


@fault(GATE, "outcomes of one group mislabelled", *HARMED)
def group_labels(release: Release, severity: Severity) -> ReleaseFacts | None:
    """Events of the group are not recorded, in both splits."""
    inside, facts = members(release), release.facts
    if inside is None:
        return None
    name, rng = "label" if "label" in facts.test else "event", generator(release, "group labels")

    def without(frame: pd.DataFrame) -> pd.DataFrame:
        lost = inside(frame) & (rng.random(len(frame)) < severity.of(0.2, 0.6, 0.9))
        return frame.assign(**{name: frame[name].mask(lost, 0)})

    return with_frames(facts, without(facts.train), without(facts.test))


@fault(GATE, "one group left out of the audit", "BI16")
def dropped_group(release: Release, severity: Severity) -> ReleaseFacts | None:
    """Patients who were ingested and never scored: some of the group, half, all."""
    inside, facts = members(release), release.facts
    if inside is None:
        return None
    gone = inside(facts.test) & (generator(release, "dropped").random(len(facts.test)) < severity.of(0.1, 0.5, 1.0))
    kept = facts.test[~gone].reset_index(drop=True)
    if kept.empty or not gone.any():
        return None
    short = with_frames(facts, test=kept)
    rows = np.arange(len(kept))
    return replace(short, test_pred=taken(short.test_pred, rows), manifest=facts.manifest, recomputed=facts.recomputed)

"""Faults of the model and of its way into service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import erfinv, expit, logit

from benchmarks.gate_power.data_faults import measured
from benchmarks.gate_power.fault import Severity, fault, generator
from benchmarks.gate_power.releases import Release, rescored, with_risk
from clinical_assets.evaluation import predict
from clinical_assets.gates.facts import Predictions, ReleaseFacts, TestLook
from clinical_assets.gates.performance.evidence import taken
from clinical_assets.gates.verdict import GateName

GATE = GateName.PERFORMANCE


def on_link(risk: np.ndarray) -> np.ndarray:
    return logit(np.clip(risk, 1e-9, 1 - 1e-9))


def scramble(risk: np.ndarray) -> np.ndarray:
    """(n,) standard normal numbers that depend on the risk alone, so that every path of scoring makes the same ones."""
    return np.sqrt(2.0) * erfinv(2.0 * np.clip((risk * 1e4) % 1.0, 0.005, 0.995) - 1.0)


def blurring(release: Release, size: float, rows: np.ndarray | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Disturbs the order of risks by noise of `size` times the spread that they have among the test patients (those at
    `rows`); spread and level stay. What becomes of a risk depends on nobody else's."""
    link = on_link(release.facts.test_pred.risk if rows is None else release.facts.test_pred.risk[rows])
    centre, spread = float(np.median(link)), float(link.std())

    def blurred(risk: np.ndarray) -> np.ndarray:
        moved = on_link(risk) - centre + size * spread * scramble(risk)
        return expit(centre + moved / np.hypot(1.0, size))

    return blurred


@fault(GATE, "a column that knows the outcome", "MP15b", "MP15c", "MP15e")
def leaked_column(release: Release, severity: Severity) -> ReleaseFacts | None:
    """The values of the leading measurement, dealt out in the order of the outcome with some noise."""
    facts, columns = release.facts, measured(release)
    if not columns:
        return None
    name, rng = columns[0].name, generator(release, "leaked")

    def leaking(frame: pd.DataFrame) -> pd.DataFrame:
        early = -frame["time"].rank(pct=True).to_numpy() if "time" in frame else frame["label"].to_numpy(float)
        late = np.where(frame["event"] == 1, early, -1.5) if "event" in frame else early
        told = late + severity.of(0.5, 0.1, 0.0) * rng.standard_normal(len(frame))
        values = np.sort(frame[name].to_numpy(float))[np.argsort(np.argsort(told))]
        return frame.assign(**{name: values})

    train, test = leaking(facts.train), leaking(facts.test)
    return rescored(release, train, test)


@fault(GATE, "a feature known only later", "MP15a")
def late_feature(release: Release, severity: Severity) -> ReleaseFacts:
    contract = release.facts.contract
    declared = contract.model_dump(mode="json")
    features = [entry for entry in declared["columns"] if entry["role"] == "feature"]
    features[0]["available_at"] = severity.of(1, 30, None)
    return replace(release.facts, contract=type(contract).model_validate(declared))


@fault(GATE, "the sign of the risk", "MP18")
def turned_sign(release: Release, severity: Severity) -> ReleaseFacts:
    """1 - risk, or the risk mirrored about its median, which leaves its level as it was."""
    if severity is Severity.SEVERE:
        return with_risk(release.facts, lambda risk, _: 1.0 - risk)
    centre, size = float(np.median(on_link(release.facts.test_pred.risk))), severity.of(0.5, 1.0, 1.0)
    return with_risk(release.facts, lambda risk, _: expit(centre - size * (on_link(risk) - centre)))


@fault(GATE, "overconfident", "MP5")
def overconfident(release: Release, severity: Severity) -> ReleaseFacts:
    """Logits drawn apart, as by training too long."""
    centre, factor = float(np.median(on_link(release.facts.test_pred.risk))), severity.of(1.5, 3.0, 5.0)
    return with_risk(release.facts, lambda risk, _: expit(centre + factor * (on_link(risk) - centre)))


@fault(GATE, "baseline from another population", "MP5")
def shifted_baseline(release: Release, severity: Severity) -> ReleaseFacts:
    return with_risk(release.facts, lambda risk, _: expit(on_link(risk) + severity.of(0.3, 0.9, 1.8)))


@fault(GATE, "horizon in another unit", "MP17", "MP5")
def wrong_horizon(release: Release, severity: Severity) -> ReleaseFacts | None:
    """The clock of the curves runs slow: by a tenth, a third, months read as days."""
    facts, speed = release.facts, severity.of(0.9, 0.67, 1 / 30.44)
    horizon = facts.contract.endpoint.horizon_days
    if horizon is None or facts.oof is None or facts.test_pred.times is None:
        return None
    X = facts.test[[column.name for column in facts.contract.features]]
    curves = release.model.survival(X, facts.test_pred.times * speed)
    tested = replace(predict(release.model, facts.test, facts.contract), survival=curves, risk=1.0 - curves[:, -1])
    return replace(
        facts,
        test_pred=tested,
        oof=_slowed(facts.oof, speed),
        serve_score=lambda frame: release.model.risk(frame, horizon * speed),
    )


def _slowed(predictions: Predictions, speed: float) -> Predictions:
    times, survival = predictions.times, predictions.survival
    assert times is not None
    assert survival is not None
    known = np.column_stack([np.ones(len(survival)), survival])
    curves = np.array([np.interp(times * speed, np.append(0.0, times), row) for row in known])
    return replace(predictions, survival=curves, risk=1.0 - curves[:, -1])


@fault(GATE, "stale features in service", "MP19")
def stale_features(release: Release, severity: Severity) -> ReleaseFacts | None:
    """The feature store answers with yesterday's value of the leading measurement: one value for some or all rows."""
    columns, score = measured(release), release.facts.serve_score
    if not columns or score is None:
        return None
    name, train = columns[0].name, release.facts.train
    border = float(train[name].quantile(severity.of(0.1, 0.5, 1.0)))
    old = float(train[name].median())

    def stale(frame: pd.DataFrame) -> np.ndarray:
        return np.asarray(score(frame.assign(**{name: frame[name].where(frame[name] > border, old)})))

    if np.array_equal(stale(release.facts.test), np.asarray(score(release.facts.test))):
        return None  # the model does not use it, or it did not change: no fault
    return replace(release.facts, serve_score=stale)


@fault(GATE, "served by another formula", "MP19")
def unparity(release: Release, severity: Severity) -> ReleaseFacts | None:
    """The service leaves a step of the calibration out."""
    score = release.facts.serve_score
    if score is None:
        return None
    slope = severity.of(1.001, 1.05, 1.5)
    return replace(release.facts, serve_score=lambda frame: expit(slope * on_link(np.asarray(score(frame)))))


@fault(GATE, "worse than the champion", "MP9")
def inferior(release: Release, severity: Severity) -> ReleaseFacts:
    """The clean model answers patients today; the candidate ranks with noise of 1, 2 and 4 times its own spread."""
    facts = replace(release.facts, champion_pred=release.facts.test_pred, champion_name="a" * 12)
    blurred = blurring(release, severity.of(1.0, 2.0, 4.0))
    return with_risk(facts, lambda risk, _: blurred(risk))


@fault(GATE, "creeping loss", "MP10")
def bio_creep(release: Release, severity: Severity) -> ReleaseFacts:
    """Not worse than the last champion, far worse than the first approved model."""
    first, blurred = release.facts.test_pred, blurring(release, severity.of(1.0, 2.0, 4.0))
    facts = with_risk(release.facts, lambda risk, _: blurred(risk))
    return replace(
        facts, champion_pred=facts.test_pred, champion_name="b" * 12, anchor_pred=first, anchor_name="a" * 12
    )


@fault(GATE, "a test split looked at too often", "MP10")
def many_looks(release: Release, severity: Severity) -> ReleaseFacts:
    facts, most = release.facts, release.policy.performance.max_looks
    looks = tuple(
        TestLook(facts.split.digest, f"{number:064x}", release.policy.digest, "2026-01-01T00:00:00+00:00")
        for number in range(most + severity.of(0, 2, 20))
    )
    return replace(facts, looks=looks + facts.looks)


@fault(GATE, "compared on other patients", "MP11")
def other_patients(release: Release, severity: Severity) -> ReleaseFacts:
    """The champion's figures leave out some of the test patients."""
    pred = release.facts.test_pred
    left_out = max(1, round(severity.of(0.0, 0.1, 0.5) * len(pred.risk)))
    champion = taken(pred, np.arange(left_out, len(pred.risk)))
    return replace(release.facts, champion_pred=champion, champion_name="a" * 12)


@fault(GATE, "operating point chosen on the test split", "MP16")
def chosen_on_test(release: Release, severity: Severity) -> ReleaseFacts:
    """Said by the search itself, or shown by a contract that changed after ingestion or after training."""
    facts = release.facts
    if severity is Severity.MEDIUM:
        chosen = {"operating_point": {"split_digest": facts.split.digest}}
        return replace(facts, cv_choice={**facts.cv_choice, **chosen})
    if severity is Severity.MILD:
        return replace(facts, manifest={**facts.manifest, "contract_sha256": "0" * 64})
    return replace(facts, lineage={**facts.lineage, "contract_digest": "0" * 64})


@fault(GATE, "risks that are not a number", "MP18")
def not_a_number(release: Release, severity: Severity) -> ReleaseFacts:
    pred = release.facts.test_pred
    risk = pred.risk.copy()
    risk[: max(1, round(severity.of(0.0, 0.05, 0.5) * len(risk)))] = np.nan
    return replace(release.facts, test_pred=replace(pred, risk=risk))


@fault(GATE, "hardly any distinct risks", "MP18")
def degenerate(release: Release, severity: Severity) -> ReleaseFacts:
    levels = severity.of(10, 4, 1)

    def coarse(risk: np.ndarray, _: pd.DataFrame) -> np.ndarray:
        return np.clip(np.round(risk * levels) / levels, 0.02, 0.98)

    return with_risk(release.facts, coarse)

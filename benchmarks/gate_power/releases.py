"""Clean releases made by the platform itself, their clean twins, and what injections have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from clinical_assets.catalog import load_catalog
from clinical_assets.evaluation import predict
from clinical_assets.foundation.home import Home
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.performance.evidence import taken
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.modeling.artifact import load_model
from clinical_assets.modeling.model import FamilyModel

SHARE = 0.85
"""Patients of either side that a clean twin keeps."""


@dataclass(frozen=True)
class Release:
    """`verify`: outcome of verifying the model's signature over another directory. `scratch`: for edited copies."""

    facts: ReleaseFacts
    policy: GatePolicy
    model: FamilyModel
    verify: Callable[[Path], bool | str]
    scratch: Path


def build(home: Path, cancers: list[str]) -> None:
    """Raw data to signed verdict for each cancer type under `home`; unchanged ones cost a look.

    Raises:
        subprocess.CalledProcessError: the backfill itself failed.
    """
    environment = {**os.environ, "CLINICAL_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    command = str(Path(sys.executable).with_name("clinical"))
    subprocess.run([command, "backfill", *cancers], env=environment, check=True)


def standing(cancers: list[str]) -> list[str]:
    """Those with a trained model in `$CLINICAL_HOME`."""
    from clinical_assets.standing_model import NoModel, standing_model

    found = []
    for cancer in cancers:
        try:
            standing_model(cancer)
        except NoModel:
            continue
        found.append(cancer)
    return found


def open_release(slug: str, scratch: Path) -> Release:
    """The model of a cancer type that stands now in `$CLINICAL_HOME`, with the facts that a run would judge."""
    from clinical_assets.audit.artifact_signature import verify_directory
    from clinical_assets.definitions import default_resources
    from clinical_assets.release import gather
    from clinical_assets.rollout.champion import champion_of
    from clinical_assets.standing_model import standing_model

    cancer, resources = load_catalog()[slug], default_resources()
    store, registry, ledger = (resources[name] for name in ("object_store", "model_registry", "ledger_store"))
    model = standing_model(slug)
    facts = gather(cancer, model, champion_of(ledger.ledger(), slug), store, registry, ledger)
    keys = ledger.signer.key_store()
    signature = Home.from_env().objects / "models" / f"{model.digest}.sig"

    def verify(directory: Path) -> bool | str:
        return verify_directory(directory, signature, keys).fact

    return Release(facts, cancer.gates, load_model(facts.model_dir, facts.model_digest), verify, scratch)


def twin(release: Release, seed: int) -> Release:
    """As if recruitment had gone otherwise: an even draw of patients of either side, everything else in order."""
    facts, rng = release.facts, np.random.default_rng(seed)
    kept = [
        frame.iloc[np.sort(rng.choice(len(frame), int(SHARE * len(frame)), replace=False))].reset_index(drop=True)
        for frame in (facts.train, facts.test)
    ]
    return replace(release, facts=with_frames(facts, *kept))


def with_frames(facts: ReleaseFacts, train: pd.DataFrame | None = None, test: pd.DataFrame | None = None,
                origin: Mapping[str, str] | None = None) -> ReleaseFacts:  # fmt: skip
    """Other rows with the predictions that these patients had, under a manifest that counts them.

    origin: new identifier -> the one under which the patient was predicted.
    """
    train = facts.train if train is None else train
    test = facts.test if test is None else test
    rows = len(train) + len(test)
    known = origin or {}

    def of(frame: pd.DataFrame, *pools: Predictions | None) -> Predictions | None:
        if pools[0] is None:
            return None
        pool = _joined([one for one in pools if one is not None])
        subjects = [known.get(str(one), str(one)) for one in frame["subject_id"]]
        order = pd.Index(pool.subject_ids.astype(str)).drop_duplicates().get_indexer(subjects)
        return replace(taken(pool, order), subject_ids=frame["subject_id"].to_numpy(object))

    tested, reference = of(test, facts.test_pred, facts.oof), of(test, facts.reference_pred, facts.reference_oof)
    assert tested is not None
    assert reference is not None
    return replace(
        facts,
        train=train,
        test=test,
        test_pred=tested,
        reference_pred=reference,
        oof=of(train, facts.oof),
        reference_oof=of(train, facts.reference_oof),
        champion_pred=of(test, facts.champion_pred, facts.oof),
        anchor_pred=of(test, facts.anchor_pred, facts.oof),
        manifest={**facts.manifest, "rows": rows},
        recomputed={**facts.recomputed, "rows": rows},
    )


def _joined(pools: list[Predictions]) -> Predictions:
    first = pools[0]
    found = [pool.survival for pool in pools if pool.survival is not None]
    curves = np.vstack(found) if found else None
    return replace(
        first,
        subject_ids=np.concatenate([pool.subject_ids for pool in pools]),
        risk=np.concatenate([pool.risk for pool in pools]),
        survival=curves,
    )


def rescored(
    release: Release,
    train: pd.DataFrame | None = None,
    test: pd.DataFrame | None = None,
    origin: Mapping[str, str] | None = None,
) -> ReleaseFacts:
    """Other values, and what the model says about them; what it refuses keeps the old answer. The reference model is
    not at hand any more: it answers as the candidate does, so that no difference to it gives a fault away."""
    facts = with_frames(release.facts, train, test, origin)
    if test is None:
        return facts
    try:
        scored = predict(release.model, test, facts.contract)
    except ValueError:
        return facts
    return replace(facts, test_pred=scored, reference_pred=scored)


def with_risk(facts: ReleaseFacts, change: Callable[[np.ndarray, pd.DataFrame], np.ndarray]) -> ReleaseFacts:
    """The candidate's risks changed wherever they are made: test, out of fold and served. Curves follow the risk."""

    def changed(predictions: Predictions, frame: pd.DataFrame) -> Predictions:
        order = pd.Index(predictions.subject_ids.astype(str)).get_indexer(frame["subject_id"].astype(str))
        predictions = taken(predictions, order)
        risk = change(predictions.risk, frame)
        if predictions.survival is None:
            return replace(predictions, risk=risk)
        before, after = (np.log1p(-np.clip(one, 1e-12, 1 - 1e-12)) for one in (predictions.risk, risk))
        curves = predictions.survival ** (after / before)[:, None]
        curves[:, -1] = 1.0 - risk
        return replace(predictions, risk=risk, survival=np.minimum.accumulate(curves, axis=1))

    score = facts.serve_score
    assert score is not None
    assert facts.oof is not None
    return replace(
        facts,
        test_pred=changed(facts.test_pred, facts.test),
        oof=changed(facts.oof, facts.train),
        serve_score=lambda frame: change(np.asarray(score(frame)), frame),
    )

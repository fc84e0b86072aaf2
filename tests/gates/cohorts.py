"""Releases of real cohorts, trained once per session: a clean candidate, before a fault is injected."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.catalog import configs_directory, load_catalog
from clinical_assets.evaluation import out_of_fold, predict
from clinical_assets.gates import judging  # noqa: F401 - registers every check
from clinical_assets.gates.checks import REGISTER, Case
from clinical_assets.gates.facts import (
    AuditState,
    PolicyLock,
    Predictions,
    ReleaseFacts,
    SignatureFact,
    SplitFacts,
    TestLook,
)
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.security.facts import EnvironmentFacts
from clinical_assets.gates.security.sandbox.client import run_in_sandbox
from clinical_assets.gates.security.supply_chain.environment import collect
from clinical_assets.gates.verdict import CheckResult, GateReport
from clinical_assets.modeling.artifact import load_scorer, publish_model
from clinical_assets.modeling.options import ModelOptions
from clinical_assets.modeling.search import search
from clinical_assets.release import data_facts
from clinical_assets.request_path import request_path
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from resources.object_store import ObjectStore

NOW = 1_800_000_000.0
POLICY = GatePolicy()
ROOT = Path(tempfile.mkdtemp(prefix="gates-"))


@lru_cache
def environment() -> EnvironmentFacts:
    """What this test runs on, without a snapshot of vulnerabilities."""
    configs = configs_directory()
    return collect(POLICY.security, configs.parent, configs, ROOT / "environment", ROOT / "absent.json")


@lru_cache
def release(slug: str) -> ReleaseFacts:
    """A penalised Cox (logistic) model on the real cohort, with everything in order."""
    cancer = load_catalog()[slug]
    snapshot = ingest(slug, cancer.source, cancer.contract, SnapshotStore(ROOT))
    frame, split = snapshot.read(), cancer.subject_split
    train, test = split.parts(frame)
    found = search(train, cancer.contract, ModelOptions(families=("cox",)))
    path = publish_model(found.candidate, ROOT / "models", cancer.contract, slug, {"snapshot": snapshot.digest})
    digest = path.name
    tested = predict(found.candidate, test, cancer.contract)
    scorer = load_scorer(path, digest)
    cross = out_of_fold(found.out_of_fold, found.subject_ids)
    return ReleaseFacts(
        cancer=slug,
        tier=cancer.tier,
        contract=cancer.contract,
        now=NOW,
        author="platform",
        train=train,
        test=test,
        split=SplitFacts(split.salt, split.test_fraction, split.digest(frame), split.digest(frame)),
        manifest=snapshot.manifest.model_dump(mode="json"),
        recomputed=snapshot.recompute(),
        test_pred=tested,
        oof=cross,
        reference_pred=tested,
        reference_oof=cross,
        reference_name="penalised Cox",
        model_dir=path,
        model_digest=digest,
        digests={"evaluated": digest, "signed": digest, "logged": digest, "deployed": None},
        serve_score=scorer.risk,
        serve_request=request_path(scorer),
        sandbox=run_in_sandbox(path, digest),
        environment=environment(),
        lineage=lineage(cancer.contract.digest, snapshot.sha256, split.digest(frame)),
        audit=AuditState(True, 12),
        signature_ok=True,
        signatures=(SignatureFact("model", "platform", digest, True),),
        artifacts_text={"card.json": (path / "model.json").read_text()},
        looks=(TestLook(split.digest(frame), digest, POLICY.digest, "2026-01-01T00:00:00+00:00"),),
        policy_lock=PolicyLock(POLICY.digest, POLICY.content, "2026-01-01T00:00:00+00:00"),
        declared=cancer.declared_use,
    )


@lru_cache
def cohort(slug: str) -> ReleaseFacts:
    """The real cohort before any model exists: what the data-quality gate sees after the ingest."""
    cancer = load_catalog()[slug]
    snapshot = ingest(slug, cancer.source, cancer.contract, SnapshotStore(ROOT))
    return data_facts(cancer, snapshot, "", ObjectStore(root=str(ROOT)))


def lineage(contract: str, data: str, split: str) -> dict[str, Any]:
    return {
        "data_digest": data,
        "features_digest": "f" * 64,
        "split_digest": split,
        "policy_digest": POLICY.digest,
        "contract_digest": contract,
        "lock_digest": "1" * 64,
        "commit": "50b06351ce0af8b8f7a17fc4a09e92c158d58a6e",
        "clean": True,
        "seed": 20_240_229,
        "parameters": {"families": ["cox"]},
        "parent_model": "none",
    }


def select(predictions: Predictions, rows: np.ndarray) -> Predictions:
    """The predictions at `rows` (boolean or positions)."""
    survival = None if predictions.survival is None else predictions.survival[rows]
    return replace(
        predictions, subject_ids=predictions.subject_ids[rows], risk=predictions.risk[rows], survival=survival
    )


def with_frames(
    facts: ReleaseFacts, train: pd.DataFrame | None = None, test: pd.DataFrame | None = None
) -> ReleaseFacts:
    """Other rows, with a manifest that matches their number."""
    changed = replace(facts, train=facts.train if train is None else train, test=facts.test if test is None else test)
    rows = len(changed.train) + len(changed.test)
    return replace(changed, manifest={**facts.manifest, "rows": rows}, recomputed={**facts.recomputed, "rows": rows})


def with_contract(facts: ReleaseFacts, column: str, **changes: Any) -> ReleaseFacts:
    """The same rows under a contract in which one column is declared differently."""
    declared = facts.contract.model_dump(mode="json")
    for entry in declared["columns"]:
        if entry["name"] == column:
            entry.update(changes)
    return replace(facts, contract=type(facts.contract).model_validate(declared))


def with_risk(facts: ReleaseFacts, change: Callable[[np.ndarray, pd.DataFrame], np.ndarray]) -> ReleaseFacts:
    """The candidate's risks changed on test and out-of-fold patients alike; the reference model stays as it is."""

    def changed(predictions: Predictions, frame: pd.DataFrame) -> Predictions:
        risk = change(predictions.risk, frame)
        if predictions.survival is None:
            return replace(predictions, risk=risk)
        power = np.log1p(-np.clip(risk, 1e-9, 1 - 1e-9)) / np.log1p(-np.clip(predictions.risk, 1e-9, 1 - 1e-9))
        return replace(predictions, risk=risk, survival=predictions.survival ** power[:, None])

    assert facts.oof is not None
    return replace(facts, test_pred=changed(facts.test_pred, facts.test), oof=changed(facts.oof, facts.train))


def found(report: GateReport, id: str) -> CheckResult:
    return next(check for check in report.checks if check.id == id)


def checked(facts: ReleaseFacts, id: str, policy: GatePolicy = POLICY) -> CheckResult:
    """The result of one check alone."""
    return REGISTER[id].run(Case(facts, policy))

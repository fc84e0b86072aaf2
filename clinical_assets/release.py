"""A release under judgement: every fact about one trained model, and the five gates over it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clinical_assets import evaluation
from clinical_assets.anchor_model import anchor_of, anchor_predictions
from clinical_assets.audit.artifact_signature import verify_directory
from clinical_assets.audit.decision import Refused, SignedRecord
from clinical_assets.catalog import CancerType, configs_directory
from clinical_assets.conformance import conformance_of
from clinical_assets.evidence.declared import DECLARED, declared_card
from clinical_assets.foundation.canonical import sha256_directory, sha256_json
from clinical_assets.foundation.home import Home
from clinical_assets.gates.facts import AuditState, Predictions, ReleaseFacts, SignatureFact, SplitFacts
from clinical_assets.gates.security.facts import EnvironmentFacts, SandboxRun
from clinical_assets.gates.verdict import GateName, GateReport, Scope
from clinical_assets.lineage import code_digest, commit, environment_digest
from clinical_assets.references import ModelReference, VerdictReference
from clinical_assets.release_history import ReleaseHistory
from clinical_assets.request_path import request_path
from clinical_assets.training_data import TrainingData, open_training_data
from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry, RegisteredModel
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.trials.contract import CohortContract
    from clinical_assets.trials.snapshot import Snapshot

AUTHOR = "platform"
"""Who trains: runs act under the platform's own key, so that any person may approve what it made."""


def gather(
    cancer: CancerType,
    model: ModelReference,
    champion: str,
    object_store: ObjectStore,
    model_registry: ModelRegistry,
    ledger_store: LedgerStore,
) -> ReleaseFacts:
    """The facts about `model`; `champion` is the digest that answers patients now, "" when none does."""
    from clinical_assets.modeling.artifact import load_scorer

    data = open_training_data(cancer, model.features, object_store)
    directory = object_store.model(model.digest)
    predictions = object_store.fetch("predictions", cancer.slug, model.digest)
    choice = json.loads((predictions / "choice.json").read_text())
    records = ledger_store.records()
    signed = object_store.signature(model.digest)
    signature = verify_directory(directory, signed, ledger_store.signer.key_store(), records.revocations.now().keys)
    now = time.time()
    history = ReleaseHistory(cancer, model, ledger_store, now)
    presented = (
        SignatureFact("model", AUTHOR, model.digest, signature.ok, signature.problem),
        *records.statements.signature_facts(model.digest),
    )
    on_disk = sha256_directory(directory)
    anchor = anchor_of(records, cancer.slug, model.digest)
    scorer = load_scorer(directory, model.digest)
    sandbox = sandbox_run(directory, model.digest, cancer.slug, object_store)
    return ReleaseFacts(
        cancer=cancer.slug,
        tier=cancer.tier,
        contract=cancer.contract,
        now=now,
        author=AUTHOR,
        train=data.train,
        test=data.test,
        split=split_facts(cancer, model.features.split_digest, data.split_digest),
        manifest=data.snapshot.manifest.model_dump(mode="json"),
        recomputed=data.snapshot.recompute(),
        test_pred=evaluation.load(predictions / "test.npz"),
        oof=evaluation.load(predictions / "out_of_fold.npz"),
        reference_pred=evaluation.load(predictions / "reference_test.npz"),
        reference_oof=evaluation.load(predictions / "reference_out_of_fold.npz"),
        reference_name=choice["reference"],
        champion_pred=_champion_predictions(cancer.contract, champion, data, object_store),
        champion_name=champion[:12] or None,
        champion_train=champion_training_frame(cancer, champion, object_store),
        conformance=conformance_of(cancer.source, cancer.gates.data_quality),
        anchor_pred=anchor_predictions(anchor, cancer.contract, data, object_store),
        anchor_name=anchor[:12] or None,
        model_dir=directory,
        model_digest=model.digest,
        digests={
            "evaluated": model.digest,
            "signed": on_disk if signature.ok else None,
            "logged": model_registry.digest_of(RegisteredModel("", model.mlflow_version, model.mlflow_run)),
            "deployed": on_disk,
            "loaded": scorer.digest,
        },
        serve_score=scorer.risk,
        serve_request=request_path(scorer),
        sandbox=sandbox,
        environment=environment_facts(cancer),
        lineage=lineage(cancer, model, choice, champion),
        audit=history.audit(),
        looks=history.looks(),
        policy_lock=history.policy_lock(),
        first_verdict_utc=history.first_verdict(),
        reproduction=history.reproduction(),
        declared=cancer.declared_use,
        baseline=history.baseline(object_store),
        bundle=history.bundle(object_store),
        signature_ok=signature.fact,
        signatures=presented,
        approvals=records.statements.approvals(cancer.slug, model.digest, now),
        waivers=records.statements.waivers(cancer.slug, model.digest, now),
        cv_choice=choice,
        artifacts_text={
            "model.json": (directory / "model.json").read_text(),
            "manifest.json": data.snapshot.manifest.model_dump_json(),
            "context_of_use.json": cancer.context_of_use.model_dump_json(),
            DECLARED: declared_card(cancer, model.family, data.snapshot.manifest.model_dump(mode="json")),
        },
        known_contacts=tuple(owner for owner in cancer.owners if "@" in owner),
    )


def lineage(cancer: CancerType, model: ModelReference, choice: Mapping[str, Any], champion: str) -> dict[str, Any]:
    """Where the model came from, each part resolvable."""
    head, clean = commit()
    return {
        "data_digest": model.features.snapshot.table_sha256,
        "snapshot": model.features.snapshot.digest,
        "features_digest": model.features.digest,
        "split_digest": model.features.split_digest,
        "contract_digest": cancer.contract.digest,
        "policy_digest": cancer.gates.digest,
        "lock_digest": environment_digest(),
        "commit": head,
        "clean": clean,
        "code_digest": code_digest("trials", "modeling", "gates"),
        "seed": choice["seed"],
        "parameters": {"family": choice["family"], **cancer.models.model_dump(mode="json")},
        "parent_model": champion or "none",
        "intended_use_digest": cancer.context_of_use.digest,
        "mlflow_run": model.mlflow_run,
    }


def verdict_input(cancer: CancerType, model: ModelReference, champion: str, ledger_store: LedgerStore) -> str:
    """Identity of all that a verdict depends on; with it and a record in force, nothing is judged again."""
    records = ledger_store.records()
    signed = records.statements.deciding(cancer.slug, model.digest, time.time())
    anchor = anchor_of(records, cancer.slug, model.digest)
    return sha256_json(
        [
            model.model_dump(), cancer.contract.digest, cancer.gates.digest, cancer.tier, champion, anchor,
            cancer.declared_use.digest, signed,
            code_digest("trials", "modeling", "gates"), environment_facts(cancer).digest,
        ]
    )  # fmt: skip


def standing_record(
    cancer: CancerType, model: ModelReference, input_sha: str, object_store: ObjectStore, ledger_store: LedgerStore
) -> SignedRecord | None:
    """The signed record made from these inputs, if it verifies, stands and grants something."""
    known = object_store.recall("gate_verdict", cancer.slug, input_sha, VerdictReference)
    if known is None or known.scope == Scope.NONE:
        return None
    return standing_answer(known, ledger_store)


def standing_answer(known: VerdictReference, ledger_store: LedgerStore) -> SignedRecord | None:
    """The record that `known` names, be it a grant or a refusal, if it verifies and is in force."""
    try:
        signed = ledger_store.records().require(known.model_digest, known.cancer, Scope(known.scope), time.time())
    except Refused:
        return None
    return signed if signed.digest == known.record else None


def environment_facts(cancer: CancerType) -> EnvironmentFacts:
    """What every release of this environment shares; the vulnerabilities are those of the imported snapshot."""
    from clinical_assets.gates.security.supply_chain.environment import SNAPSHOT, collect

    home, configs, checkout = Home.from_env().root, configs_directory(), Path(__file__).parent.parent
    root = checkout if (checkout / "pyproject.toml").is_file() else configs.parent
    return collect(cancer.gates.security, root, configs, home / "environment", home / SNAPSHOT)


def sandbox_run(directory: Path, digest: str, cancer: str, object_store: ObjectStore) -> SandboxRun:
    """What loading did under confinement; a clean run of these very bytes and this code is not made again."""
    from clinical_assets.gates.security.sandbox.client import run_in_sandbox

    key = sha256_json([digest, sha256_directory(directory), code_digest("gates", "modeling"), environment_digest()])
    known = object_store.recall("sandbox", cancer, key, SandboxRun)
    if known is None:
        known = run_in_sandbox(directory, digest)
        if known.digest and not known.problem:
            object_store.remember("sandbox", cancer, key, known)
    return known


_JUDGED: dict[str, GateReport] = {}


def judge(gate: GateName, facts: ReleaseFacts, cancer: CancerType) -> GateReport:
    """One gate over the facts; a report that this process made over the very same facts is not made again."""
    from clinical_assets.gates.judging import JUDGES

    key = sha256_json(
        [
            gate, facts.model_digest, cancer.gates.digest, facts.champion_name, facts.anchor_name, len(facts.looks),
            dict(facts.lineage),
            dict(facts.digests),
            facts.manifest["table_sha256"], facts.recomputed["table_sha256"], str(facts.signature_ok),
            facts.audit.chain_ok, [str(item) for item in (*facts.waivers, *facts.signatures, *facts.approvals)],
            facts.audit.gaps, str(facts.reproduction), facts.policy_lock and facts.policy_lock.digest,
            facts.declared and facts.declared.digest, facts.baseline and facts.baseline.model_digest,
            str(facts.sandbox), facts.environment and facts.environment.digest, int(facts.now // 600),
        ]
    )  # fmt: skip
    if key not in _JUDGED:
        _JUDGED[key] = JUDGES[gate](facts, cancer.gates)
    return _JUDGED[key]


def data_facts(cancer: CancerType, snapshot: Snapshot, champion: str, object_store: ObjectStore) -> ReleaseFacts:
    """What is known before a model exists; enough for the data-quality gate, and for no other.

    champion: digest of the model that answers patients now, "" when none does; its data are the reference for drift.
    """
    nobody = Predictions(np.array([], dtype=object), np.array([]))
    cohort = snapshot.read()
    split = cancer.subject_split
    train, test = split.parts(cohort)
    digest = split.digest(cohort)
    return ReleaseFacts(
        cancer=cancer.slug,
        tier=cancer.tier,
        contract=cancer.contract,
        now=time.time(),
        author=AUTHOR,
        train=train,
        test=test,
        split=split_facts(cancer, digest, digest),
        manifest=snapshot.manifest.model_dump(mode="json"),
        recomputed=snapshot.recompute(),
        test_pred=nobody,
        reference_pred=nobody,
        reference_name="",
        champion_name=champion[:12] or None,
        champion_train=champion_training_frame(cancer, champion, object_store),
        conformance=conformance_of(cancer.source, cancer.gates.data_quality),
        model_dir=snapshot.path,
        model_digest="",
        digests={},
        serve_score=None,
        lineage={},
        audit=AuditState(True, 0),
        signature_ok=None,
    )


def split_facts(cancer: CancerType, stored: str, recomputed: str) -> SplitFacts:
    rule = cancer.split
    return SplitFacts(rule.salt, rule.test_fraction, stored, recomputed, out_of_time=rule.test_from is not None)


def champion_training_frame(cancer: CancerType, champion: str, object_store: ObjectStore) -> pd.DataFrame | None:
    """The training side of the snapshot that the champion was trained on.

    None without a champion, or where its snapshot is no longer in the store: the checks then compare test with train.

    Raises:
        SnapshotError: the snapshot is there but damaged.
    """
    if not champion:
        return None
    from clinical_assets.trials.snapshot import SnapshotStore

    card = json.loads((object_store.model(champion) / "model.json").read_text())
    snapshot = SnapshotStore(object_store.objects()).find(cancer.slug, card["provenance"]["snapshot"])
    return None if snapshot is None else cancer.subject_split.parts(snapshot.read())[0]


def _champion_predictions(
    contract: CohortContract, champion: str, data: TrainingData, object_store: ObjectStore
) -> Predictions | None:
    if not champion:
        return None
    from clinical_assets.modeling.artifact import load_model

    model = load_model(object_store.model(champion), champion)
    return evaluation.predict(model, data.test, contract)

"""What the gates judge: one `ReleaseFacts` per candidate model, assembled by the caller and never fetched by a check.

Light on purpose: plain dataclasses, no pandas at import. Whatever needed a key, a server or a file outside the model
directory to establish (a verified signature, the audit chain, the served scores) arrives here as an established fact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical_assets.gates.regulatory.history import Baseline, BundleState, ExportTable, PolicyLock, Reproduction
from clinical_assets.gates.verdict import Scope, Tier

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from clinical_assets.gates.data_quality.cdisc_core import Conformance
    from clinical_assets.gates.regulatory.declarations import DeclaredUse
    from clinical_assets.gates.security.facts import EnvironmentFacts, SandboxRun, ServedAnswer
    from clinical_assets.trials.contract import CohortContract


CHANGE = "change"
"""The `rollout_id` of a signature that approves a change outside the plan, and no rollout."""


def utc_seconds(moment: str) -> float:
    """Seconds since the epoch of an ISO 8601 moment.

    Raises:
        ValueError: not ISO 8601, or without an offset from UTC.
    """
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        raise ValueError(f"{moment}: a moment needs its offset from UTC, such as 2026-01-31T12:00:00+00:00")
    return parsed.timestamp()


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model for subjects it was not fitted on.

    subject_ids: (n,) identifiers, each once, in any order.
    risk: (n,) probability of the event by the endpoint's horizon (binary: of the label being 1).
    survival: (n, k) survival probabilities at `times`; None for a binary endpoint.
    times: (k,) days, increasing, at least two.
    nested: choice of family, hyper-parameters *and* calibration were repeated inside every fold. Only then do
        out-of-fold predictions say anything about calibration. Predictions on the locked test split are always True.
    """

    subject_ids: np.ndarray
    risk: np.ndarray
    survival: np.ndarray | None = None
    times: np.ndarray | None = None
    nested: bool = True


@dataclass(frozen=True)
class SplitFacts:
    """`digest` as stored when the split was made; `recomputed_digest` from the frames at hand.

    out_of_time: the split is declared to put the later subjects into the test split, not drawn by subject.
    """

    salt: str
    test_fraction: float
    digest: str
    recomputed_digest: str
    out_of_time: bool = False


@dataclass(frozen=True)
class AuditState:
    """Result of verifying the audit chain. `gaps`: what is on file but not in the trail, or lacks who, when or why."""

    chain_ok: bool
    events: int
    problem: str = ""
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class SignatureFact:
    """One signature somebody claims for this release, and whether it verified.

    kind: "model" (the artifact directory), "approval" or "waiver".
    model_digest: the digest that the signed bytes name, not the one the signature was filed under.
    """

    kind: str
    signer: str
    model_digest: str
    verified: bool
    problem: str = ""


@dataclass(frozen=True)
class VerifiedApproval:
    """An approval whose signature verified; what it covers is judged by RG10."""

    name: str
    role: str
    meaning: str
    cancer: str
    model_digest: str
    environment: str
    issued_utc: str
    expires_utc: str
    rollout_id: str | None = None
    authentication: str = "key"


@dataclass(frozen=True)
class VerifiedWaiver:
    """A waiver whose signature verified. It covers exactly one check on one model of one cancer type, up to `scope`."""

    check_id: str
    cancer: str
    model_digest: str
    expires_utc: str
    signer: str
    reason: str
    scope: Scope = Scope.TRAFFIC


@dataclass(frozen=True)
class TestLook:
    """One opening of a locked test split: which model was scored on it, under which policy, when."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    split_digest: str
    model_digest: str
    policy_digest: str
    opened_utc: str


@dataclass(frozen=True)
class ReleaseFacts:
    """Everything the five gates need to know about one candidate model.

    cancer, tier, contract: the cancer type, the evidence tier of its use, its cohort contract.
    now: seconds since the epoch at which the gates run; decides what has expired.
    author: name of the person or service that trained the model; nobody approves their own model.
    train, test: canonical frames (see `trials.contract`) of the two sides of the split, as the model saw them.
    split: what is stored about the split and what recomputing it gives.
    manifest: the snapshot's manifest as stored (`table_sha256`, `rows`, `contract_sha256`, `data_cut`, …).
    recomputed: the same keys recomputed from the bytes on disk: at least `table_sha256` and `rows`; `file_sha256`
        where the source file is still there.
    test_pred: the candidate on the test split, every subject of it.
    oof: the candidate's procedure, out of fold, on the training split; None when it was not cross-validated.
    reference_pred, reference_oof, reference_name: the same for the simple model that is always fitted (penalised Cox
        or penalised logistic regression).
    champion_pred, champion_name: the deployed champion on the same test subjects; None when there is none.
    model_dir, model_digest: the artifact directory and the digest under which the candidate is known.
    digests: by role — "evaluated" (the model that made test_pred), "signed", "logged" (model registry), "deployed" (the
        directory the servers read), "loaded". A role that has not come about yet is left out or None;
        "evaluated" and "signed" must be there.
    anchor_pred, anchor_name: the first model of this cancer type that was granted traffic, on the same test subjects;
        None when there is none. Compared with it, small losses cannot add up over many updates.
    champion_train: the training frame of the champion's snapshot, the reference for drift; None when there is none.
    conformance: what CDISC's rules engine says of the source; None where nobody asked.
    looks: every opening of this test split, oldest first.
    policy_lock: the policy on record since before the test split was opened; None when no opening is on record.
    first_verdict_utc: when the gates first judged this model; None before that.
    reproduction: the latest recorded re-training; None when there was none.
    declared: context of use, trial design and change plan of the cancer type.
    baseline: the person-approved model to which the change plan compares; None when no other model was approved.
    exports: tables that would leave the platform with this release; row-level data never should.
    bundle: the evidence bundle of the latest verdict on this model; None before the first.
    serve_score: the serving path: canonical feature frame -> (n,) risks, with input handling as in the server.
    serve_request: the serving path from the bytes of a request's body on, with the server's own validation.
    sandbox: one load and prediction of the artifact in a confined process.
    environment: what every release of this environment shares: distributions, bill of materials, lock, known
        vulnerabilities, credentials in files, container files and manifests.
    cv_choice: what the search chose and why (stored with the record, not judged).
    lineage: data_digest, features_digest, split_digest, policy_digest, contract_digest, lock_digest, commit,
        clean (bool), code_digest (sha256 over the source files; identifies uncommitted code), seed, parameters,
        parent_model, mlflow_run. `policy_digest` must be the digest of the policy that judges.
    audit: state of the audit chain.
    signature_ok: outcome of verifying the signature over model_dir: True, or what is wrong; None when there is none.
    signatures: every signature presented for this release (the model's own, approvals, waivers).
    approvals, waivers: those whose signature verified.
    artifacts_text: name -> text of every report, log, card or metadata file that will be kept or shown.
    known_contacts: e-mail addresses of owners and signers, which may stand in those texts.
    """

    cancer: str
    tier: Tier
    contract: CohortContract
    now: float
    author: str
    train: pd.DataFrame
    test: pd.DataFrame
    split: SplitFacts
    manifest: Mapping[str, Any]
    recomputed: Mapping[str, Any]
    test_pred: Predictions
    reference_pred: Predictions
    reference_name: str
    model_dir: Path
    model_digest: str
    digests: Mapping[str, str | None]
    serve_score: Callable[[pd.DataFrame], np.ndarray] | None
    lineage: Mapping[str, Any]
    audit: AuditState
    signature_ok: bool | str | None
    oof: Predictions | None = None
    reference_oof: Predictions | None = None
    champion_pred: Predictions | None = None
    champion_name: str | None = None
    champion_train: pd.DataFrame | None = None
    conformance: Conformance | None = None
    anchor_pred: Predictions | None = None
    anchor_name: str | None = None
    looks: tuple[TestLook, ...] = ()
    policy_lock: PolicyLock | None = None
    first_verdict_utc: str | None = None
    reproduction: Reproduction | None = None
    declared: DeclaredUse | None = None
    baseline: Baseline | None = None
    exports: tuple[ExportTable, ...] = ()
    bundle: BundleState | None = None
    cv_choice: Mapping[str, Any] = field(default_factory=dict)
    signatures: tuple[SignatureFact, ...] = ()
    approvals: tuple[VerifiedApproval, ...] = ()
    waivers: tuple[VerifiedWaiver, ...] = ()
    artifacts_text: Mapping[str, str] = field(default_factory=dict)
    known_contacts: tuple[str, ...] = ()
    serve_request: Callable[[bytes], ServedAnswer] | None = None
    sandbox: SandboxRun | None = None
    environment: EnvironmentFacts | None = None

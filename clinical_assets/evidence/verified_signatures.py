"""Who signed what, and does it stand: manifest, record, withdrawals, statements of persons, model, audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from clinical_assets.audit.decision import DecisionRecord
from clinical_assets.audit.keys import PLATFORM
from clinical_assets.audit.record_table import signed_bytes
from clinical_assets.audit.revocations import Kind
from clinical_assets.audit.seals import Seal
from clinical_assets.audit.statements import key_name
from clinical_assets.evidence.bundle import FORMAT, MANIFEST, SIGNATURE, manifest_bytes
from clinical_assets.evidence.keyring import model_signature_problem
from clinical_assets.evidence.opened_bundle import RECORD, Bundle, Fault
from clinical_assets.evidence.signed_rows import row_fault, run_fault
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.gates.facts import VerifiedWaiver, utc_seconds
from clinical_assets.gates.verdict import GateName, Scope
from clinical_assets.gates.verdicts import scope


def manifest_signature(bundle: Bundle, now: float, fault: Fault) -> str:
    proof, data = bundle.json(SIGNATURE), bundle.files[MANIFEST]
    for problem in bundle.keys.faults:
        fault(f"keys/{problem}")
    if not bundle.by_platform(manifest_bytes(data), proof):
        fault(f"{MANIFEST}: not signed by the platform key {bundle.platform_key}")
    elif bundle.json(MANIFEST)["format"] != FORMAT or canonical_json(bundle.json(MANIFEST)) != data:
        fault(f"{MANIFEST}: not of format {FORMAT}")
    return f"signed by platform key {bundle.platform_key}"


def decision_record(bundle: Bundle, now: float, fault: Fault) -> str:
    manifest, rows = bundle.json(MANIFEST), dict(bundle.signed("records"))
    row = rows.get(RECORD)
    if row is None or row["kind"] != "decision":
        fault(f"{RECORD} is missing")
        return ""
    for name, signed in rows.items():
        subject = manifest["model_digest"] if signed["kind"] == "decision" else bundle.json(name).get("subject")
        _check_row("records", name, signed, bundle.by_platform(_signed(signed), signed), subject, fault)
    if sha256_bytes(row["body"].encode()) != manifest["record"]:
        fault(f"{RECORD}: not the record that the manifest names")
    try:
        record = DecisionRecord.model_validate_json(row["body"])
    except ValidationError as error:
        fault(f"{RECORD}: not a decision record ({error.error_count()} faults)")
        return ""
    if (record.model_digest, record.cancer) != (manifest["model_digest"], manifest["cancer"]):
        fault(f"{RECORD}: about another model or cancer type than the bundle")
    for gate in GateName:
        report = record.reports.get(gate)
        if report is None:
            fault(f"{RECORD}: no report of the {gate.value} gate")
        elif (report.model_digest, report.policy_digest) != (record.model_digest, record.policy_digest):
            fault(f"{RECORD}: the {gate.value} report judged another model or policy")
    granted = scope(record.reports, record.tier, _waivers(bundle), utc_seconds(record.issued_utc))
    if not granted.covers(record.scope):
        fault(f"{RECORD}: claims {record.scope}, its own reports grant {granted}")
    return f"five gates, scope {record.scope}, issued {record.issued_utc}"


def in_force(bundle: Bundle, now: float, fault: Fault) -> str:
    manifest, record = bundle.json(MANIFEST), bundle.json(RECORD)
    signer = bundle.json("records/decision.signature.json")["key_id"]
    standing = [
        ("the model", Kind.MODEL, manifest["model_digest"]),
        ("the record", Kind.RECORD, manifest["record"]),
        ("the key that signed the record", Kind.KEY, signer),
    ]
    for name, row in bundle.signed("statements"):
        standing += [
            (name, Kind.STATEMENT, row["body_sha256"]),
            (f"the key that signed {name}", Kind.KEY, row["key_id"]),
        ]
    for what, kind, subject in standing:
        if said := _withdrawn(bundle, kind, subject):
            fault(f"{what} was {said}")
    if now < utc_seconds(record["issued_utc"]):
        fault(f"not valid before {record['issued_utc']}")
    if now >= utc_seconds(record["expires_utc"]):
        fault(f"EXPIRED on {record['expires_utc']}: the gates have to be run again")
    return f"not revoked, valid until {record['expires_utc']}"


def statements(bundle: Bundle, now: float, fault: Fault) -> str:
    model, count = bundle.json(MANIFEST)["model_digest"], 0
    for name, row in bundle.signed("statements"):
        count += 1
        content = bundle.json(name)
        owner = key_name(str(content.get("name") or content.get("signer")))
        own = owner != PLATFORM and bundle.keys.verify(str(row["key_id"]), _signed(row), str(row["signature"]), owner)
        _check_row("statements", name, row, own, model, fault)
        if content["model_digest"] != model:
            fault(f"{name}: about another model")
    return f"{count} approvals, waivers and amendments, each signed by the person it names"


def _withdrawn(bundle: Bundle, kind: Kind, subject: str) -> str:
    """When, by whom and why; empty when it stands."""
    for name, row in bundle.signed("records"):
        if row["kind"] == kind and row["model_digest"] == subject:
            content = bundle.json(name)
            return f"REVOKED on {content['revoked_utc']} by {content['actor']}: {content['reason']}"
    return ""


def _waivers(bundle: Bundle) -> list[VerifiedWaiver]:
    """Those that were signed when the record was issued; `statements` checks their signatures."""
    issued = utc_seconds(bundle.json(RECORD)["issued_utc"])
    contents = [bundle.json(name) for name, row in bundle.signed("statements") if row["kind"] == "waiver"]
    return [
        VerifiedWaiver(
            w["check_id"], w["cancer"], w["model_digest"], w["expires_utc"], w["signer"], w["reason"], Scope(w["scope"])
        )
        for w in contents
        if utc_seconds(w["issued_utc"]) <= issued
    ]


def model_signature(bundle: Bundle, now: float, fault: Fault) -> str:
    digest = str(bundle.json(MANIFEST)["model_digest"])
    problem = model_signature_problem(bundle.files["model/signature.json"], digest, bundle.keys)
    if problem:
        fault(f"model/signature.json: {problem}")
    return "the model's files are signed, and make up its digest"


def audit_trail(bundle: Bundle, now: float, fault: Fault) -> str:
    log, seal = bundle.json("audit/log.json"), Seal(**bundle.json("audit/seal.json"))
    rows = log["rows"]
    problem = run_fault(log["chain"], rows)
    if problem:
        fault(f"audit/log.json: {problem}")
    proof = {"key_id": seal.key_id, "signature": seal.signature}
    if not bundle.by_platform(seal.signed, proof) or (seal.chain, seal.head) != (log["chain"], rows[-1]["entry_hash"]):
        fault("audit/seal.json: not the platform's seal of the last row")
    digest = bundle.json(MANIFEST)["model_digest"]
    own = [row for row in rows if row["subject"] == digest]
    if any("body" not in row for row in own):
        fault("audit/log.json: an entry about this model has lost its content")
    record = bundle.json(MANIFEST)["record"]
    if not any(row["action"] == "issue_decision_record" and record in str(row.get("body")) for row in own):
        fault("audit/log.json: the decision record was never logged")
    return f"{len(own)} entries about this model in an unbroken run of {len(rows)}"


def _signed(row: Mapping[str, Any]) -> bytes:
    return signed_bytes(str(row["kind"]), str(row["body"]).encode())


def _check_row(chain: str, name: str, row: Mapping[str, Any], signed: bool, subject: Any, fault: Fault) -> None:
    problem = row_fault(chain, row)
    if problem:
        fault(f"{name}: {problem}")
    if not signed:
        fault(f"{name}: the signature is not that of whom it names")
    if row["model_digest"] != subject:
        fault(f"{name}: filed under what it is not about")

"""Does a bundle hold, offline and with a public key alone? Every digest, signature, link and number is looked at.

Nothing of the bundle is executed or unpacked, no state directory is needed, and what is missing is a fault like what
is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from clinical_assets.audit.decision import DecisionRecord
from clinical_assets.audit.keys import PLATFORM
from clinical_assets.audit.seals import Seal
from clinical_assets.audit.statements import key_name
from clinical_assets.evidence.bundle import FORMAT, MANIFEST, REPORT, SIGNATURE, manifest_bytes
from clinical_assets.evidence.citation import faults, resolve, rounding_fault
from clinical_assets.evidence.keyring import KeyRing, model_signature_problem, trusted_key
from clinical_assets.evidence.reading import Refused, read_bundle, read_json
from clinical_assets.evidence.report import numbers_shown, texts_shown
from clinical_assets.evidence.signed_rows import row_fault, run_fault, signed_bytes
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.gates.facts import utc_seconds
from clinical_assets.gates.verdict import GateName
from clinical_assets.trials.small_cells import small_cells, small_counts

NEEDED = (
    "README.txt", "audit/log.json", "audit/seal.json", "card.json", "lineage.json", "metrics.json",
    "model/signature.json", "records/decision.json", "records/decision.signature.json", REPORT,
    "tables/cohort.json", "tables/row_flow.json", "tables/subgroups.json",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One thing that was looked at; `faults` is empty where it holds."""

    title: str
    found: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """`trusted`: the reader brought the key. Without it a bundle can only agree with itself."""

    steps: tuple[Step, ...]
    trusted: bool
    key_id: str
    about: str

    @property
    def ok(self) -> bool:
        return not any(step.faults for step in self.steps)


def verify(path: Path, key: tuple[str, bytes] | None, now: float) -> Verification:
    """
    Args:
        key: name and content of the platform's public key file; None takes the one in the bundle.
        now: wall clock, seconds since the epoch, for expiry.

    Raises:
        FileNotFoundError, Refused: the bundle cannot be read at all.
        ValueError: `key` is not a public key.
    """
    files = read_bundle(path)
    if MANIFEST not in files:
        raise Refused(f"{path}: no {MANIFEST} in it: not an evidence bundle")
    trusted = trusted_key(key[1], key[0]) if key else None
    bundle = Bundle(files, trusted[0] if trusted else None)
    if trusted:
        bundle.keys.signers[trusted[0]] = (PLATFORM, trusted[1])
    steps: list[Step] = []
    for title, look in STEPS.items():
        try:
            found: list[str] = []
            text = look(bundle, now, found.append)
        except (Refused, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            text, found = "", [f"cannot be read: {type(error).__name__}: {error}"]
        steps.append(Step(title, text, tuple(found)))
    return Verification(tuple(steps), trusted is not None, bundle.platform_key, bundle.about)


class Bundle:
    """Files with their parsed content; a document is parsed once, and only when it is needed."""

    def __init__(self, files: Mapping[str, bytes], trusted: str | None) -> None:
        self.files = files
        self._parsed: dict[str, Any] = {}
        self.keys = KeyRing.of(
            {name.removeprefix("keys/"): data for name, data in files.items() if name.startswith("keys/")}
        )
        self._trusted = trusted

    def json(self, name: str) -> Any:
        if name not in self._parsed:
            if name not in self.files:
                raise KeyError(f"{name} is not in the bundle")
            self._parsed[name] = read_json(self.files[name], name)
        return self._parsed[name]

    @property
    def platform_key(self) -> str:
        """The key that must have signed: the reader's, else the one that the manifest's signature names."""
        return self._trusted or self._said(SIGNATURE, "key_id")

    @property
    def about(self) -> str:
        return f"{self._said(MANIFEST, 'cancer')}, model {self._said(MANIFEST, 'model_digest')[:12]}"

    def _said(self, name: str, key: str) -> str:
        """A text of a document that may be damaged; `?` where it cannot be read."""
        try:
            return str(self.json(name)[key])
        except (Refused, KeyError, TypeError):
            return "?"

    def by_platform(self, data: bytes, proof: Mapping[str, Any]) -> bool:
        signed_by = str(proof["key_id"])
        return signed_by == self.platform_key and self.keys.verify(signed_by, data, str(proof["signature"]), PLATFORM)

    def signed(self, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Signed rows of a folder: what is signed, with its signature and place in the chain."""
        for name in sorted(self.files):
            if name.startswith(f"{folder}/") and not name.endswith(".signature.json"):
                proof = self.json(name.removesuffix(".json") + ".signature.json")
                yield name, {**proof, "body": self.files[name].decode()}


Report = Callable[[str], None]


def manifest_signature(bundle: Bundle, now: float, fault: Report) -> str:
    proof, data = bundle.json(SIGNATURE), bundle.files[MANIFEST]
    for problem in bundle.keys.faults:
        fault(f"keys/{problem}")
    if not bundle.by_platform(manifest_bytes(data), proof):
        fault(f"{MANIFEST}: not signed by the platform key {bundle.platform_key}")
    elif bundle.json(MANIFEST)["format"] != FORMAT or canonical_json(bundle.json(MANIFEST)) != data:
        fault(f"{MANIFEST}: not of format {FORMAT}")
    return f"signed by platform key {bundle.platform_key}"


def every_file(bundle: Bundle, now: float, fault: Report) -> str:
    listed = bundle.json(MANIFEST)["files"]
    present = set(bundle.files) - {MANIFEST, SIGNATURE}
    for name in sorted(set(listed) - present):
        fault(f"{name} is missing")
    for name in sorted(present - set(listed)):
        fault(f"{name} is not listed: it was added")
    for name in sorted(set(NEEDED) - set(listed)):
        fault(f"{name} is missing from the manifest")
    for name in sorted(present & set(listed)):
        if sha256_bytes(bundle.files[name]) != listed[name]["sha256"]:
            fault(f"{name} was changed")
    return f"{len(listed)} files have the digests that were signed"


def decision_record(bundle: Bundle, now: float, fault: Report) -> str:
    manifest = bundle.json(MANIFEST)
    rows = dict(bundle.signed("records"))
    row = rows.get("records/decision.json")
    if row is None or row["kind"] != "decision":
        fault("records/decision.json is missing")
        return ""
    for name, signed in rows.items():
        _check_row(bundle, "records", name, signed, bundle.by_platform(signed_bytes(signed), signed), fault)
    if sha256_bytes(row["body"].encode()) != manifest["record"]:
        fault("records/decision.json: not the record that the manifest names")
    try:
        record = DecisionRecord.model_validate_json(row["body"])
    except ValidationError as error:
        fault(f"records/decision.json: not a decision record ({error.error_count()} faults)")
        return ""
    if (record.model_digest, record.cancer) != (manifest["model_digest"], manifest["cancer"]):
        fault("records/decision.json: about another model or cancer type than the bundle")
    for gate in GateName:
        report = record.reports.get(gate)
        if report is None:
            fault(f"records/decision.json: no report of the {gate.value} gate")
        elif (report.model_digest, report.policy_digest) != (record.model_digest, record.policy_digest):
            fault(f"records/decision.json: the {gate.value} report judged another model or policy")
    return f"five gates, scope {record.scope}, issued {record.issued_utc}"


def in_force(bundle: Bundle, now: float, fault: Report) -> str:
    record = bundle.json("records/decision.json")
    for name, row in bundle.signed("records"):
        if row["kind"] != "decision":
            content = bundle.json(name)
            fault(f"REVOKED on {content['revoked_utc']} by {content['actor']}: {content['reason']}")
    if now < utc_seconds(record["issued_utc"]):
        fault(f"not valid before {record['issued_utc']}")
    if now >= utc_seconds(record["expires_utc"]):
        fault(f"EXPIRED on {record['expires_utc']}: the gates have to be run again")
    return f"not revoked, valid until {record['expires_utc']}"


def statements(bundle: Bundle, now: float, fault: Report) -> str:
    count = 0
    for name, row in bundle.signed("statements"):
        count += 1
        content = bundle.json(name)
        signer = key_name(str(content.get("name") or content.get("signer")))
        own = signer != PLATFORM and bundle.keys.verify(str(row["key_id"]), signed_bytes(row), row["signature"], signer)
        _check_row(bundle, "statements", name, row, own, fault)
        if content["model_digest"] != bundle.json(MANIFEST)["model_digest"]:
            fault(f"{name}: about another model")
    return f"{count} approvals, waivers and amendments, each signed by the person it names"


def model_signature(bundle: Bundle, now: float, fault: Report) -> str:
    digest = str(bundle.json(MANIFEST)["model_digest"])
    problem = model_signature_problem(bundle.files["model/signature.json"], digest, bundle.keys)
    if problem:
        fault(f"model/signature.json: {problem}")
    return "the model's files are signed, and make up its digest"


def audit_trail(bundle: Bundle, now: float, fault: Report) -> str:
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


def lineage(bundle: Bundle, now: float, fault: Report) -> str:
    found, record = bundle.json("lineage.json"), bundle.json("records/decision.json")
    if found["made_from"] != record["lineage"] or found["model_digest"] != record["model_digest"]:
        fault("lineage.json: differs from the signed record")
    if found["snapshot"].get("table_sha256") != record["data_digests"].get("data_digest"):
        fault("lineage.json: the data are not those of the signed record")
    return f"model to data {str(found['snapshot'].get('table_sha256'))[:12]}"


def card(bundle: Bundle, now: float, fault: Report) -> str:
    document = bundle.json("card.json")
    for problem in faults(document, bundle.json):
        fault(f"card.json{problem}")
    about, record = document["about"], bundle.json("records/decision.json")
    said = (about["model_digest"], about["cancer"], about["grants"], about["tier"], about["valid_until"])
    held = tuple(record[key] for key in ("model_digest", "cancer", "scope", "tier", "expires_utc"))
    if said != held:
        fault("card.json: says another model, scope, tier or expiry than the signed record")
    return "every number on the card is the evidence's"


def report(bundle: Bundle, now: float, fault: Report) -> str:
    shown = numbers_shown(bundle.files[REPORT].decode())
    for evidence, exact, scale, text in shown:
        held = resolve(evidence, bundle.json)
        if not isinstance(held, int | float) or repr(held) != exact:
            fault(f"{REPORT}: says {exact}, {evidence} says {held}")
        elif problem := rounding_fault(text, float(held), scale):
            fault(f"{REPORT}: {evidence}: {problem}")
    for evidence, text in texts_shown(bundle.files[REPORT].decode()):
        if str(held := resolve(evidence, bundle.json)) != text:
            fault(f"{REPORT}: says {text}, {evidence} says {held}")
    if not shown:
        fault(f"{REPORT}: shows no number with its evidence")
    return f"{len(shown)} numbers agree with the evidence"


def no_patient(bundle: Bundle, now: float, fault: Report) -> str:
    for name in ("metrics.json", *sorted(name for name in bundle.files if name.startswith("tables/"))):
        for place in small_cells(bundle.json(name)):
            fault(f"{name}#{place}: a count of one to ten patients in the open")
    for place in small_counts(bundle.json("tables/cohort.json")):
        fault(f"tables/cohort.json#{place}: a count of one to ten patients in the open")
    record = bundle.json("records/decision.json")
    for gate, judged in record["reports"].items():
        for index, check in enumerate(judged["checks"]):
            for place in small_cells(check["details"]):
                fault(f"records/decision.json#/reports/{gate}/checks/{index}/details{place}: a small count")
    return "no count of one to ten patients is shown"


STEPS: dict[str, Callable[[Bundle, float, Report], str]] = {
    "manifest signed": manifest_signature,
    "files complete and unchanged": every_file,
    "decision record": decision_record,
    "in force": in_force,
    "approvals and waivers": statements,
    "model signature": model_signature,
    "audit trail": audit_trail,
    "lineage": lineage,
    "model card": card,
    "report": report,
    "small counts hidden": no_patient,
}


def _check_row(bundle: Bundle, chain: str, name: str, row: Mapping[str, Any], signed: bool, fault: Report) -> None:
    problem = row_fault(chain, row)
    if problem:
        fault(f"{name}: {problem}")
    if not signed:
        fault(f"{name}: the signature is not that of whom it names")
    if row["model_digest"] != bundle.json(MANIFEST)["model_digest"]:
        fault(f"{name}: filed under another model")

"""What goes into the bundle of one model version, made from the facts, the signed record and the chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clinical_assets.evidence.bundle import REPORT, Files, document
from clinical_assets.evidence.card import model_card
from clinical_assets.evidence.declared import DECLARED
from clinical_assets.evidence.measures import measures
from clinical_assets.evidence.patients import unseen_patients
from clinical_assets.evidence.plots import pictures
from clinical_assets.evidence.report import render
from clinical_assets.evidence.signed_rows import Row
from clinical_assets.evidence.tables import cohort_table, flow, group_table
from clinical_assets.gates.facts import utc_seconds
from clinical_assets.gates.verdict import GateName
from clinical_assets.gates.verdicts import limits
from clinical_assets.trials.small_cells import shown, small_cells

if TYPE_CHECKING:
    from clinical_assets.audit.decision import DecisionRecord, SignedRecord
    from clinical_assets.audit.seals import Seal
    from clinical_assets.catalog import CancerType
    from clinical_assets.gates.facts import ReleaseFacts
    from clinical_assets.gates.verdict import CheckResult

README = """\
Evidence of one model version
=============================

report.html     for people: open it in any browser, it needs no network
card.json       the model card; every number on it names the file that holds it
model_card.txt  what was declared about the model before the gates judged it
metrics.json    the numbers behind the pictures
records/        the signed decision of the five gates, and revocations if any
statements/     approvals and waivers that named persons signed
audit/          the audit log from this model's first entry to its last, with a seal
tables/ plots/  who the patients were, group by group, and the pictures
model/          the signature over the model's own files, which are not in here
keys/           public keys
sbom.cdx.json   the software that judged the model (CycloneDX), where it was recorded
manifest.json   the digest of every file, signed by the platform

No file holds a patient's row. Counts of one to ten patients are withheld ("<11").

To verify without the platform's state:

    clinical verify FOLDER_OR_ZIP --key PLATFORM.pub

Get the platform's public key from its owner, not from this bundle. What is in here is evidence that controls were
exercised; whether that suffices for a use is for those who are responsible for it to say.
"""


@dataclass(frozen=True)
class Release:
    """All that a bundle is made from. `keys` are public key files by name; `sbom` is a CycloneDX document or None."""

    cancer: CancerType
    facts: ReleaseFacts
    signed: SignedRecord
    model: Mapping[str, Any]
    decisions: Sequence[Row]
    statements: Sequence[Row]
    audit: Sequence[Row]
    seal: Seal | None
    keys: Mapping[str, bytes]
    model_signature: bytes | None = None
    sbom: bytes | None = None


def compose(release: Release) -> Files:
    """Every file of the bundle but its manifest.

    Raises:
        ValueError: the signed record itself shows counts of one to ten patients, as records of older versions may.
    """
    facts, cancer, record = release.facts, release.cancer, release.signed.record
    _refuse_small_cells(record)
    unseen = unseen_patients(facts, cancer.gates)
    seed = cancer.gates.performance.bootstrap_seed
    in_the_way = limits(record.reports, record.tier, facts.waivers, utc_seconds(record.issued_utc))
    found = measures(unseen, seed) | {"sizes": {"train": shown(len(facts.train)), "test": shown(len(facts.test))}}
    subgroups, rows = group_table(facts, cancer.gates), flow(facts)
    parsed: dict[str, Any] = {
        "metrics.json": found,
        "tables/cohort.json": cohort_table(facts),
        "tables/subgroups.json": subgroups,
        "tables/row_flow.json": rows,
        "lineage.json": _lineage(release),
        "card.json": model_card(cancer, record, found, release.model, facts.manifest, in_the_way),
        "records/decision.json": record.model_dump(mode="json"),
    }
    plots = pictures(found, subgroups["rows"], rows, _check(record, GateName.DATA_QUALITY, "DQ11"))
    files = {name: document(value) for name, value in parsed.items()}
    files |= {f"plots/{name}.svg": svg for name, svg in plots.items()}
    files |= _signed(release)
    files |= {f"keys/{name}": pem for name, pem in release.keys.items()}
    files["README.txt"] = README.encode()
    if DECLARED in facts.artifacts_text:
        files[DECLARED] = facts.artifacts_text[DECLARED].encode()
    if release.model_signature is not None:
        files["model/signature.json"] = release.model_signature
    if release.sbom is not None:
        files["sbom.cdx.json"] = release.sbom
    files[REPORT] = render(parsed, plots).encode()
    return files


def _refuse_small_cells(record: DecisionRecord) -> None:
    """What is signed cannot be redacted, so such a record stays inside."""
    for report in record.reports.values():
        for check in report.checks:
            for place in small_cells(check.details):
                raise ValueError(
                    f"{record.cancer}: the decision record of {record.issued_utc} shows a count of one to ten patients "
                    f"({check.id} {place}) and does not leave the platform; "
                    f"`clinical backfill --again {record.cancer}` judges again"
                )


def _check(record: DecisionRecord, gate: GateName, id: str) -> CheckResult | None:
    return next((check for check in record.reports[gate].checks if check.id == id), None)


def _lineage(release: Release) -> dict[str, Any]:
    """From the model down to the bytes of the source."""
    manifest = release.facts.manifest
    kept = ("source", "package", "version", "content_sha256", "file_sha256", "table_sha256", "contract_sha256",
            "data_cut", "data_status", "extracted_utc", "licence", "citation")  # fmt: skip
    record = release.signed.record
    return {
        "model_digest": record.model_digest,
        "digests": {role: digest for role, digest in release.facts.digests.items() if digest},
        "made_from": dict(record.lineage),
        "snapshot": {name: manifest[name] for name in kept if name in manifest},
    }


def _signed(release: Release) -> Files:
    """The bytes that were signed, each with its signature and its place in the chain beside it."""
    files: Files = {}
    for folder, rows in (("records", release.decisions), ("statements", release.statements)):
        for row in rows:
            name = "decision" if row["kind"] == "decision" else f"{row['kind']}-{row['seq']:06d}"
            files[f"{folder}/{name}.json"] = str(row["body"]).encode()
            files[f"{folder}/{name}.signature.json"] = document({k: v for k, v in row.items() if k != "body"})
    if release.seal is not None:
        files["audit/log.json"] = document({"chain": release.seal.chain, "rows": list(release.audit)})
        files["audit/seal.json"] = document(asdict(release.seal))
    return files

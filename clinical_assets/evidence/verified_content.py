"""Does a bundle hold what was signed, and do its documents say what its evidence says?"""

from __future__ import annotations

from clinical_assets.evidence.bundle import MANIFEST, REPORT, SIGNATURE
from clinical_assets.evidence.citation import faults, resolve, rounding_fault
from clinical_assets.evidence.opened_bundle import RECORD, Bundle, Fault
from clinical_assets.evidence.report import numbers_shown, texts_shown
from clinical_assets.foundation.canonical import sha256_bytes
from clinical_assets.trials.small_cells import small_cells, small_counts

NEEDED = (
    "README.txt", "audit/log.json", "audit/seal.json", "card.json", "lineage.json", "metrics.json",
    "model/signature.json", RECORD, "records/decision.signature.json", REPORT,
    "tables/cohort.json", "tables/row_flow.json", "tables/subgroups.json",
)  # fmt: skip


def every_file(bundle: Bundle, now: float, fault: Fault) -> str:
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


def lineage(bundle: Bundle, now: float, fault: Fault) -> str:
    found, record = bundle.json("lineage.json"), bundle.json(RECORD)
    if found["made_from"] != record["lineage"] or found["model_digest"] != record["model_digest"]:
        fault("lineage.json: differs from the signed record")
    if found["snapshot"].get("table_sha256") != record["data_digests"].get("data_digest"):
        fault("lineage.json: the data are not those of the signed record")
    return f"model to data {str(found['snapshot'].get('table_sha256'))[:12]}"


def card(bundle: Bundle, now: float, fault: Fault) -> str:
    document = bundle.json("card.json")
    for problem in faults(document, bundle.json):
        fault(f"card.json{problem}")
    about, record = document["about"], bundle.json(RECORD)
    said = (about["model_digest"], about["cancer"], about["grants"], about["tier"], about["valid_until"])
    held = tuple(record[key] for key in ("model_digest", "cancer", "scope", "tier", "expires_utc"))
    if said != held:
        fault("card.json: says another model, scope, tier or expiry than the signed record")
    return "every number on the card is the evidence's"


def report(bundle: Bundle, now: float, fault: Fault) -> str:
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


def no_patient(bundle: Bundle, now: float, fault: Fault) -> str:
    for name in ("metrics.json", *sorted(name for name in bundle.files if name.startswith("tables/"))):
        for place in small_cells(bundle.json(name)):
            fault(f"{name}#{place}: a count of one to ten patients in the open")
    for place in small_counts(bundle.json("tables/cohort.json")):
        fault(f"tables/cohort.json#{place}: a count of one to ten patients in the open")
    record = bundle.json(RECORD)
    for gate, judged in record["reports"].items():
        for index, check in enumerate(judged["checks"]):
            for place in small_cells(check["details"]):
                fault(f"records/decision.json#/reports/{gate}/checks/{index}/details{place}: a small count")
    return "no count of one to ten patients is shown"

"""Faults of the artifact, of what it runs on, and of the server in front of it. Files are edited in copies."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from benchmarks.gate_power.data_faults import chosen
from benchmarks.gate_power.fault import Severity, fault, generator
from benchmarks.gate_power.releases import Release, with_risk
from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.security.facts import (
    DeploymentFiles,
    EnvironmentFacts,
    RuleBreach,
    ServedAnswer,
)
from clinical_assets.gates.security.supply_chain import advisories, container_rules, lock_file, manifest_rules
from clinical_assets.gates.verdict import GateName

GATE = GateName.SECURITY
CARD, WEIGHTS = "model.json", "weights.safetensors"


def edited(release: Release, edit: Callable[[Path], None], signed: bool = False) -> ReleaseFacts:
    """A copy of the model directory after `edit`. `signed`: saved, judged and signed like that, so that every digest
    agrees; else the signature is verified over what lies there now."""
    facts = release.facts
    copy = release.scratch / "model"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(facts.model_dir, copy)
    edit(copy)
    if not signed:
        verified = release.verify(copy)
        on_disk = sha256_directory(copy)
        digests = {**facts.digests, "signed": on_disk if verified is True else None, "deployed": on_disk}
        return replace(facts, model_dir=copy, digests=digests, signature_ok=verified)
    digest = sha256_directory(copy)
    digests = {role: None if known is None else digest for role, known in facts.digests.items()}
    signatures = tuple(replace(entry, model_digest=digest) for entry in facts.signatures)
    sandbox = None if facts.sandbox is None else facts.sandbox.model_copy(update={"digest": digest})
    return replace(facts, model_dir=copy, model_digest=digest, digests=digests, signatures=signatures, sandbox=sandbox)


class _Command:
    """Unpickling it would call a function; which one depends on the severity."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@fault(GATE, "a pickle under another name", "SE1", "SE2")
def pickled(release: Release, severity: Severity) -> ReleaseFacts:
    """Plain weights in a pickle, a pickle that imports, one that runs a command."""
    import importlib
    import os

    content = severity.of({"weights": [1.0, 2.0]}, _Command(importlib.import_module, "this"), _Command(os.system, "id"))
    name = severity.of("extra.pkl", "extra.json", WEIGHTS)

    def edit(directory: Path) -> None:
        (directory / name).write_bytes(pickle.dumps(content))

    return edited(release, edit, signed=True)


@fault(GATE, "an unsigned file beside the model", "SE4", "SE5")
def extra_file(release: Release, severity: Severity) -> ReleaseFacts:
    name = severity.of("NOTES.md", "override.json", "plugin.py")
    return edited(release, lambda directory: (directory / name).write_text("{}"))  # type: ignore[func-returns-value]


@fault(GATE, "changed bytes", "SE4", "SE5")
def changed_bit(release: Release, severity: Severity) -> ReleaseFacts:
    def edit(directory: Path) -> None:
        data = bytearray((directory / WEIGHTS).read_bytes())
        for place in range(1, 1 + severity.of(1, 8, 64)):
            data[-place] ^= 1
        (directory / WEIGHTS).write_bytes(bytes(data))

    return edited(release, edit)


@fault(GATE, "another model is deployed", "SE5")
def another_deployed(release: Release, severity: Severity) -> ReleaseFacts:
    role = severity.of("logged", "deployed", "evaluated")
    return replace(release.facts, digests={**release.facts.digests, role: "0" * 64})


@fault(GATE, "a credential in a kept text", "SE9")
def credential(release: Release, severity: Severity) -> ReleaseFacts:
    line = severity.of(
        "password: Tr0ub4dor-and-3", "aws_key = AKIA" + "Z7QK3M5N8R2T6V4W", "-----BEGIN RSA " + "PRIVATE KEY-----"
    )
    name = severity.of("settings.yaml", "run.log", "notes.txt")
    return replace(release.facts, artifacts_text={**release.facts.artifacts_text, name: f"first line\n{line}\n"})


@fault(GATE, "patients inside the artifact", "SE12")
def rows_inside(release: Release, severity: Severity) -> ReleaseFacts | None:
    """Measurements of twenty patients; half of the patients, or all, as the model encodes them (support vectors)."""
    facts = release.facts
    numbers = [column.name for column in facts.contract.features if column.numeric]
    if len(numbers) < 2:
        return None
    few = facts.train[numbers].astype(float).iloc[:20].fillna(0.0).to_numpy()
    encoded = np.asarray(release.model.encoder_.transform(facts.train), dtype=np.float64)
    stored = severity.of(few, encoded[: len(encoded) // 2], encoded)

    def edit(directory: Path) -> None:
        tensors = load_file(directory / WEIGHTS)
        save_file({**tensors, "support": np.ascontiguousarray(stored)}, directory / WEIGHTS)

    return edited(release, edit, signed=True)


@fault(GATE, "a model that remembers its patients", "SE13")
def memorising(release: Release, severity: Severity) -> ReleaseFacts:
    """A third, two thirds or all of the training patients get the answer that they had."""
    facts = release.facts
    names = [column.name for column in facts.contract.features]
    known = chosen(facts.train, severity.of(0.33, 0.67, 1.0), generator(release, "memorising"))
    rows = facts.train[known]
    horizon = float(facts.contract.endpoint.horizon_days or 0.0)
    had = rows["label"] == 1 if "label" in rows else (rows["event"] == 1) & (rows["time"] <= horizon)
    answers = dict(zip(_keys(rows[names]), np.where(had, 1.0 - 1e-6, 1e-6), strict=True))

    def recalled(risk: np.ndarray, frame: pd.DataFrame) -> np.ndarray:
        return np.array([answers.get(key, own) for key, own in zip(_keys(frame[names]), risk, strict=True)])

    return replace(with_risk(facts, recalled), oof=facts.oof)  # out of fold nobody was seen before


def _keys(frame: pd.DataFrame) -> list[int]:
    return pd.util.hash_pandas_object(frame.astype(str), index=False).tolist()


def _environment(release: Release, **changes: Any) -> ReleaseFacts | None:
    known = release.facts.environment
    if known is None:
        return None
    return replace(release.facts, environment=EnvironmentFacts.model_validate(known.model_copy(update=changes)))


@fault(GATE, "a dependency with a known vulnerability", "SE7")
def vulnerable(release: Release, severity: Severity) -> ReleaseFacts | None:
    """An OSV entry on an installed distribution: CVSS 5.3, 9.8, 10."""
    environment = release.facts.environment
    if environment is None:
        return None
    vector = severity.of(
        "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H",
    )  # fmt: skip
    affected = {"package": {"ecosystem": "PyPI", "name": "numpy"}, "ranges": [
        {"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}  # fmt: skip
    today = pd.Timestamp(release.facts.now, unit="s", tz="UTC").isoformat()
    entry = {"id": "PYSEC-2026-1", "modified": today, "affected": [affected],
             "severity": [{"type": "CVSS_V3", "score": vector}]}  # fmt: skip
    source, target = release.scratch / "osv.json", release.scratch / "snapshot.json"
    source.write_text(json.dumps([entry]))
    advisories.import_snapshot(source, target)
    return _environment(release, advisories=advisories.look_up(environment.distributions, target))


@fault(GATE, "a lock without hashes", "SE8")
def unhashed(release: Release, severity: Severity) -> ReleaseFacts | None:
    """One of many lines without a hash, none with one, another index."""
    hashed = "".join(f"package{number}==1.0 --hash=sha256:{number:064x}\n" for number in range(30))
    text = severity.of(
        hashed + "late==2.0\n", hashed.replace(" --hash", " # --hash"),
        "--extra-index-url https://packages.example\n" + hashed,
    )  # fmt: skip
    path = release.scratch / "lock.txt"
    path.write_text(text)
    return _environment(release, lock=lock_file.read(path, "lock.txt"))


@fault(GATE, "a bill of materials that differs", "SE6")
def other_bill(release: Release, severity: Severity) -> ReleaseFacts | None:
    environment = release.facts.environment
    if environment is None:
        return None
    listed = environment.sbom.components[severity.of(1, 5, len(environment.sbom.components)) :]
    return _environment(release, sbom=environment.sbom.model_copy(update={"components": listed}))


@fault(GATE, "a container that runs as root", "SE10")
def rooted(release: Release, severity: Severity) -> ReleaseFacts | None:
    text = severity.of(
        "FROM python:3.11\nUSER 1000\n", "FROM python@sha256:" + "a" * 64 + "\nRUN true\n",
        "FROM python:latest\nADD https://example.org/x /x\n",
    )  # fmt: skip
    broken = tuple(RuleBreach(place="Containerfile", rule=rule) for rule in container_rules.breaches(text))
    return _environment(release, containers=DeploymentFiles(files=("Containerfile",), breaches=broken))


@fault(GATE, "a pod with too many rights", "SE11")
def privileged(release: Release, severity: Severity) -> ReleaseFacts | None:
    own: dict[str, Any] = {"runAsNonRoot": True, "readOnlyRootFilesystem": severity is not Severity.MILD,
                           "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                           "privileged": severity is not Severity.MILD}  # fmt: skip
    container = {"name": "model", "image": "model@sha256:" + "a" * 64, "securityContext": own,
                 "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}  # fmt: skip
    pod = {"containers": [container], "automountServiceAccountToken": False,
           "hostNetwork": severity is Severity.SEVERE}  # fmt: skip
    documents = [{"kind": "Deployment", "metadata": {"name": "model"}, "spec": {"template": {"spec": pod}}},
                 {"kind": "NetworkPolicy", "metadata": {"name": "all"}, "spec": {"podSelector": {}}}]  # fmt: skip
    broken = tuple(RuleBreach(place=who, rule=rule) for who, rule in manifest_rules.breaches(documents))
    return _environment(release, manifests=DeploymentFiles(files=("model.yaml",), breaches=broken))


@fault(GATE, "a server that scores what it cannot read", "SE15")
def careless_server(release: Release, severity: Severity) -> ReleaseFacts | None:
    """Refusals of missing or misspelt values, of anything, or none at all become the average risk."""
    serve = release.facts.serve_request
    if serve is None:
        return None
    average = float(np.mean(release.facts.test_pred.risk))

    def careless(body: bytes) -> ServedAnswer:
        found = serve(body)
        odd = severity.of(b"NaN" in body or b"null" in body, found.status == 422, True)
        return ServedAnswer(status=200, risks=(average,)) if found.status != 200 and odd else found

    return replace(release.facts, serve_request=careless)


@fault(GATE, "an artifact that acts while it is loaded", "SE16")
def acting(release: Release, severity: Severity) -> ReleaseFacts | None:
    sandbox = release.facts.sandbox
    if sandbox is None:
        return None
    tried = severity.of(("open: /etc/hostname",), ("socket.connect: 10.0.0.1:443",), ("subprocess.Popen: sh",))
    return replace(release.facts, sandbox=sandbox.model_copy(update={"attempts": tried}))

"""The facts that every release of one environment shares, collected once and kept by the digest of their inputs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

import yaml

from clinical_assets.foundation.canonical import sha256_file, sha256_json
from clinical_assets.foundation.files import write_atomic
from clinical_assets.gates.security.facts import DeploymentFiles, EnvironmentFacts, RuleBreach, SecretsScan
from clinical_assets.gates.security.policy import SecurityPolicy
from clinical_assets.gates.security.supply_chain import advisories, container_rules, lock_file, manifest_rules, sbom
from clinical_assets.gates.security.supply_chain.distributions import installed
from clinical_assets.lineage import code_digest, environment_digest

SNAPSHOT = Path("advisories") / "pypi.json"
"""Where `clinical advisories` keeps the snapshot, below the state directory."""


def collect(policy: SecurityPolicy, root: Path, configs: Path, store: Path, snapshot: Path) -> EnvironmentFacts:
    """Everything about this environment; the second time with the same inputs from `store`.

    Args:
        root: the checkout, or where there is none the directory that holds `configs`; paths of the policy start there.
        configs: the configuration in force, which may lie elsewhere.
        store: where the facts, the bill of materials and the scan results are kept.
        snapshot: known vulnerabilities as `advisories.import_snapshot` wrote them.
    """
    own = _own_files(root, configs)
    judged = [root / policy.lock, snapshot, *([root / policy.sbom] if policy.sbom else [])]
    containers, manifests = _matching(root, policy.container_files), _matching(root, policy.manifests)
    paths = [policy.sbom, policy.lock, policy.container_files, policy.manifests]
    digests = [
        [str(path), sha256_file(path) if path.is_file() else ""]
        for path in (*judged, *containers, *manifests, *own.values())
    ]
    key = sha256_json([environment_digest(), code_digest("gates"), paths, digests])
    kept = store / f"{key}.json"
    if kept.is_file():
        return EnvironmentFacts.model_validate_json(kept.read_bytes())
    facts = _collect(key, policy, root, store, snapshot, own, containers, manifests)
    write_atomic(kept, facts.model_dump_json().encode())
    return facts


def _collect(
    key: str, policy: SecurityPolicy, root: Path, store: Path, snapshot: Path, own: dict[str, Path],
    containers: list[Path], manifests: list[Path],
) -> EnvironmentFacts:  # fmt: skip
    from clinical_assets.gates.security.supply_chain.secrets import scan_files

    store.mkdir(parents=True, exist_ok=True)
    distributions = installed()
    bill, source = root / policy.sbom, policy.sbom
    if not policy.sbom:
        bill, source = store / f"{environment_digest()}.cdx.json", "the running environment"
        write_atomic(bill, sbom.write(distributions, environment_digest()))
    return EnvironmentFacts(
        digest=key,
        distributions=distributions,
        sbom=sbom.read(bill, source),
        lock=lock_file.read(root / policy.lock, policy.lock),
        advisories=advisories.look_up(distributions, snapshot),
        secrets=scan_files(own, store / "secrets.json") if own else SecretsScan(files=0),
        containers=_judge_containers(root, containers),
        manifests=_judge_manifests(root, manifests),
    )


def _judge_containers(root: Path, files: list[Path]) -> DeploymentFiles:
    found = [
        RuleBreach(place=name, rule=rule)
        for name, path in zip(_names(root, files), files, strict=True)
        for rule in container_rules.breaches(path.read_text(errors="replace"))
    ]
    return DeploymentFiles(files=tuple(_names(root, files)), breaches=tuple(found))


def _judge_manifests(root: Path, files: list[Path]) -> DeploymentFiles:
    """All files together: a NetworkPolicy may lie in another file than the pods that it selects."""
    documents, unreadable = [], {}
    for name, path in zip(_names(root, files), files, strict=True):
        try:
            documents += list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))
        except (yaml.YAMLError, UnicodeDecodeError):
            unreadable[name] = "is no YAML; judge the rendered objects, not a template"
    found = [RuleBreach(place=place, rule=rule) for place, rule in manifest_rules.breaches(documents)]
    return DeploymentFiles(files=tuple(_names(root, files)), breaches=tuple(found), unreadable=unreadable)


def _own_files(root: Path, configs: Path) -> dict[str, Path]:
    """Files under version control, and the configuration."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True, timeout=30
        ).stdout.split("\0")
        paths = {name: root / name for name in listed if name}
    except (OSError, subprocess.SubprocessError):
        paths = {}
    if not configs.is_relative_to(root) or not paths:
        paths |= {f"configs/{path.relative_to(configs).as_posix()}": path for path in sorted(configs.rglob("*"))}
    return {name: path for name, path in paths.items() if path.is_file() and not path.is_symlink()}


def _matching(root: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})


def _names(root: Path, files: Iterable[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in files]

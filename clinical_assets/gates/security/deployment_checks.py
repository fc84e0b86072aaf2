"""Gate 5, the files that deploy the platform: container files and Kubernetes manifests."""

from __future__ import annotations

from typing import Any

from clinical_assets.gates.checks import Finding, check
from clinical_assets.gates.security.facts import DeploymentFiles
from clinical_assets.gates.security.supply_chain_checks import EnvironmentFacts, about_environment, some
from clinical_assets.gates.verdict import GateName, Verdict


@check(GateName.SECURITY, "SE10", "Container files", "rules broken")
@about_environment(
    "0: no root user, base images pinned by digest, no `latest`, no ADD from a URL", "CIS Docker Benchmark 4.1, 4.9"
)
def container_files(case: Any, environment: EnvironmentFacts, common: dict[str, Any]) -> Finding:
    """Container files of the repository; where there are none, that is said."""
    patterns = ", ".join(case.policy.security.container_files)
    return _judged(environment.containers, f"no container files declared ({patterns})", "the container file", common)


@check(GateName.SECURITY, "SE11", "Kubernetes manifests", "rules broken")
@about_environment(
    "0: non-root, read-only root file system, no capabilities, no host access, limits, NetworkPolicy, no token mounted",
    "Kubernetes Pod Security Standards, restricted; NSA/CISA hardening guide",
)
def kubernetes_manifests(case: Any, environment: EnvironmentFacts, common: dict[str, Any]) -> Finding:
    """Rendered manifests of the repository, judged together."""
    patterns = ", ".join(case.policy.security.manifests)
    return _judged(environment.manifests, f"no manifests declared ({patterns})", "the manifest", common)


def _judged(files: DeploymentFiles, nothing: str, what: str, common: dict[str, Any]) -> Finding:
    common["n"] = len(files.files)
    if not files.files:
        return Finding(Verdict.PASS, f"does not apply: {nothing}", **common)
    common |= {
        "value": float(len(files.breaches)),
        "details": {
            "files": files.files,
            "breaches": [f"{one.place}: {one.rule}" for one in files.breaches],
            "unreadable": files.unreadable,
        },
    }
    if files.breaches:
        listed = some((f"{one.place}: {one.rule}" for one in files.breaches), 3)
        return Finding(Verdict.BLOCK, listed, f"correct {what}", **common)
    if files.unreadable:
        listed = some(f"{name} {why}" for name, why in files.unreadable.items())
        return Finding(Verdict.INCONCLUSIVE, listed, "render first", **common)
    return Finding(Verdict.PASS, f"{len(files.files)} files keep every rule", **common)

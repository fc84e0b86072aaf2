"""Facts of the security gate that need a process, a scan or a file outside the model directory to establish."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServedAnswer(_Fact):
    """What the serving path said to one request: `risks` with status 200, else the reason of the refusal.

    status: 200, 400 (malformed), 422 (outside the contract), 500 (the path itself broke).
    """

    status: int
    risks: tuple[float, ...] = ()
    reason: str = ""


class SandboxRun(_Fact):
    """One load and prediction in a confined process.

    digest: of the bytes that were loaded; "" when loading was refused.
    layers: what confined it ("audit hook", "seccomp", …).
    attempts: what it tried beyond reading its own directory, as `event: argument`.
    rows, worst_difference: the card's rows that it was asked, and how far its risks are from those on the card.
    """

    digest: str
    layers: tuple[str, ...]
    attempts: tuple[str, ...] = ()
    rows: int = 0
    worst_difference: float | None = None
    seconds: float = 0.0
    problem: str = ""


class Distribution(_Fact):
    """An installed Python distribution. `required`: reached from the platform's own requirements, without extras."""

    name: str
    version: str
    licence: str = ""
    required: bool = False


class Sbom(_Fact):
    """`components` are the (name, version) pairs of its libraries; `source` says who wrote it."""

    sha256: str
    source: str
    specification: str
    components: tuple[tuple[str, str], ...]
    problem: str = ""


class LockFile(_Fact):
    """`pins`: name -> version; `unhashed`: pinned lines without a SHA-256; `overrides`: index options, URLs, paths."""

    path: str
    sha256: str = ""
    pins: dict[str, str] = {}
    unhashed: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    problem: str = ""


class KnownVulnerability(_Fact):
    """`score`: CVSS base score, None when nobody stated one; `fixed`: first versions without it."""

    package: str
    version: str
    ids: tuple[str, ...]
    score: float | None
    fixed: tuple[str, ...] = ()


class Advisories(_Fact):
    """Distributions looked up in a snapshot. `taken_utc`: the newest entry of the snapshot, "" when there is none."""

    taken_utc: str = ""
    sha256: str = ""
    entries: int = 0
    packages: int = 0
    audited: int = 0
    found: tuple[KnownVulnerability, ...] = ()
    problem: str = ""


class SecretFound(_Fact):
    """A line that looks like a credential. The credential itself is never kept."""

    place: str
    line: int
    kind: str


class SecretsScan(_Fact):
    files: int
    found: tuple[SecretFound, ...] = ()


class RuleBreach(_Fact):
    """One rule that one container file or manifest breaks."""

    place: str
    rule: str


class DeploymentFiles(_Fact):
    """`files` that were read, `breaches` in them, `unreadable` ones with the reason."""

    files: tuple[str, ...] = ()
    breaches: tuple[RuleBreach, ...] = ()
    unreadable: dict[str, str] = {}


class EnvironmentFacts(_Fact):
    """What every release of one environment shares; collected once per environment digest."""

    digest: str
    distributions: tuple[Distribution, ...]
    sbom: Sbom
    lock: LockFile
    advisories: Advisories
    secrets: SecretsScan
    containers: DeploymentFiles
    manifests: DeploymentFiles

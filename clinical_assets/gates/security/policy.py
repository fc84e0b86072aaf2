"""Thresholds of gate 5, security."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from clinical_assets.gates.threshold import GENERAL_KNOWLEDGE, Thresholds, threshold

EXECUTABLE = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".npy", ".npz", ".bin"})
CALLERS = frozenset({
    "os", "posix", "nt", "subprocess", "sys", "importlib", "runpy", "socket", "shutil",
    "ctypes", "pickle", "marshal", "code", "pty", "timeit", "pydoc", "webbrowser",
})  # fmt: skip
"""Modules whose objects run what they are given."""
BUILT_IN_CALLERS = frozenset({"eval", "exec", "compile", "open", "getattr", "__import__", "breakpoint", "input"})


class SecurityPolicy(Thresholds):
    """Paths are relative to the checkout, or where there is none to the directory that holds `configs`."""

    allowed_suffixes: tuple[str, ...] = threshold(
        (".json", ".ubj", ".safetensors", ".skops", ".onnx"),
        "data-only formats; deny-lists for pickle miss most probes (modelscan 1 of 6, picklescan 2 of 6)",
        "file types that may lie in a model directory",
    )
    pickle_globals: tuple[str, ...] = threshold(
        (
            "collections.OrderedDict", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
            "numpy.ndarray", "numpy.dtype",
        ),
        "what arrays alone need; everything else is unknown until somebody has read its code",
        "objects that a pickle inside the artifact may name",
    )  # fmt: skip
    approved_types: tuple[str, ...] = threshold(
        (
            "builtins.dict", "builtins.list", "builtins.tuple", "builtins.set", "builtins.str", "builtins.int",
            "builtins.float", "builtins.bool", "builtins.NoneType", "builtins.slice", "builtins.bytes",
            "collections.OrderedDict", "numpy.ndarray", "numpy.dtype", "numpy.float64", "numpy.float32", "numpy.int64",
            "numpy.int32", "numpy.bool_", "numpy.bool",
        ),
        "containers, numbers and arrays; an estimator's type is added by name once its code has been read",
        "types that a skops archive may build",
    )  # fmt: skip
    sbom: str = threshold(
        "",
        "an image's bill of materials is written when it is built; without one the running environment is described",
        "CycloneDX 1.6 JSON file of the image; empty: written from the installed distributions",
    )
    lock: str = threshold(
        "deploy/python/requirements.lock", "where the platform keeps its own", "requirements file with hashes"
    )
    advisory_max_age_days: float = threshold(
        14.0, GENERAL_KNOWLEDGE, "age from which a snapshot of known vulnerabilities says nothing any more", gt=0
    )
    cvss_block: float = threshold(9.0, "CVSS 3.1, critical", "base score of a known vulnerability that blocks", ge=0)
    cvss_warn: float = threshold(7.0, "CVSS 3.1, high", "base score of a known vulnerability that warns", ge=0)
    container_files: tuple[str, ...] = threshold(
        ("Dockerfile*", "Containerfile*", "deploy/**/Dockerfile*", "deploy/**/Containerfile*"),
        "where container files customarily lie",
        "patterns of the container files to judge",
    )
    manifests: tuple[str, ...] = threshold(
        ("deploy/kubernetes/**/*.yaml", "deploy/kubernetes/**/*.yml"),
        "rendered objects, not templates",
        "patterns of the Kubernetes manifests to judge",
    )
    copyleft: tuple[str, ...] = threshold(
        ("AGPL", "GPL"),
        "their terms reach what is shipped with them; LGPL and MPL stop at the file or library",
        "licence families that warn",
    )
    membership_warn: float = threshold(
        0.60,
        "general knowledge; measured on Wisconsin nuclei: logistic .512, random forest .596",
        "AUC of the loss attack whose lower bound warns",
        ge=0.5,
        lt=1,
    )
    membership_block: float = threshold(
        0.70, "as membership_warn", "AUC of the loss attack whose lower bound blocks", ge=0.5, lt=1
    )
    noise_share: float = threshold(
        0.01, GENERAL_KNOWLEDGE, "relative error of measurement added to every number", gt=0, lt=0.5
    )
    noise_change: float = threshold(
        0.05, GENERAL_KNOWLEDGE, "change of risk that 95 % of patients must stay below under that error", gt=0, lt=1
    )
    monotone: dict[str, Literal["increasing", "decreasing"]] = threshold(
        {}, "declared by clinicians per cancer type", "features along which the risk may only rise, or only fall"
    )
    min_contributor_n: int = threshold(
        20, GENERAL_KNOWLEDGE, "patients below which a contributor cannot be told from chance", ge=5
    )
    contributor_columns: tuple[str, ...] = threshold(
        ("site_id", "center", "centre", "institution", "hospital", "contributor"),
        "names under which cohorts carry who sent the data",
        "columns that name the contributor of a row",
    )

    @model_validator(mode="after")
    def _refuses_code(self) -> SecurityPolicy:
        executable = EXECUTABLE & set(self.allowed_suffixes)
        if executable:
            raise ValueError(
                f"security.allowed_suffixes: {sorted(executable)} can carry code and cannot be allowed by policy"
            )
        for name in ("pickle_globals", "approved_types"):
            running = [entry for entry in getattr(self, name) if _runs_code(entry)]
            if running:
                raise ValueError(f"security.{name}: {running} can run code and cannot be allowed by policy")
        if self.membership_warn > self.membership_block or self.cvss_warn > self.cvss_block:
            raise ValueError("security: the warning threshold must not exceed the blocking one")
        return self


def _runs_code(name: str) -> bool:
    module, _, attribute = name.partition(".")
    return module in CALLERS or (module in ("builtins", "__builtin__") and attribute in BUILT_IN_CALLERS)

"""The catalogue: one YAML file per cancer type in `configs/cancers`, each a partition; platform defaults beside it.

Simulated cohorts lie in `configs/simulated`, and only there. They join the partitions where platform.yaml says so
(`catalogue: {simulated: true}`): a rehearsal wants them, a count of cancer types never includes them.
"""

from __future__ import annotations

import datetime as dt
import difflib
import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clinical_assets.compute import Compute
from clinical_assets.configuration import CatalogError, merge, read_yaml, validate
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.regulatory.declarations import ChangePlan, ContextOfUse, DeclaredUse, TrialDesign
from clinical_assets.gates.verdict import Tier
from clinical_assets.modeling.options import ModelOptions
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.data_status import stamped
from clinical_assets.trials.sources.spec import SourceSpec

if TYPE_CHECKING:
    from clinical_assets.trials.split import Split

__all__ = [
    "CancerType", "Catalog", "CatalogError", "UnknownCancerType", "configs_directory", "json_schema", "load_catalog",
    "platform_defaults", "simulated_files",
]  # fmt: skip

SIMULATED = "simulated"
"""Directory of the simulated cohorts, beside `cancers`."""


class UnknownCancerType(CatalogError, KeyError):
    """No such partition; the message names the nearest one."""

    __str__ = ValueError.__str__


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SplitRule(_Section):
    """Changing a value changes who is in the test set: it belongs in a review, not in a retraining."""

    salt: str = Field(min_length=1)
    test_fraction: float = Field(default=0.30, gt=0, lt=1)
    test_from: dt.date | None = Field(None, description="first index date of an out-of-time test split")


class Retraining(_Section):
    """Whether and when the calendar retrains a cancer type (cron in UTC)."""

    enabled: bool = True
    cron: str = Field(default="0 3 * * 1", pattern=r"^\S+ \S+ \S+ \S+ \S+$")


_ICD10 = r"[A-Z]\d\d(\.[\dA-Z]+)?(-[A-Z]\d\d)?"
"""A category, a subcategory, or a range of categories: C50, C74.0, C49.A, C65-C66."""


class CancerType(_Section):
    """One clinical question on one disease. `gates`, `rollout`, `models`, `compute`, `retraining`, `trial` and
    `change_plan` hold the resolved values: built-in defaults, then configs/platform.yaml, then the type's own file.
    """

    slug: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(min_length=1)
    icd10: str = Field(pattern=rf"^{_ICD10}(,{_ICD10})*$")
    task: Literal["prognosis", "diagnosis"]
    tier: Tier
    tier_reason: str = Field(min_length=1, description="why the cohort can or cannot carry a clinical-tier claim")
    risk_class: Literal["low", "medium", "high"] = "high"
    source: SourceSpec
    contract: CohortContract
    split: SplitRule
    context_of_use: ContextOfUse
    owners: tuple[str, ...] = Field(min_length=1)
    models: ModelOptions = ModelOptions()
    compute: Compute = Compute()
    gates: GatePolicy = GatePolicy()
    rollout: RolloutPolicy = Field(default_factory=RolloutPolicy)
    retraining: Retraining = Retraining()
    trial: TrialDesign = TrialDesign()
    change_plan: ChangePlan = ChangePlan()

    @property
    def declared_use(self) -> DeclaredUse:
        """What the regulatory gate judges of all this."""
        return DeclaredUse(
            context_of_use=self.context_of_use,
            trial=self.trial,
            change_plan=self.change_plan,
            risk_class=self.risk_class,
        )

    @property
    def heading(self) -> str:
        """The title over everything that is shown of this cancer type, stamped where no patient stands behind it."""
        return stamped(self.title, self.source.data_status)

    @property
    def subject_split(self) -> Split:
        from clinical_assets.trials.split import Split  # needs numpy, which reading the catalogue does not

        rule = self.split
        return Split(rule.salt, rule.test_fraction, self.contract.digest, rule.test_from)

    @field_validator("owners")
    @classmethod
    def _owners_are_addressable(cls, owners: tuple[str, ...]) -> tuple[str, ...]:
        for owner in owners:
            if not (owner.startswith("team:") or "@" in owner):
                raise ValueError(f"owner {owner!r} must be an e-mail address or `team:name`")
        return owners

    @model_validator(mode="after")
    def _row_numbers_are_pinned(self) -> Self:
        if self.contract.subject_from == "row_number" and self.source.content_sha256 is None:
            raise ValueError("contract.subject_from row_number needs `source.content_sha256`: rows must not move")
        return self

    @model_validator(mode="after")
    def _target_population_is_known(self) -> Self:
        if self.context_of_use.target_population is not None:
            self.context_of_use.target_population.check(self.contract)
        return self

    @model_validator(mode="after")
    def _a_split_in_time_needs_dates(self) -> Self:
        if self.split.test_from is not None and self.contract.index_date.kind != "calendar":
            raise ValueError("split.test_from needs calendar index dates; split by subject, or declare the dates")
        return self

    @model_validator(mode="after")
    def _simulated_data_claim_nothing(self) -> Self:
        if self.source.data_status == "simulated" and self.tier is not Tier.RESEARCH:
            raise ValueError("simulated data carry no clinical claim: `tier` must be research")
        if self.source.simulation is not None:
            self.source.simulation.check(self.contract)
        return self


class Selection(_Section):
    """Which cohorts belong to the catalogue: those of configs/cancers, with `simulated` also configs/simulated."""

    simulated: bool = False


class PlatformDefaults(_Section):
    """What configs/platform.yaml may hold: what belongs to the catalogue, and overrides of the built-in defaults."""

    catalogue: Selection = Selection()
    gates: dict[str, Any] = Field(default_factory=dict)
    rollout: dict[str, Any] = Field(default_factory=dict)
    models: dict[str, Any] = Field(default_factory=dict)
    compute: dict[str, Any] = Field(default_factory=dict)
    retraining: dict[str, Any] = Field(default_factory=dict)
    trial: dict[str, Any] = Field(default_factory=dict)
    change_plan: dict[str, Any] = Field(default_factory=dict)


class _Resolved(_Section):
    """What the sections of platform.yaml must amount to."""

    gates: GatePolicy
    rollout: RolloutPolicy
    models: ModelOptions
    compute: Compute
    retraining: Retraining
    trial: TrialDesign
    change_plan: ChangePlan


class Catalog(Mapping[str, CancerType]):
    """Cancer types by slug, in alphabetical order."""

    def __init__(self, cancers: Mapping[str, CancerType]) -> None:
        self._cancers = dict(sorted(cancers.items()))

    def __getitem__(self, slug: str) -> CancerType:
        if slug in self._cancers:
            return self._cancers[slug]
        close = difflib.get_close_matches(str(slug), self._cancers, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownCancerType(f"unknown cancer type {slug!r}: {hint}known are {', '.join(self._cancers)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._cancers)

    def __len__(self) -> int:
        return len(self._cancers)


def configs_directory() -> Path:
    """`$CLINICAL_CONFIGS`, else `configs` next to the package."""
    return Path(os.environ.get("CLINICAL_CONFIGS", Path(__file__).parent.parent / "configs")).expanduser().absolute()


def platform_defaults(directory: Path | None = None) -> dict[str, dict[str, Any]]:
    """The sections of platform.yaml but `catalogue`, validated; all empty without the file.

    Raises:
        CatalogError: bad syntax, unknown section or key, value out of bounds.
    """
    return _platform(directory or configs_directory()).model_dump(exclude={"catalogue"})


def _platform(directory: Path) -> PlatformDefaults:
    file = directory / "platform.yaml"
    if not file.exists():
        return PlatformDefaults()
    platform = validate(PlatformDefaults, read_yaml(file), file)
    validate(_Resolved, platform.model_dump(exclude={"catalogue"}), file)
    return platform


def load_catalog(directory: Path | None = None) -> Catalog:
    """All cancer types below `directory` (default: `configs_directory()`). Read again only when a file changed.

    Raises:
        CatalogError: naming file, key and remedy, for every faulty file at once.
    """
    root = (directory or configs_directory()).absolute()
    files = sorted((root / "cancers").glob("*.yaml"))
    if not files:
        raise CatalogError(f"{root / 'cancers'}: no *.yaml file found; set CLINICAL_CONFIGS to the configs directory")
    stamps = []
    for file in [root / "platform.yaml", *files, *simulated_files(root)]:
        if file.exists():
            status = file.stat()
            stamps.append((file, status.st_mtime_ns, status.st_size))
    return _load(root, tuple(stamps))


def simulated_files(directory: Path | None = None) -> list[Path]:
    """Files of the simulated cohorts, in the catalogue or not."""
    return sorted(((directory or configs_directory()) / SIMULATED).glob("*.yaml"))


@lru_cache(maxsize=8)
def _load(root: Path, stamps: tuple[tuple[Path, int, int], ...]) -> Catalog:
    defaults = platform_defaults(root)
    chosen = ("cancers", SIMULATED) if _platform(root).catalogue.simulated else ("cancers",)
    cancers, problems = {}, []
    for file in [file for file, *_ in stamps if file.parent.name in chosen]:
        if file.stem in cancers:
            problems.append(f"{file}: {file.stem} is in the catalogue already; give the simulated one another name")
            continue
        try:
            cancers[file.stem] = _read_cancer(file, defaults)
        except CatalogError as error:
            problems.append(str(error))
    if problems:
        raise CatalogError("\n".join(problems))
    return Catalog(cancers)


def _read_cancer(file: Path, defaults: Mapping[str, Any]) -> CancerType:
    content = read_yaml(file)
    for section, values in defaults.items():
        if isinstance(content.get(section, {}), Mapping):
            content[section] = merge(values, content.get(section, {}))
    cancer = validate(CancerType, content, file)
    if cancer.slug != file.stem:
        raise CatalogError(f"{file}:\n  slug: is {cancer.slug!r}; rename the file to {cancer.slug}.yaml or the slug")
    if (cancer.source.data_status == "simulated") != (file.parent.name == SIMULATED):
        raise CatalogError(
            f"{file}:\n  source.data_status: is {cancer.source.data_status}; simulated cohorts, and they alone, belong "
            f"into {file.parent.parent / SIMULATED}"
        )
    return cancer.model_copy(update={"source": cancer.source.below(file.parent)})


def json_schema() -> dict[str, Any]:
    """JSON Schema of a cancer type's file, for editors; `python -m clinical_assets.catalog` prints it."""
    schema = CancerType.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Cancer type"}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))

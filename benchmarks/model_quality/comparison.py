"""From fold records to answers: where the platform is better, where it is worse, and how it ranks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.model_quality.measures import PRIMARY
from benchmarks.model_quality.procedures import NULL, PEERS, PLATFORM, TWIN
from benchmarks.model_quality.results import Results
from benchmarks.model_quality.statistics import (
    Difference,
    RankTest,
    critical_difference,
    friedman,
    holm,
    independent_t,
    mean_ranks,
    resampled_t,
    signed_rank,
)

LEVEL = 0.05
COMPARED = (PLATFORM, *PEERS)
ERROR = {"survival": "ibs", "binary": "brier"}


@dataclass(frozen=True)
class Standing:
    """One cohort in numbers: procedure -> measure -> mean over the folds (`ici`, `slope` and `oe`: over the repeats).

    `skill` is 1 - error / error of the null model, with the integrated Brier score or the Brier score as error
    (index of prediction accuracy, Kattan & Gerds 2018).
    """

    slug: str
    cohort: dict[str, Any]
    primary: str
    means: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Contest:
    """One procedure against another over all cohorts that both finished, by the primary measure.

    `differences` and `adjusted` hold, for each cohort, the difference with its 95 % interval over the folds and the
    p-value after Holm over the cohorts. `mean` has the cohort as its unit, and `p_value` is Wilcoxon's over cohorts;
    in a family of contests it is adjusted over them. `skill` is the mean difference of the skill.
    """

    first: str
    second: str
    differences: dict[str, Difference]
    adjusted: dict[str, float]
    mean: Difference
    skill: Difference
    p_value: float

    def won(self, corrected: bool = False) -> list[str]:
        """Cohorts where `first` is better beyond the interval, or after Holm."""
        return [slug for slug in self._different(corrected) if self.differences[slug].mean > 0]

    def lost(self, corrected: bool = False) -> list[str]:
        return [slug for slug in self._different(corrected) if self.differences[slug].mean < 0]

    @property
    def higher(self) -> int:
        """Cohorts with the higher mean, however little."""
        return sum(difference.mean > 0 for difference in self.differences.values())

    def _different(self, corrected: bool) -> list[str]:
        p_values = {slug: difference.p_value for slug, difference in self.differences.items()}
        return [slug for slug, p in (self.adjusted if corrected else p_values).items() if p < LEVEL]


@dataclass(frozen=True)
class Ranking:
    """Mean ranks over the cohorts that every procedure finished, Friedman's test and Nemenyi's critical difference."""

    cohorts: int
    ranks: dict[str, float]
    test: RankTest
    critical: float


@dataclass(frozen=True)
class Summary:
    """All that the report shows. `twins` is the false-alarm check: equal procedures, called different how often?"""

    standings: list[Standing]
    contests: list[Contest]
    rankings: dict[str, Ranking]
    twins: Contest | None
    errors: dict[str, dict[str, str]]


def summarise(results: Results, slugs: list[str]) -> Summary:
    """Judge the finished records of the cohorts `slugs`."""
    standings = [_standing(results, slug) for slug in slugs if slug in results.cohorts]
    contests = [contest for peer in PEERS if (contest := contest_of(results, standings, PLATFORM, peer))]
    corrected = holm(np.array([contest.p_value for contest in contests]))
    errors = {
        slug: {name: record["error"] for name, record in results.records.get(slug, {}).items() if "error" in record}
        for slug in slugs
    }
    rankings = {measure: _ranking(standings, measure) for measure in ("primary", "skill")}
    return Summary(
        standings=standings,
        contests=[replace(contest, p_value=float(p)) for contest, p in zip(contests, corrected, strict=True)],
        rankings={measure: ranking for measure, ranking in rankings.items() if ranking},
        twins=contest_of(results, standings, "forest", TWIN),
        errors={slug: found for slug, found in errors.items() if found},
    )


def contest_of(results: Results, standings: list[Standing], first: str, second: str) -> Contest | None:
    """`first` - `second` wherever both finished, None without two such cohorts."""
    shared = [standing for standing in standings if {first, second} <= set(standing.means)]
    differences = {
        standing.slug: difference
        for standing in shared
        if (difference := _difference(results, standing, first, second)) is not None
    }
    if len(differences) < 2:
        return None
    means = np.array([difference.mean for difference in differences.values()])
    skill = [standing.means[first]["skill"] - standing.means[second]["skill"] for standing in shared]
    p_values = np.array([difference.p_value for difference in differences.values()])
    return Contest(
        first,
        second,
        differences,
        dict(zip(differences, holm(p_values).tolist(), strict=True)),
        independent_t(means),
        independent_t(np.array(skill)),
        signed_rank(means),
    )


def _difference(results: Results, standing: Standing, first: str, second: str) -> Difference | None:
    scores = [_by_fold(results, standing.slug, name, standing.primary) for name in (first, second)]
    paired = scores[0] - scores[1]
    defined = paired[~np.isnan(paired)]
    if len(defined) < 2:
        return None
    fold = results.records[standing.slug][first]["folds"][0]
    return resampled_t(defined, fold["test"] / fold["train"])


def _standing(results: Results, slug: str) -> Standing:
    cohort = results.cohorts[slug]
    kind = cohort["kind"]
    records = {name: record for name, record in results.records.get(slug, {}).items() if "folds" in record}
    means = {name: _means(record) for name, record in records.items()}
    null = means.get(NULL, {}).get(ERROR[kind])
    for found in means.values():
        found["skill"] = 1.0 - found[ERROR[kind]] / null if null else float("nan")
    return Standing(slug, cohort, PRIMARY[kind], means)


def _means(record: dict[str, Any]) -> dict[str, float]:
    rows = [*record["folds"], *record["pooled"]]
    names = {name for row in rows for name, value in row.items() if isinstance(value, float)}
    found = {}
    for name in sorted(names - {"cpu_seconds"}):
        values = [row[name] for row in rows if row.get(name) is not None]
        found[name] = float(np.mean(values))
    seconds = [fold["cpu_seconds"] for fold in record["folds"]]
    return {**found, "cpu_seconds": float(np.sum(seconds)), "peak_cpu_seconds": float(np.max(seconds))}


def _by_fold(results: Results, slug: str, name: str, measure: str) -> np.ndarray:
    """(repeats * folds,) in the order of the folds, NaN where the fold does not define the measure."""
    return np.array([fold[measure] for fold in results.records[slug][name]["folds"]], dtype=np.float64)


def _ranking(standings: list[Standing], measure: str) -> Ranking | None:
    complete = [standing for standing in standings if set(COMPARED) <= set(standing.means)]
    if len(complete) < 2:
        return None
    scores = np.array(
        [
            [standing.means[name][standing.primary if measure == "primary" else measure] for name in COMPARED]
            for standing in complete
        ]
    )
    ranks = dict(zip(COMPARED, mean_ranks(scores).tolist(), strict=True))
    return Ranking(len(complete), ranks, friedman(scores), critical_difference(len(COMPARED), len(complete)))

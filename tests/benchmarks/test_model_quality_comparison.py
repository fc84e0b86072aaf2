"""From folds to verdicts on made-up results whose answer is known, and a report that says it."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks import tables
from benchmarks.model_quality.comparison import COMPARED, Summary, contest_of, summarise
from benchmarks.model_quality.evaluation import Plan
from benchmarks.model_quality.figure import forest_plot
from benchmarks.model_quality.procedures import ALL, NULL, PLATFORM, TWIN
from benchmarks.model_quality.published import published
from benchmarks.model_quality.report import markdown, sections
from benchmarks.model_quality.results import Results

COHORTS = [f"cohort_{number:02d}" for number in range(12)]
ADVANTAGE = {"regression": 0.05, "elastic_net": 0.0, "forest": -0.05, "tuned_forest": 0.002, "xgboost": 0.01}
"""By how much the platform is better than the peer in every cohort, before noise of .01 per fold."""


def record(concordance: np.ndarray, error: float) -> dict[str, Any]:
    folds = [
        {
            "repeat": number // 5,
            "fold": number % 5,
            "train": 160,
            "test": 40,
            "test_events": 20,
            "cpu_seconds": 1.0 + number,
            "uno_c": round(float(value), 6),
            "harrell_c": round(float(value), 6),
            "ibs": error,
            "brier": error,
            "chosen": {},
        }
        for number, value in enumerate(concordance)
    ]
    return {"key": "k", "folds": folds, "pooled": [{"ici": 0.02, "slope": 0.9, "oe": 1.1}] * 2}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    rng = np.random.default_rng(4)
    made = Results(tmp_path / "results.json", {"folds": 5, "repeats": 2, "subjects": "all", "large": 3000})
    for slug in COHORTS:
        made.cohorts[slug] = {"kind": "survival", "subjects": 200, "events_by_horizon": 90}
        level = 0.7 + 0.02 * rng.standard_normal(10)
        names = {**ADVANTAGE, PLATFORM: 0.0, TWIN: -0.05, NULL: 0.2}
        made.records[slug] = {
            name: record(level - advantage + 0.01 * rng.standard_normal(10) * (name != PLATFORM), 0.2)
            for name, advantage in names.items()
        }
        made.records[slug][NULL] = record(np.full(10, 0.5), 0.25)
    return made


def contests(summary: Summary) -> dict[str, Any]:
    return {contest.second: contest for contest in summary.contests}


def test_true_differences_are_found_and_absent_ones_are_not(results: Results) -> None:
    found = contests(summarise(results, COHORTS))
    for corrected in (False, True):
        assert len(found["regression"].won(corrected)) == 12
        assert len(found["forest"].lost(corrected)) == 12
        assert len(found["elastic_net"].won(corrected)) + len(found["elastic_net"].lost(corrected)) <= 1
    assert found["regression"].mean.mean == pytest.approx(0.05, abs=0.005)
    assert found["forest"].p_value < 0.01
    assert found["elastic_net"].p_value > 0.05
    assert found["xgboost"].won(True) <= found["xgboost"].won()


def test_the_same_procedure_twice_raises_no_alarm(results: Results) -> None:
    twins = summarise(results, COHORTS).twins
    assert twins is not None
    assert not twins.won(True) + twins.lost(True)


def test_swapping_the_sides_swaps_the_verdict(results: Results) -> None:
    standings = summarise(results, COHORTS).standings
    there, back = (
        contest_of(results, standings, PLATFORM, "regression"),
        contest_of(results, standings, "regression", PLATFORM),
    )
    assert there is not None
    assert back is not None
    assert there.won() == back.lost()
    assert there.mean.mean == pytest.approx(-back.mean.mean)
    assert there.p_value == pytest.approx(back.p_value)


def test_ranks_follow_the_built_in_order(results: Results) -> None:
    ranking = summarise(results, COHORTS).rankings["primary"]
    assert min(ranking.ranks, key=ranking.ranks.__getitem__) == "forest"
    assert max(ranking.ranks, key=ranking.ranks.__getitem__) == "regression"
    assert sum(ranking.ranks.values()) == pytest.approx(sum(range(1, len(COMPARED) + 1)))
    assert ranking.test.p_value < 1e-6
    assert ranking.cohorts == 12


def test_skill_is_relative_to_the_null_model(results: Results) -> None:
    means = summarise(results, COHORTS).standings[0].means
    assert means[PLATFORM]["skill"] == pytest.approx(1 - 0.2 / 0.25)
    assert means[NULL]["skill"] == pytest.approx(0.0)


def test_a_failed_peer_is_left_out_where_it_failed_and_named(results: Results) -> None:
    results.records["cohort_03"]["xgboost"] = {"key": "k", "error": "ValueError: diverged"}
    summary = summarise(results, COHORTS)
    assert len(contests(summary)["xgboost"].differences) == 11
    assert len(contests(summary)["regression"].differences) == 12
    assert summary.rankings["primary"].cohorts == 11
    assert summary.errors == {"cohort_03": {"xgboost": "ValueError: diverged"}}
    assert "ValueError: diverged" in markdown(summary, results)


def test_a_fold_that_defines_no_concordance_is_left_out_of_both_sides(results: Results) -> None:
    for name in ALL:
        results.records["cohort_00"][name]["folds"][2]["uno_c"] = None
    difference = contests(summarise(results, COHORTS))["forest"].differences["cohort_00"]
    assert difference.count == 9


def test_the_report_shows_marks_ranks_costs_and_false_alarms(results: Results) -> None:
    summary = summarise(results, COHORTS)
    text = markdown(summary, results)
    line = next(line for line in text.splitlines() if line.startswith("| cohort_00 |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[4].endswith("▲▲")
    assert cells[6].endswith("▼▼")
    assert "False alarms" in text
    assert "critical difference" in text
    assert "10.0 (cohort" in text
    console = Console(record=True, width=240, file=io.StringIO())
    tables.show(sections(summary), console)
    assert "Platform against each peer" in console.export_text()


def test_the_figure_is_valid_and_the_same_each_time(results: Results, tmp_path: Path) -> None:
    summary = summarise(results, COHORTS)
    for name in ("first.svg", "second.svg"):
        forest_plot(summary, tmp_path / name)
    first = (tmp_path / "first.svg").read_bytes()
    assert first == (tmp_path / "second.svg").read_bytes()
    assert ElementTree.fromstring(first).tag.endswith("svg")


def test_published_figures_belong_to_cohorts_of_the_catalogue_and_are_probabilities() -> None:
    from clinical_assets.catalog import load_catalog

    known = published()
    assert set(known) <= set(load_catalog())
    entries = [entry for found in known.values() for entry in found]
    assert all(0.5 <= entry.value < 1 for entry in entries)
    assert {entry.measure for entry in entries} == {"harrell_c", "auroc"}


def test_the_plan_is_stored_with_the_results(tmp_path: Path) -> None:
    opened = Results.open(tmp_path / "results.json", Plan(folds=4))
    assert opened.plan["folds"] == 4

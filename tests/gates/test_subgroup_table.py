from __future__ import annotations

import numpy as np
import pytest

from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.gates.bias import gate as bias
from clinical_assets.gates.bias.subgroup_table import METHODS, SubgroupTable, forest_plot, subgroup_table
from clinical_assets.gates.checks import _plain
from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.metrics.discrimination import uno_c
from clinical_assets.modeling.outcomes import Outcomes

from .cohorts import POLICY, found, release, with_frames, with_risk


@pytest.fixture(scope="module")
def colon() -> SubgroupTable:
    return subgroup_table(release("colon"), POLICY)


def test_every_group_has_every_metric_and_all_patients_come_first(colon):
    assert len(colon.rows) == (1 + 2 + 3) * len(METHODS)
    assert {row.attribute for row in colon.rows[: len(METHODS)]} == {"all"}
    assert sum(row.n for row in colon.rows if row.attribute == "age" and row.metric == "sensitivity") == 929
    assert all(row.interval[0] <= row.estimate <= row.interval[1] for row in colon.rows if row.estimate is not None)


def test_the_numbers_are_those_of_the_checks(colon):
    report = bias.judge(release("colon"), POLICY)
    calibration = {row["group"]: row for row in found(report, "BI5").details["groups"]}
    gaps = {row["group"]: row for row in found(report, "BI2").details["gaps"]}
    for row in colon.rows:
        if row.attribute != "all" and row.metric == "observed / expected":
            assert row.estimate == pytest.approx(calibration[row.group]["oe"])
        if row.attribute != "all" and row.metric == "sensitivity":
            assert (row.estimate, row.reference) == pytest.approx(
                (gaps[row.group]["sensitivity"], gaps[row.group]["others"])
            )


def test_a_groups_concordance_is_uno_c(colon):
    facts = release("colon")
    both = [(facts.test, facts.test_pred), (facts.train, facts.oof)]
    time, event, risk, men = (
        np.concatenate(part)
        for part in zip(
            *((frame["time"], frame["event"], predictions.risk, frame["sex"] == "male") for frame, predictions in both),
            strict=True,
        )
    )
    row = next(row for row in colon.rows if row.metric == "concordance" and row.group == "male")
    assert row.estimate == pytest.approx(uno_c(Outcomes.survival(time[men], event[men]), risk[men], 1826.25), rel=1e-4)


def test_small_cells_are_withheld_and_small_groups_are_inconclusive():
    facts = release("colon")
    age = facts.test["age"].where(np.arange(len(facts.test)) >= 7, np.nan)
    table = subgroup_table(with_frames(facts, test=facts.test.assign(age=age)), POLICY)
    hidden = [row for row in table.rows if row.group == "not reported"]
    assert len(hidden) == len(METHODS)
    assert {(row.n, row.events, row.estimate, row.verdict) for row in hidden} == {
        ("<11", "<11", None, Verdict.INCONCLUSIVE)
    }


def test_a_fault_shows_as_a_block_in_its_own_row():
    def lower(risk, frame):
        return np.where(frame["sex"] == "male", risk / 1.8, risk)

    rows = subgroup_table(with_risk(release("colon"), lower), POLICY).rows
    blocked = {(row.group, row.metric) for row in rows if row.verdict is Verdict.BLOCK}
    assert ("male", "observed / expected") in blocked
    assert not any(group == "female" for group, _ in blocked)


def test_it_can_be_stored_and_drawn(colon):
    assert b'"multiplicity"' in canonical_json(_plain(colon.as_dict()))
    assert "Bonferroni" in colon.multiplicity
    assert forest_plot(colon, "observed / expected", "Colon").startswith(b"\x89PNG")
    with pytest.raises(KeyError, match="no metric"):
        forest_plot(colon, "luck", "Colon")

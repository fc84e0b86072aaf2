from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from clinical_assets.modeling import plots
from clinical_assets.modeling.plots import ForestRow


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def test_every_figure_is_a_png_drawn_without_pyplot(cohort, fitted) -> None:
    colon, breast = cohort("colon"), cohort("breast")
    outcomes = colon.outcomes(colon.test)
    arms = {str(arm): outcomes.take((colon.test["rx"] == arm).to_numpy()) for arm in colon.test["rx"].unique()}
    risk = fitted("colon", "cox").risk(colon.test, colon.horizon)
    rows = [ForestRow("female", 0.66, 0.60, 0.72, 120, 60), ForestRow("male", 0.64, 0.59, 0.70, 150, 80)]
    points = [
        {"time": 0.0, "planned": 0.0, "observed": None, "stage": "shadow"},
        {"time": 10.0, "planned": 0.05, "observed": 0.06, "stage": "5"},
    ]
    already = "matplotlib.pyplot" in sys.modules
    figures = [
        plots.kaplan_meier(outcomes, "colon", colon.horizon),
        plots.kaplan_meier(arms, "colon by arm"),
        plots.calibration(outcomes, risk, colon.horizon),
        plots.subgroup_forest(rows, "colon", "Uno C", overall=0.65),
        plots.split_over_time(breast.train["index_date"], breast.test["index_date"], "Index dates"),
        plots.traffic_over_time(points, "colon"),
    ]
    assert all(min(size(figure)) > 150 for figure in figures)
    assert len(set(figures)) == len(figures)
    assert already or "matplotlib.pyplot" not in sys.modules


def test_the_same_input_gives_the_same_picture(cohort) -> None:
    outcomes = cohort("colon").outcomes(cohort("colon").test)
    assert plots.kaplan_meier(outcomes, "colon") == plots.kaplan_meier(outcomes, "colon")


def test_a_nominal_index_date_is_drawn_too(cohort) -> None:
    colon = cohort("colon")
    assert size(plots.split_over_time(colon.train["index_date"], colon.test["index_date"], "Index dates"))[0] > 150


def test_binary_calibration_is_drawn(cohort, fitted) -> None:
    data = cohort("breast_fna")
    risk = fitted("breast_fna", "cox").risk(data.test, None)
    assert size(plots.calibration(data.outcomes(data.test), np.asarray(risk), None))[0] > 150


def test_a_binary_outcome_has_no_survival_curve(cohort) -> None:
    data = cohort("breast_fna")
    with pytest.raises(TypeError, match="no follow-up"):
        plots.kaplan_meier(data.outcomes(data.test), "cells")

"""SE12: patients' data inside the artifact, in every shape in which models keep them."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as save_tensors

from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.verdict import CheckResult, Verdict
from clinical_assets.modeling.artifact import load_model
from clinical_assets.modeling.encoder import encode_columns, features_of

from .cohorts import POLICY, found, release


@pytest.fixture
def copied(tmp_path: Path) -> ReleaseFacts:
    facts = release("colon")
    shutil.copytree(facts.model_dir, tmp_path / "model")
    return replace(facts, model_dir=tmp_path / "model")


def judged(facts: ReleaseFacts) -> CheckResult:
    return found(security.judge(facts, POLICY), "SE12")


def codes(facts: ReleaseFacts) -> np.ndarray:
    return encode_columns(features_of(facts.contract), facts.train)


def encoded(facts: ReleaseFacts) -> np.ndarray:
    return np.ascontiguousarray(load_model(facts.model_dir, None).encoder_.transform(facts.train))


TENSORS: dict[str, Callable[[ReleaseFacts], np.ndarray]] = {
    "the encoded matrix (a nearest-neighbour model)": encoded,
    "a few rows of it (support vectors)": lambda facts: encoded(facts)[40:52],
    "in single precision": lambda facts: encoded(facts)[::9].astype(np.float32),
    "flat": lambda facts: encoded(facts)[:50].ravel(),
    "lying on its side": lambda facts: np.ascontiguousarray(encoded(facts)[:50].T),
    "the raw features": codes,
    "some raw features in another order": lambda facts: np.ascontiguousarray(
        facts.train[["nodes", "age"]].dropna().to_numpy(np.float64)[:200]
    ),
    "some encoded features of a few patients": lambda facts: np.ascontiguousarray(encoded(facts)[:60, ::2]),
    "the outcomes": lambda facts: facts.train[["time", "event"]].to_numpy(np.float64),
    "the event times in order of the rows": lambda facts: facts.train["time"].to_numpy(np.float64),
    "the event times sorted": lambda facts: np.sort(facts.train["time"].to_numpy(np.float64)),
    "one feature of the test patients": lambda facts: facts.test["age"].to_numpy(np.float64),
}


@pytest.mark.parametrize("slug", ["colon", "breast_fna"])
def test_a_clean_model_holds_nobody(slug):
    assert judged(release(slug)).verdict is Verdict.PASS


@pytest.mark.parametrize("what", TENSORS)
def test_a_tensor_that_holds_patients_blocks(copied, what):
    (copied.model_dir / "extra.safetensors").write_bytes(save_tensors({"kept": TENSORS[what](copied)}))
    result = judged(copied)
    assert result.verdict is Verdict.BLOCK
    assert "kept" in result.reason


def test_an_array_of_a_skops_archive_is_read_too(copied):
    buffer = io.BytesIO()
    np.save(buffer, encoded(copied))
    with zipfile.ZipFile(copied.model_dir / "model.skops", "w") as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr("0.npy", buffer.getvalue())
    assert "0.npy" in judged(copied).reason


DOCUMENTS: dict[str, Callable[[ReleaseFacts], object]] = {
    "records": lambda facts: [
        {"age": row.age, "sex": row.sex, "nodes": row.nodes} for row in facts.train.head(8).itertuples()
    ],
    "a table by columns": lambda facts: {name: facts.train[name].head(8).tolist() for name in ("age", "nodes", "time")},
    "rows of numbers": lambda facts: facts.train[["time", "event"]].head(60).astype(float).to_numpy().tolist(),
    "a message": lambda facts: "call the clinic, phone 555-867-5309, or write to jane.roe@example.org",
    "a medical record number": lambda facts: {"note": "MRN 00123456"},
}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_a_document_that_holds_patients_blocks(copied, what):
    (copied.model_dir / "extra.json").write_text(json.dumps({"kept": DOCUMENTS[what](copied)}))
    result = judged(copied)
    assert result.verdict is Verdict.BLOCK
    assert "extra.json" in result.reason


@pytest.mark.parametrize("as_key", [True, False])
def test_a_subject_by_name_blocks_also_as_a_key(copied, as_key):
    named = copied.train.assign(subject_id=[f"TRIAL-{number:05d}" for number in range(len(copied.train))])
    facts = replace(copied, train=named)
    (copied.model_dir / "extra.json").write_text(json.dumps({"TRIAL-00017": 0.3} if as_key else ["TRIAL-00017"]))
    assert "1 subject identifiers" in judged(facts).reason


def test_known_answers_of_patients_instead_of_drawn_rows_block(copied):
    path = copied.model_dir / "model.json"
    card = json.loads(path.read_text())
    names = [feature["name"] for feature in card["features"]]
    rows = copied.train.astype(object).where(copied.train.notna(), None)[names].head(len(card["golden"]))
    for golden, row in zip(card["golden"], rows.to_dict("records"), strict=True):
        golden["row"] = row
    path.write_text(json.dumps(card))
    assert "model.json.golden" in judged(copied).reason


def test_one_value_for_each_patient_warns(copied):
    residuals = np.random.default_rng(0).standard_normal(len(copied.train))
    (copied.model_dir / "extra.safetensors").write_bytes(save_tensors({"residuals": residuals}))
    result = judged(copied)
    assert result.verdict is Verdict.WARN
    assert "residuals" in result.reason


@pytest.mark.parametrize(
    "tensor",
    [
        np.random.default_rng(1).standard_normal((64, 12)),
        np.zeros((500, 12)),
        np.arange(2000.0),
        np.random.default_rng(2).integers(0, 40, 5000).astype(np.float64),
        np.random.default_rng(3).integers(0, 2, (300, 4)).astype(np.float64),
        np.random.default_rng(4).integers(20, 80, (40, 2)).astype(np.float64),
    ],
    ids=["weights", "zeros", "positions", "children of trees", "yes or no", "pairs of whole numbers"],
)
def test_learnt_values_are_nobodys(copied, tensor):
    (copied.model_dir / "extra.safetensors").write_bytes(save_tensors({"learnt": tensor}))
    assert judged(copied).verdict is Verdict.PASS


def test_the_support_of_a_survival_curve_is_no_column(copied):
    times = np.unique(copied.train["time"].to_numpy(np.float64))
    (copied.model_dir / "extra.safetensors").write_bytes(save_tensors({"times": times}))
    assert judged(copied).verdict is Verdict.PASS

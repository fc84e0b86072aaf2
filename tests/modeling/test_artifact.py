"""A stored model: identity, exact return, and everything that must not be loaded."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.modeling.artifact import (
    DigestMismatch,
    UnsafeArtifact,
    load_card,
    load_model,
    load_scorer,
    publish_model,
    save_model,
)
from clinical_assets.modeling.families import TRAINERS

FAMILIES = tuple(TRAINERS)
BINARY_FOREST = ("breast_fna", "rsf")
EVERY = [(slug, family) for slug in ("colon", "breast_fna") for family in FAMILIES if (slug, family) != BINARY_FOREST]


@pytest.fixture
def stored(tmp_path: Path, cohort, fitted) -> Path:
    directory = tmp_path / "model"
    save_model(fitted("colon", "xgboost"), directory, cohort("colon").contract, "colon", {"snapshot": "abc"})
    return directory


@pytest.mark.parametrize(("slug", "family"), EVERY)
def test_a_stored_model_returns_bit_for_bit(slug: str, family: str, tmp_path: Path, cohort, fitted) -> None:
    data, model = cohort(slug), fitted(slug, family)
    digest = save_model(model, tmp_path / "model", data.contract, slug, {})
    assert digest == sha256_directory(tmp_path / "model")
    expected = model.risk(data.test, data.horizon)
    np.testing.assert_array_equal(load_model(tmp_path / "model", digest).risk(data.test, data.horizon), expected)
    np.testing.assert_array_equal(load_scorer(tmp_path / "model", digest).risk(data.test), expected)
    if data.horizon is not None:
        times = np.linspace(0.0, 3000.0, 12)
        np.testing.assert_array_equal(
            load_model(tmp_path / "model", digest).survival(data.test, times), model.survival(data.test, times)
        )


def test_the_same_model_has_the_same_digest_and_is_stored_once(tmp_path: Path, cohort, fitted) -> None:
    contract = cohort("colon").contract
    paths = {publish_model(fitted("colon", "cox"), tmp_path, contract, "colon", {"a": 1}) for _ in range(2)}
    other = publish_model(fitted("colon", "cox"), tmp_path, contract, "colon", {"a": 2})
    assert len(paths) == 1
    assert other not in paths
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([other.name, paths.pop().name])


def test_the_card_tells_a_server_what_to_accept(stored: Path, cohort) -> None:
    card = load_card(stored, None)
    contract = cohort("colon").contract
    assert (card.cancer, card.family, card.kind) == ("colon", "xgboost", "survival")
    assert (card.horizon, card.decision_threshold) == (1826.25, contract.endpoint.decision_threshold)
    assert card.contract_sha256 == contract.digest
    assert card.feature_names == tuple(column.name for column in contract.features)
    age = next(feature for feature in card.features if feature.name == "age")
    assert (age.unit, age.plausible_range, age.sensitive) == ("year", (18.0, 110.0), True)
    assert len(card.golden) == 20
    assert card.provenance == {"snapshot": "abc"}


def test_golden_rows_are_nobodys_rows(stored: Path, cohort) -> None:
    frame = cohort("colon").frame
    card = load_card(stored, None)
    patients = {tuple(map(str, row)) for row in frame[list(card.feature_names)].itertuples(index=False)}
    made = {tuple(str(golden.row[name]) for name in card.feature_names) for golden in card.golden}
    assert not made & patients


def test_a_directory_is_written_once(stored: Path, cohort, fitted) -> None:
    with pytest.raises(FileExistsError, match="not empty"):
        save_model(fitted("colon", "cox"), stored, cohort("colon").contract, "colon", {})


def test_another_contract_is_refused(tmp_path: Path, cohort, fitted) -> None:
    with pytest.raises(ValueError, match="other features"):
        save_model(fitted("colon", "cox"), tmp_path / "m", cohort("breast").contract, "breast", {})
    assert not (tmp_path / "m").exists()


def test_a_changed_byte_is_found_before_anything_is_parsed(stored: Path) -> None:
    digest = sha256_directory(stored)
    (stored / "model.json").write_bytes(b"not even JSON")
    with pytest.raises(DigestMismatch, match=digest[:12]):
        load_model(stored, digest)


@pytest.mark.parametrize("name", ["model.pkl", "weights.pt", "model.joblib", "booster.json", "code.py", ".hidden"])
def test_a_file_off_the_allow_list_is_refused_even_with_the_right_digest(name: str, stored: Path) -> None:
    (stored / name).write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(UnsafeArtifact, match="does not belong to a model"):
        load_model(stored, sha256_directory(stored))


class Exploit:
    """Writes a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (exec, (f"open({str(self.target)!r}, 'w')",))


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_pickle_under_an_allowed_name_is_not_executed(name: str, stored: Path, tmp_path: Path) -> None:
    (stored / name).write_bytes(pickle.dumps(Exploit(tmp_path / "executed")))
    with pytest.raises(UnsafeArtifact, match="does not describe a model"):
        load_model(stored, sha256_directory(stored))
    assert not (tmp_path / "executed").exists()


def test_links_and_folders_are_refused(stored: Path, tmp_path: Path) -> None:
    (stored / "nested").mkdir()
    with pytest.raises(UnsafeArtifact, match="nested"):
        load_model(stored, None)
    (stored / "nested").rmdir()
    shutil.move(stored / "model.json", tmp_path / "elsewhere.json")
    (stored / "model.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(UnsafeArtifact, match=r"model\.json"):
        load_model(stored, None)


def test_missing_parts_are_named(stored: Path, tmp_path: Path) -> None:
    (stored / "weights.safetensors").unlink()
    with pytest.raises(UnsafeArtifact, match=r"weights\.safetensors is missing"):
        load_model(stored, None)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nowhere", None)


def test_a_scorer_that_misses_its_golden_rows_is_refused(stored: Path) -> None:
    card = json.loads((stored / "model.json").read_bytes())
    card["golden"][3]["risk"] += 0.001
    (stored / "model.json").write_text(json.dumps(card))
    with pytest.raises(UnsafeArtifact, match="golden rows differ"):
        load_scorer(stored, None)


def test_one_row_is_scored_well_under_a_millisecond(stored: Path) -> None:
    scorer = load_scorer(stored, None)
    row = [scorer.card.golden[0].row]
    timings = []
    for _ in range(200):
        started = time.perf_counter()
        scorer.risk(row)
        timings.append(time.perf_counter() - started)
    assert np.median(timings) < 1e-3


def test_scoring_trees_and_networks_imports_no_training_library(tmp_path: Path, cohort, fitted) -> None:
    for family in FAMILIES:
        save_model(fitted("colon", family), tmp_path / family, cohort("colon").contract, "colon", {})
    code = (
        "import sys; from pathlib import Path; from clinical_assets.modeling.artifact import load_scorer\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    scorer = load_scorer(path, None); scorer.risk([scorer.card.golden[0].row])\n"
        "heavy = {'torch', 'xgboost', 'sklearn', 'lifelines', 'greenwood', 'matplotlib', 'dagster'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

"""`deployed_variant` by itself: refused, with an exit code, unless a record in force judged exactly this model."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.e2e.conftest import run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
CANCER = "lung_advanced"
MODULE = ("-m", "clinical_assets.definitions")


def materialize(environment: dict[str, str], selection: str, partition: str = CANCER) -> tuple[int, str]:
    done = run(environment, "dagster", "asset", "materialize", *MODULE, "--select", selection, "--partition", partition)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(environment: dict[str, str]) -> Path:
    code, said = materialize(environment, "raw_trial_data,features,trained_model")
    assert code == 0, said[-3000:]
    return Path(environment["CLINICAL_HOME"])


def test_a_model_whose_gates_were_skipped_is_refused(environment: dict[str, str], trained: Path) -> None:
    code, said = materialize(environment, "deployed_variant")
    assert code != 0
    assert "gate_verdict has not been materialized" in said


def test_a_verdict_on_another_model_is_refused(environment: dict[str, str], trained: Path) -> None:
    reference = trained / "objects" / "references" / "gate_verdict" / f"{CANCER}.json"
    reference.parent.mkdir(exist_ok=True)
    older = {"cancer": CANCER, "model_digest": "0" * 64, "record": "0" * 64, "scope": "traffic"}
    reference.write_text(json.dumps(older))
    code, said = materialize(environment, "deployed_variant")
    reference.unlink()
    assert code != 0
    assert "not deployed" in said
    with sqlite3.connect(trained / "ledger.db") as connection:
        assert connection.execute("SELECT count(*) FROM rollouts").fetchone() == (0,)


def test_an_unknown_partition_is_refused(environment: dict[str, str]) -> None:
    code, said = materialize(environment, "raw_trial_data", "lung_advancd")
    assert code != 0
    assert "lung_advancd" in said


def test_backfill_of_an_unknown_cancer_type_names_the_nearest(environment: dict[str, str]) -> None:
    done = run(environment, "clinical", "backfill", "colom")
    assert done.returncode == 2
    assert "did you mean 'colon'" in done.stderr

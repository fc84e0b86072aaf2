"""The story of the demo, on the real stack: Envoy, model servers, MLflow, Feast, Dagster, real patients."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from tests.e2e.conftest import run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def told(environment: dict[str, str]) -> dict[str, dict[str, object]]:
    figures = Path(environment["CLINICAL_HOME"]) / "figures.json"
    done = run(environment, "clinical", "demo", "--json", str(figures))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return json.loads(figures.read_text())


def test_all_four_chapters_happen(told: dict[str, dict[str, object]]) -> None:
    chapters = {name: part["ok"] for name, part in told.items() if isinstance(part, dict)}
    assert chapters == dict.fromkeys(
        ("first_champion", "promoted_challenger", "stopped_at_the_gates", "rolled_back_in_traffic"), True
    )


def test_no_request_is_lost_in_a_healthy_rollout(told: dict[str, dict[str, object]]) -> None:
    healthy = told["promoted_challenger"]
    assert healthy["failed"] == 0
    assert int(str(healthy["sent"])) > 1000


def test_the_leaking_column_is_named(told: dict[str, dict[str, object]]) -> None:
    assert "MP15b" in str(told["stopped_at_the_gates"]["stopped_by"])


def test_a_crashing_challenger_leaves_traffic_by_a_service_rule(told: dict[str, dict[str, object]]) -> None:
    assert "error" in str(told["rolled_back_in_traffic"]["rule"])


def test_the_ui_holds_every_change_of_weight(environment: dict[str, str], told: dict[str, dict[str, object]]) -> None:
    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        records = instance.fetch_materializations(dg.AssetKey("deployed_variant"), limit=100).records
    seen = {
        (
            str(record.asset_materialization.metadata["rollout"].value),
            str(record.asset_materialization.metadata["stage"].value),
        )
        for record in records
        if record.asset_materialization and "rollout" in record.asset_materialization.metadata
    }
    promoted, rolled_back = str(told["promoted_challenger"]["rollout"]), str(told["rolled_back_in_traffic"]["rollout"])
    assert {
        (promoted, stage) for stage in ("shadow", "5", "10", "25", "50", "approval", "100", "watch", "done")
    } <= seen
    assert (rolled_back, "rolled_back") in seen


def test_the_ledger_and_the_audit_log_verify(environment: dict[str, str], told: dict[str, dict[str, object]]) -> None:
    from clinical_assets.audit.keys import KeyStore
    from clinical_assets.audit.records import RecordStore
    from clinical_assets.foundation.database import engine_for
    from clinical_assets.rollout.ledger import Ledger

    assert told["ok"]
    home = Path(environment["CLINICAL_HOME"])
    engine, keys = engine_for(f"sqlite:///{home / 'ledger.db'}"), KeyStore(home / "keys")
    assert Ledger(engine).verify_chain(keys).problem == ""
    assert RecordStore(engine, keys).verify_chain().problem == ""

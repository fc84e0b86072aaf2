"""The simulated catalogue: calibrated as it says, stamped at every station, never more than shadow, never real."""

from __future__ import annotations

import base64
import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from clinical_assets.catalog import CatalogError, configs_directory, load_catalog, simulated_files
from clinical_assets.configuration import read_yaml
from clinical_assets.gates.verdict import Scope, Tier, Verdict
from clinical_assets.trials.data_status import STAMP

CANCER = "rhabdomyosarcoma"
PLATFORM = """
catalogue: {simulated: true}
models: {families: [cox], folds: 3}
"""


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's configuration, with its simulated cohorts in the catalogue and one quick family."""
    made = Path(shutil.copytree(configs_directory(), tmp_path / "configs"))
    (made / "platform.yaml").write_text(PLATFORM)
    monkeypatch.setenv("CLINICAL_CONFIGS", str(made))
    return made


class TestCatalogue:
    def test_by_default_no_cancer_type_is_simulated(self) -> None:
        assert len(simulated_files()) == 20
        assert not {file.stem for file in simulated_files()} & set(load_catalog())
        assert not any(cancer.source.data_status == "simulated" for cancer in load_catalog().values())

    def test_a_rehearsal_adds_them_to_the_real_ones(self, configs: Path) -> None:
        default = load_catalog(configs_directory())
        assert set(load_catalog()) == set(default) | {file.stem for file in simulated_files()}

    def test_a_simulated_cohort_among_the_cancers_is_refused(self, configs: Path) -> None:
        (configs / "simulated" / f"{CANCER}.yaml").rename(configs / "cancers" / f"{CANCER}.yaml")
        with pytest.raises(CatalogError, match="is simulated; simulated cohorts, and they alone, belong into"):
            load_catalog()

    def test_a_real_cohort_among_the_simulated_is_refused(self, configs: Path) -> None:
        (configs / "cancers" / "colon.yaml").rename(configs / "simulated" / "colon.yaml")
        with pytest.raises(CatalogError, match="is real; simulated cohorts, and they alone, belong into"):
            load_catalog()

    def test_a_name_is_either_real_or_simulated(self, configs: Path) -> None:
        text = (configs / "simulated" / f"{CANCER}.yaml").read_text()
        (configs / "simulated" / "colon.yaml").write_text(text.replace(f"slug: {CANCER}", "slug: colon"))
        with pytest.raises(CatalogError, match="colon is in the catalogue already"):
            load_catalog()

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("tier: research", "tier: clinical", "`tier` must be research"),
            ("data_status: simulated", "data_status: real", "what is made by a simulation is simulated"),
            ("      age: 0.03", "      weight: 0.03", "effect of unknown column weight"),
        ],
    )
    def test_mistakes_are_reported_when_the_catalogue_is_read(
        self, configs: Path, old: str, new: str, message: str
    ) -> None:
        file = configs / "simulated" / f"{CANCER}.yaml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))
        with pytest.raises(CatalogError, match=message) as error:
            load_catalog()
        assert str(file) in str(error.value)


@pytest.mark.parametrize("file", simulated_files(), ids=lambda file: file.stem)
class TestEveryCohort:
    def test_it_is_what_its_citation_says(self, file: Path) -> None:
        """Rates, shares and counts are read back from the sentence that names their source."""
        content = read_yaml(file)
        source = content["source"]
        simulation, said = source["simulation"], re.sub(r"\s+", " ", source["citation"])
        assert "No patient stands behind a row" in said
        assert "No patient stands behind a row" in content["tier_reason"]
        published = re.search(r"rate ratio ([\d.]+), (\d+) % local stage, five-year relative survival (\d+) %", said)
        if published:
            ratio, local, survival = map(float, published.groups())
            assert simulation["columns"]["sex"]["shares"]["male"] == pytest.approx(ratio / (1 + ratio), abs=0.001)
            assert simulation["columns"]["stage"]["shares"]["local"] == local / 100
            assert simulation["event_rate"] == pytest.approx(1 - survival / 100)
            assert content["contract"]["endpoint"]["horizon_days"] == 1826.25
        else:
            patients, events = map(int, re.search(r"the (\d+) patients with (\d+) events", said).groups())  # type: ignore[union-attr]
            assert simulation["follow_up"]["censored_share"] == pytest.approx(1 - events / patients, abs=0.001)
            assert simulation["patients"] in (patients, 400)

    def test_its_content_is_pinned_and_passes_the_data_quality_gate(
        self, file: Path, configs: Path, tmp_path: Path
    ) -> None:
        from clinical_assets.gates.data_quality import gate as data_quality
        from clinical_assets.release import data_facts
        from clinical_assets.trials.snapshot import SnapshotStore, ingest
        from resources.object_store import ObjectStore

        cancer = load_catalog()[file.stem]
        assert cancer.source.content_sha256
        snapshot = ingest(cancer.slug, cancer.source, cancer.contract, SnapshotStore(tmp_path))
        assert snapshot.manifest.data_status == "simulated"
        report = data_quality.judge(data_facts(cancer, snapshot, "", ObjectStore(root=str(tmp_path))), cancer.gates)
        bad = [check for check in report.checks if check.verdict in (Verdict.BLOCK, Verdict.ERROR)]
        assert not bad, bad
        assert next(check for check in report.checks if check.id == "DQ9").verdict is Verdict.PASS


class TestFromRowsToVerdict:
    """One simulated cohort through the assets themselves, on a state directory of its own."""

    @pytest.fixture
    def resources(self, tmp_path: Path, configs: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        from clinical_assets.definitions import default_resources

        monkeypatch.setenv("CLINICAL_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.delenv("CLINICAL_ENVIRONMENT", raising=False)
        return default_resources()

    def test_every_station_carries_the_stamp_and_none_grants_traffic(
        self, resources: dict[str, Any], configs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from clinical_assets.deployed_variant import Deployment, deployed_variant
        from clinical_assets.features import features
        from clinical_assets.gate_verdict import gate_verdict
        from clinical_assets.modeling.artifact import load_scorer
        from clinical_assets.raw_trial_data import DataCut, raw_trial_data
        from clinical_assets.rollout.authority import REHEARSAL
        from clinical_assets.rollout.plan import RolloutPlan
        from clinical_assets.serving.loaded_models import LoadedModel
        from clinical_assets.trained_model import trained_model

        def run(asset: Any, **inputs: Any) -> dg.MaterializeResult:
            asked = inspect.signature(asset.op.compute_fn.decorated_fn).parameters
            given = {name: resource for name, resource in resources.items() if name in asked}
            with dg.build_asset_context(partition_key=CANCER) as context:
                return asset(context, **inputs, **given)

        raw = run(raw_trial_data, config=DataCut())
        table = run(features, raw_trial_data=raw.value)
        model = run(trained_model, features=table.value)
        verdict = run(gate_verdict, trained_model=model.value)
        for made, pictures in ((raw, 1), (table, 1), (model, 2), (verdict, 0)):
            shown = made.metadata or {}
            assert shown["data_status"] == "simulated"
            texts = [value.value for value in shown.values() if isinstance(value, dg.MarkdownMetadataValue)]
            drawn = [text for text in texts if "data:image/png" in text]
            assert len(drawn) == pictures
            assert all(STAMP.encode() in png(text) for text in drawn)
        for asset, inputs in ((features, {"raw_trial_data": raw.value}), (trained_model, {"features": table.value}),
                              (gate_verdict, {"trained_model": model.value})):  # fmt: skip
            again = run(asset, **inputs).metadata
            assert (again["reused"], again["data_status"]) == (True, "simulated")

        store, ledger_store = resources["object_store"], resources["ledger_store"]
        card = json.loads((store.model(model.value.digest) / "model.json").read_text())
        assert card["provenance"]["data_status"] == "simulated"
        scorer = load_scorer(store.model(model.value.digest), model.value.digest)
        answers_say = LoadedModel(CANCER, model.value.digest, scorer, Tier.RESEARCH).evidence
        assert answers_say == {"evidence": "research", "data_status": "simulated"}
        client = resources["model_registry"]._client()
        version = client.get_model_version(f"clinical.{CANCER}", model.value.mlflow_version)
        assert version.tags["data_status"] == "simulated"
        assert client.get_run(model.value.mlflow_run).data.tags["data_status"] == "simulated"
        served = store.fetch("training", CANCER, table.value.digest) / "cohort.parquet"
        assert pd.read_parquet(served)["subject_id"].str.startswith("simulated-").all()

        record = ledger_store.records().find(model.value.digest).record
        assert (record.scope, verdict.value.scope) == (Scope.SHADOW, "shadow")
        checks = {check.id: check for report in record.reports.values() for check in report.checks}
        assert (checks["RG21"].verdict, checks["RG21"].value) == (Verdict.INCONCLUSIVE, "simulated")

        upstream = {"trained_model": model.value, "gate_verdict": verdict.value}
        with pytest.raises(dg.Failure, match=r"not deployed.*traffic is needed"):
            run(deployed_variant, config=Deployment(), **upstream)
        assert ledger_store.ledger().rollouts(active=False) == []
        monkeypatch.setenv("CLINICAL_ENVIRONMENT", REHEARSAL)
        opened = run(deployed_variant, config=Deployment(), **upstream)
        assert opened.metadata["data_status"] == "simulated"
        [rollout] = ledger_store.ledger().rollouts()
        assert RolloutPlan.model_validate(rollout.policy).data_status == "simulated"


def png(markdown: str) -> bytes:
    found = re.search(r"base64,(.*)\)", markdown)
    assert found is not None
    return base64.b64decode(found[1])

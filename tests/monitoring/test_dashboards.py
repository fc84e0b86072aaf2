"""The dashboards in the repository are what their code gives, and Grafana can find what they name."""

from __future__ import annotations

import json

import pytest
import yaml

from deploy.monitoring.grafana.__main__ import HERE, rendered
from deploy.monitoring.grafana.panels import SOURCE


@pytest.mark.parametrize(("path", "text"), rendered().items(), ids=lambda value: getattr(value, "stem", ""))
def test_code_and_json_agree(path, text: str) -> None:
    assert path.read_text() == text, "run: python -m deploy.monitoring.grafana"
    panels = json.loads(text)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel.get("options") is not None for panel in panels if panel["type"] != "row")
    assert {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"} == {SOURCE.uid}


def test_no_other_dashboard_lies_there_and_the_data_source_is_provisioned() -> None:
    assert set(HERE.glob("*.json")) == set(rendered())
    provided = yaml.safe_load((HERE.parent / "provisioning" / "datasources" / "prometheus.yml").read_text())
    assert [source["uid"] for source in provided["datasources"]] == [SOURCE.uid]

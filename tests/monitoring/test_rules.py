"""Recording and alert rules: their own unit tests, and that those would notice a rule that is wrong."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.servers import program

DEPLOYED = Path(__file__).parents[2] / "deploy" / "monitoring"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_rules_do_as_their_tests_say() -> None:
    done = promtool("test", "rules", DEPLOYED / "tests" / "rules.yml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('test!="non_inferiority"}) >= 1', 'test!="none"}) >= 1'),
        ("and on (cancer, digest) clinical_model_role", "unless on (cancer) clinical_nothing"),
        ("clinical_disk_free_ratio < 0.1", "clinical_disk_free_ratio < 0.01"),
    ],
)
def test_a_wrong_rule_is_noticed(tmp_path: Path, right: str, wrong: str) -> None:
    for part in ("rules", "tests"):
        shutil.copytree(DEPLOYED / part, tmp_path / part)
    rules = tmp_path / "rules" / "alerts.yml"
    assert right in rules.read_text()
    rules.write_text(rules.read_text().replace(right, wrong))
    assert promtool("test", "rules", tmp_path / "tests" / "rules.yml").returncode == 1


def test_every_alert_is_tested_and_says_what_to_do() -> None:
    tested = set(re.findall(r"alertname: (\w+)", (DEPLOYED / "tests" / "rules.yml").read_text()))
    groups = yaml.safe_load((DEPLOYED / "rules" / "alerts.yml").read_text())["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    assert {rule["alert"] for rule in alerts} == tested
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "action"}


def test_the_configuration_is_valid() -> None:
    assert promtool("check", "config", DEPLOYED / "prometheus.yml").returncode == 0
    checked = subprocess.run([program("amtool"), "check-config", str(DEPLOYED / "alertmanager.yml")], timeout=60)
    assert checked.returncode == 0

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from clinical_assets.gates.policy import REQUIRED, GatePolicy
from clinical_assets.gates.verdict import GateName


def test_every_threshold_names_its_source_and_meaning():
    for gate in GateName:
        thresholds: type[BaseModel] = type(getattr(GatePolicy(), gate.value))
        for name, field in thresholds.model_fields.items():
            assert thresholds.source(name), (gate, name)
            assert field.description, (gate, name)


def test_layers_merge_and_the_last_one_wins():
    policy = GatePolicy.with_overrides(
        {"performance": {"ici_max": 0.04, "slope": [0.7, 1.3]}}, {"performance": {"ici_max": 0.03}}
    )
    assert policy.performance.ici_max == 0.03
    assert policy.performance.slope == (0.7, 1.3)
    assert policy.bias == GatePolicy().bias


def test_digest_follows_every_change():
    changed = [
        {"performance": {"non_inferiority_margin": 0.03}},
        {"bias": {"sensitivity_margin": 0.05}},
        {"additional_required": {"performance": ["MP4"]}},
    ]
    digests = {GatePolicy.with_overrides(layer).digest for layer in changed} | {GatePolicy().digest}
    assert len(digests) == len(changed) + 1
    assert GatePolicy.with_overrides({}).digest == GatePolicy().digest


def test_checks_can_be_added_but_not_removed():
    policy = GatePolicy.with_overrides({"additional_required": {"performance": ["MP4", "MP1"]}})
    assert policy.required(GateName.PERFORMANCE) == (*REQUIRED[GateName.PERFORMANCE], "MP4")
    with pytest.raises(ValidationError, match="required"):
        GatePolicy.with_overrides({"required": {"performance": []}})


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ({"performance": {"ici": 0.1}}, "performance.ici"),
        ({"performance": {"bootstrap_replicates": 10}}, "bootstrap_replicates"),
        ({"performance": {"observed_expected": [1.25, 0.8]}}, "observed_expected"),
        ({"performance": {"leak_quantiles": []}}, "leak_quantiles"),
        ({"performance": {"leak_warn": 0.99}}, "leak_warn"),
        ({"security": {"allowed_suffixes": [".json", ".pkl"]}}, "pkl"),
        ({"bias": {"sensitivity_margin": -1}}, "sensitivity_margin"),
    ],
)
def test_a_bad_override_is_refused_and_named(override, named):
    with pytest.raises(ValidationError, match=named.replace(".", r"\.")):
        GatePolicy.with_overrides(override)


def test_importing_the_policy_loads_no_numerical_library():
    script = (
        "import sys, clinical_assets.gates.policy, clinical_assets.gates.facts, clinical_assets.gates.verdicts\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'pandera', 'fairlearn', 'presidio_analyzer', 'lifelines'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

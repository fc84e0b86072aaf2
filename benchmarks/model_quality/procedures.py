"""Everything that is compared: the platform's whole procedure, its peers, and two controls of the comparison itself."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from benchmarks.model_quality.task import Procedure
from clinical_assets.modeling.outcomes import Kind

PLATFORM = "platform"
PEERS = {
    "regression": ("cox", "logistic"),
    "elastic_net": ("elastic_net_cox", "elastic_net_logistic"),
    "forest": ("random_survival_forest", "random_forest"),
    "tuned_forest": ("tuned_survival_forest", "tuned_forest"),
    "xgboost": ("xgboost_cox", "xgboost_logistic"),
}
"""Functions of `survival_peers` and `binary_peers`."""
NULL = "null"
TWIN = "forest_twin"
CONTROLS = (NULL, TWIN)
"""The null model must lose, and the forest with another seed must be a tie: else the comparison is broken."""

TITLES = {
    PLATFORM: "platform",
    "regression": "Cox / logistic",
    "elastic_net": "elastic net",
    "forest": "random forest",
    "tuned_forest": "tuned forest",
    "xgboost": "XGBoost",
    NULL: "null model",
    TWIN: "forest, other seed",
}
ALL = tuple(TITLES)


def procedure(name: str, kind: Kind) -> Procedure:
    """The function that learns and predicts; its libraries are imported here.

    Raises:
        KeyError: unknown name.
    """
    if name == PLATFORM:
        return import_module("benchmarks.model_quality.platform_search").platform
    if name == TWIN:
        forest = procedure("forest", kind)
        return lambda task: forest(replace(task, seed=task.seed + 1_000_003))
    module = import_module(f"benchmarks.model_quality.{kind}_peers")
    survival, binary = {**PEERS, NULL: ("kaplan_meier", "prevalence")}[name]
    return getattr(module, survival if kind == "survival" else binary)

"""A predictor as a JSON structure of kinds and parts plus named tensors, and back under strict checks.

The type annotations of the parts are the grammar: an array is a tensor named by its path, a float a tensor of one
value, every other field a part whose kind must be among the annotated types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from clinical_assets.modeling.curves import StepCurve
from clinical_assets.modeling.predictors import (
    DiscreteHazards,
    ForestHazards,
    LogOdds,
    Pool,
    Predictor,
    ProportionalHazards,
)
from clinical_assets.modeling.scores import LinearScore, NetworkScore
from clinical_assets.modeling.trees import Trees, TreeScore

KINDS: dict[str, type] = {
    "proportional_hazards": ProportionalHazards,
    "discrete_hazards": DiscreteHazards,
    "forest_hazards": ForestHazards,
    "log_odds": LogOdds,
    "pool": Pool,
    "linear": LinearScore,
    "network": NetworkScore,
    "tree_score": TreeScore,
    "trees": Trees,
    "step_curve": StepCurve,
}
_NAMES = {kind: name for name, kind in KINDS.items()}
DEEPEST = 5
MOST_MEMBERS = 16

Structure = dict[str, Any]
Tensors = dict[str, np.ndarray]


def dismantle(predictor: Predictor) -> tuple[Structure, Tensors]:
    """The structure for `model.json` and the tensors for `weights.safetensors`."""
    tensors: Tensors = {}
    return _dismantle(predictor, "", tensors), tensors


def assemble(structure: Structure, tensors: Mapping[str, np.ndarray], width: int) -> Predictor:
    """The predictor for `width` encoded columns.

    Raises:
        ValueError: an unknown kind, a missing or unused or non-finite tensor, or parts that do not fit together.
    """
    for name, tensor in tensors.items():
        if tensor.dtype.kind not in "fi" or (tensor.dtype.kind == "f" and not np.isfinite(tensor).all()):
            raise ValueError(f"tensor {name} holds values that are no finite numbers")
    left = dict(tensors)
    predictor = _assemble(structure, "", left, get_args(Predictor), width)
    if left:
        raise ValueError(f"tensors that belong to no part: {', '.join(sorted(left))}")
    return predictor


def _dismantle(part: Any, path: str, tensors: Tensors) -> Structure:
    structure: Structure = {"kind": _NAMES[type(part)]}
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, np.ndarray):
            tensors[path + field.name] = value
        elif isinstance(value, float):
            tensors[path + field.name] = np.array([value])
        elif isinstance(value, tuple):
            structure[field.name] = [
                _dismantle(member, f"{path}{field.name}.{index}.", tensors) for index, member in enumerate(value)
            ]
        else:
            structure[field.name] = _dismantle(value, f"{path}{field.name}.", tensors)
    return structure


def _assemble(structure: Any, path: str, tensors: Tensors, allowed: tuple[type, ...], width: int) -> Any:
    kind = KINDS.get(structure.get("kind", "")) if isinstance(structure, dict) else None
    if kind is None or kind not in allowed or path.count(".") > 2 * DEEPEST:
        raise ValueError(f"part {path or 'predictor'!r} is none of {', '.join(_NAMES[one] for one in allowed)}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    if unknown := structure.keys() - {"kind", *names}:
        raise ValueError(f"part {path or 'predictor'!r} has unknown entries {', '.join(sorted(unknown))}")
    parts = {}
    for name in names:
        hint, place = hints[name], f"{path}{name}"
        if hint is np.ndarray:
            parts[name] = tensors.pop(place)
        elif hint is float:
            parts[name] = float(tensors.pop(place).item())
        elif get_origin(hint) is tuple:
            members = structure[name]
            if not isinstance(members, list) or not 0 < len(members) <= MOST_MEMBERS:
                raise ValueError(f"{place}: 1 to {MOST_MEMBERS} parts are needed")
            kinds = _kinds(get_args(hint)[0])
            parts[name] = tuple(
                _assemble(member, f"{place}.{index}.", tensors, kinds, width) for index, member in enumerate(members)
            )
        else:
            parts[name] = _assemble(structure[name], f"{place}.", tensors, _kinds(hint), width)
    part = kind(**parts)
    part.check(width)
    return part


def _kinds(hint: Any) -> tuple[type, ...]:
    """The types that an annotation allows."""
    return get_args(hint) or (hint,)

"""CVSS 3.0 and 3.1 base scores from their vectors (FIRST, CVSS v3.1 specification, section 7)."""

from __future__ import annotations

import math

_ATTACK_VECTOR = {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2}
_COMPLEXITY = {"L": 0.77, "H": 0.44}
_PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}
_INTERACTION = {"N": 0.85, "R": 0.62}
_IMPACT = {"H": 0.56, "L": 0.22, "N": 0.0}


def base_score(vector: str) -> float | None:
    """0 to 10; None for a vector of another version or one that lacks a base metric."""
    prefix, _, rest = vector.partition("/")
    if prefix not in ("CVSS:3.0", "CVSS:3.1"):
        return None
    metric = dict(part.split(":", 1) for part in rest.split("/") if ":" in part)
    try:
        changed = metric["S"] == "C"
        left = math.prod(1.0 - _IMPACT[metric[one]] for one in ("C", "I", "A"))
        exploitability = (
            8.22 * _ATTACK_VECTOR[metric["AV"]] * _COMPLEXITY[metric["AC"]]
            * _PRIVILEGES[metric["S"]][metric["PR"]] * _INTERACTION[metric["UI"]]
        )  # fmt: skip
    except KeyError:
        return None
    base = 1.0 - left
    impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
    if impact <= 0.0:
        return 0.0
    return _round_up(min((1.08 if changed else 1.0) * (impact + exploitability), 10.0))


def _round_up(value: float) -> float:
    """The smallest number with one decimal that is not below `value` (appendix A, which avoids binary round-off)."""
    scaled = round(value * 100_000)
    return scaled / 100_000 if scaled % 10_000 == 0 else (scaled // 10_000 + 1) / 10.0

"""What the name of a column gives away about its role."""

from __future__ import annotations

import re
from itertools import pairwise

from clinical_assets.trials.column import RESERVED

SUBJECT = re.compile(
    r"(usubjid|subjid|(subject|patient|participant|pat|case|record)[ _.-]?(id|no|nr|num|number)?|pid|id)", re.IGNORECASE
)
"""How sources call the identifier of a subject."""

SENSITIVE = frozenset({"age", "agegr", "sex", "gender", "race", "ethnic", "ethnicity"})
"""Attributes over which fairness is audited."""

AFTERWARDS = frozenset({
    "death", "dead", "died", "deceased", "dth", "relapse", "recur", "recurred", "recurrence", "progression", "eos",
    "eosstt", "progressed", "survival", "surv", "pfs", "dfs", "rfs", "efs", "ttp", "os", "dss", "dfi", "pfi",
    "followup", "censor", "censored", "cnsr", "discontinued", "toxicity", "response", "vital", "outcome", "autopsy",
})  # fmt: skip
"""Words for what is learnt after treatment has begun."""

AFTERWARDS_PAIRS = (("follow", "up"), ("last", "contact"), ("last", "visit"), ("cause", "of"), ("new", "tumor"))


def words(name: str) -> list[str]:
    """`OS.time` gives os, time; `AGEGR1N` agegr, n; `lastContact` last, contact."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def is_sensitive(name: str) -> bool:
    return not SENSITIVE.isdisjoint(words(name))


def learnt_afterwards(name: str) -> str | None:
    """The words of `name` that speak of something after the index date, or None."""
    found = words(name)
    for pair in pairwise(found):
        if pair in AFTERWARDS_PAIRS:
            return " ".join(pair)
    return next((word for word in found if word in AFTERWARDS or word.startswith("dth")), None)


def contract_name(source: str, taken: set[str], is_outcome: bool = False) -> str:
    """A name that the contract allows and that is not in `taken`, as close to the source's as can be.

    Only an outcome may have a name of the canonical table's own.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", source.lower()).strip("_") or "column"
    plain = plain if plain[0].isalpha() else f"column_{plain}"
    plain = f"{plain}_value" if plain in RESERVED and not is_outcome else plain
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name

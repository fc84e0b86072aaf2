"""Wide sources: columns declared by a pattern instead of one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.snapshot import SnapshotStore, ingest

from .cohorts import CSV, contract, source

WIDE = "\n".join(
    f"{line},{','.join(extra)}"
    for line, extra in zip(CSV.splitlines(), [["gene_1", "gene_2"], ["1", "2"], ["3", "4"], ["5", "6"]], strict=True)
)
GENES = [{"match": "gene_*", "reason": "expression is not part of the question"}]


def test_columns_that_match_are_left_out_and_change_no_value(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    wide = ingest("tiny", source(tmp_path, WIDE), contract(other_columns=GENES), store)
    assert wide.sha256 == ingest("tiny", source(tmp_path), contract(), store).sha256


@pytest.mark.parametrize(
    ("text", "patterns", "message"),
    [
        (WIDE, ["gene_1"], r"not declared in the contract: gene_2 \(declare them"),
        (WIDE, ["Gene_*"], r"not declared in the contract: gene_1, gene_2"),
        (WIDE, ["gene_*", "probe_*"], r"`other_columns` matches no undeclared column: probe_\* \(remove the pattern\)"),
        (CSV, ["a*"], r"`other_columns` matches no undeclared column: a\*"),
        (CSV.replace("site", "age"), ["gene_*"], r"declared but missing: site"),
    ],
    ids=["undeclared and unmatched", "case counts", "idle pattern", "only declared columns match", "missing"],
)
def test_every_column_stays_accounted_for(tmp_path: Path, text: str, patterns: list[str], message: str) -> None:
    declared = contract(other_columns=[{"match": pattern, "reason": "wide"} for pattern in patterns])
    with pytest.raises(ContractError, match=message):
        ingest("tiny", source(tmp_path, text), declared, SnapshotStore(tmp_path))


def test_a_pattern_needs_a_reason() -> None:
    with pytest.raises(ValidationError, match="reason"):
        contract(other_columns=[{"match": "gene_*"}])

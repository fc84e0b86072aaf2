"""The fixed split: each subject's side follows from its identifier, or, out of time, from its index date.

Both are given once, so a side never changes, whatever data arrive.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.foundation.canonical import sha256_json


@dataclass(frozen=True)
class Split:
    """`salt` makes splits of different cancer types independent; `contract_sha256` ties the digest to a contract.

    test_from: first index date of the test split; None splits by subject, with `test_fraction` in the test split.
    """

    salt: str
    test_fraction: float = 0.30
    contract_sha256: str = ""
    test_from: dt.date | None = None

    def __post_init__(self) -> None:
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"test_fraction must lie between 0 and 1, got {self.test_fraction}")

    def assign(self, subject_ids: Iterable[str]) -> np.ndarray:
        """`train` or `test` for each identifier, as (n,) array of text; the first 64 bits of a SHA-256 decide."""
        limit = int(self.test_fraction * 2**64).to_bytes(8, "big")
        salt = f"{self.salt}|".encode()
        drawn = [hashlib.sha256(salt + subject.encode()).digest() < limit for subject in subject_ids]
        return np.where(np.array(drawn, dtype=bool), "test", "train")

    def sides(self, frame: pd.DataFrame) -> np.ndarray:
        """`train` or `test` for each row of a canonical table, as (n,) array of text."""
        if self.test_from is None:
            return self.assign(frame["subject_id"])
        return np.where(frame["index_date"] >= pd.Timestamp(self.test_from), "test", "train")

    def parts(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Training and test rows of a canonical table, each with a fresh index."""
        test = self.sides(frame) == "test"
        return frame.loc[~test].reset_index(drop=True), frame.loc[test].reset_index(drop=True)

    def digest(self, frame: pd.DataFrame) -> str:
        """SHA-256 over the rule, the contract and the side of every subject of `frame`."""
        sides = sorted(dict(zip(frame["subject_id"], self.sides(frame).tolist(), strict=True)).items())
        dated = [] if self.test_from is None else [self.test_from.isoformat()]
        return sha256_json([self.salt, self.test_fraction, self.contract_sha256, sides, *dated])

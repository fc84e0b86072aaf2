"""The fixed split: each subject's side follows from its identifier alone, so it never changes, whatever data arrive."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.foundation.canonical import sha256_json


@dataclass(frozen=True)
class Split:
    """`salt` makes splits of different cancer types independent; `contract_sha256` ties the digest to a contract."""

    salt: str
    test_fraction: float = 0.30
    contract_sha256: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"test_fraction must lie between 0 and 1, got {self.test_fraction}")

    def assign(self, subject_ids: Iterable[str]) -> np.ndarray:
        """`train` or `test` for each identifier, as (n,) array of text; the first 64 bits of a SHA-256 decide."""
        limit = int(self.test_fraction * 2**64).to_bytes(8, "big")
        salt = f"{self.salt}|".encode()
        drawn = [hashlib.sha256(salt + subject.encode()).digest() < limit for subject in subject_ids]
        return np.where(np.array(drawn, dtype=bool), "test", "train")

    def parts(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Training and test rows of a canonical table, each with a fresh index."""
        test = self.assign(frame["subject_id"]) == "test"
        return frame.loc[~test].reset_index(drop=True), frame.loc[test].reset_index(drop=True)

    def digest(self, frame: pd.DataFrame) -> str:
        """SHA-256 over the rule, the contract and the side of every subject of `frame`."""
        subjects = sorted(dict.fromkeys(frame["subject_id"]))
        sides = list(zip(subjects, self.assign(subjects).tolist(), strict=True))
        return sha256_json([self.salt, self.test_fraction, self.contract_sha256, sides])

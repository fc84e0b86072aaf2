"""Thresholds of the regulatory gate."""

from __future__ import annotations

from clinical_assets.gates.threshold import GENERAL_KNOWLEDGE, Thresholds, threshold


class RegulatoryPolicy(Thresholds):
    approval_days: float = threshold(
        90.0, GENERAL_KNOWLEDGE, "days for which an approval and a decision record stay valid", gt=0
    )
    environment: str = threshold("local", "an approval is given for one environment", "name of this environment")
    max_scanned_values: int = threshold(
        2000,
        "measured: pattern recognisers read about 290 cells a second",
        "distinct text values per column that are scanned for identifiers; above it an even sample is",
        ge=100,
    )
    identifier_score: float = threshold(
        0.5,
        "presidio scores a bare pattern below .5 and a pattern with checksum or context above it",
        "score from which a match counts as an identifier",
        gt=0,
        le=1,
    )
    lineage: tuple[str, ...] = threshold(
        (
            "data_digest",
            "features_digest",
            "split_digest",
            "policy_digest",
            "contract_digest",
            "lock_digest",
            "commit",
            "seed",
            "parameters",
        ),
        "ICH E6(R3) 4.2, AI Act Art. 12: a model must be traceable to data, code, environment and settings",
        "lineage entries that must be present",
    )
    free_text_words: int = threshold(
        3,
        'a name in prose is not found by patterns: presidio without a language model misses "John Smith"',
        "words from which a value outside the declared categories is prose",
        ge=2,
    )
    free_text_distinct: int = threshold(
        50,
        GENERAL_KNOWLEDGE,
        "distinct texts from which a column without declared categories is taken for free text",
        ge=2,
    )
    smallest_group: int = threshold(
        11,
        "risk of 0.09 = 1/11: EMA policy 0070, Health Canada; CMS cell size suppression",
        "patients below which a group or cell must not be exported (k of k-anonymity)",
        ge=2,
    )
    smallest_diversity: int = threshold(
        2,
        "distinct l-diversity (Machanavajjhala et al. 2007): one shared outcome discloses it",
        "outcomes that a group in a row-level export must hold at least",
        ge=1,
    )
    approver_roles: tuple[str, ...] = threshold(
        (),
        GENERAL_KNOWLEDGE + "; empty: any named role",
        "roles that may approve a model or a change",
    )
    reauthentication: bool = threshold(
        False,
        "21 CFR 11.200(a)(1): two distinct identification components; the key file is one, its passphrase the other",
        "whether a signature without passphrase is refused instead of named",
    )
    reproduction_tolerance: float = threshold(
        1e-6,
        "processor code is bitwise repeatable; other instruction sets and accelerators round differently",
        "largest difference of a risk between a training and its repetition",
        ge=0,
        lt=0.1,
    )
    retention_years: float = threshold(10.0, GENERAL_KNOWLEDGE, "years for which records and bundles are kept", gt=0)
    min_retention_years: float = threshold(
        10.0, "Regulation (EU) 2024/1689, Article 18: ten years", "years below which retention is too short", ge=0
    )

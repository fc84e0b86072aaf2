"""Direct identifiers of patients, by name and by value (the 18 classes of 45 CFR 164.514(b)(2)).

By value: presidio's pattern recognisers with no language model, plus recognisers of our own for medical record numbers
and for numbers that only their label gives away. Free text that names a person is not found by patterns.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

TOKENS = frozenset({
    "mrn", "ssn", "dob", "nhs", "npi", "mbi", "hicn", "email", "mail", "phone", "telephone", "tel", "mobile", "fax",
    "address", "street", "postcode", "postal", "zip", "zipcode", "surname", "lastname", "firstname", "forename",
    "fullname", "maiden", "passport", "license", "licence", "iban", "vin", "plate", "url", "imei", "serial",
    "biometric", "fingerprint", "photo", "portrait", "initials",
})  # fmt: skip
"""Words that make a column name an identifier wherever they stand in it."""

PHRASES = (
    ("patient", "id"), ("pat", "id"), ("patient", "name"), ("patient", "number"), ("medical", "record"),
    ("birth", "date"), ("date", "birth"), ("first", "name"), ("last", "name"), ("full", "name"),
    ("social", "security"), ("health", "plan"), ("account", "number"), ("account", "no"),
    ("device", "id"), ("device", "identifier"), ("certificate", "number"), ("insurance", "number"),
    ("national", "id"), ("hospital", "number"),
)  # fmt: skip
"""Pairs of words that do so when one follows the other."""

NO_LANGUAGE_MODEL: Any = None

FUZZY = 0.87
"""Similarity (difflib ratio) from which a word of six or more letters counts as misspelt."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:[eE][-+]?\d+)?(?![\w.])")
_DIGEST = re.compile(
    r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,}\b|\b\d{4}-\d\d-\d\dT[\d:.]+(?:[-+]\d\d:\d\d|Z)?"
)
_SEPARATED_PHONE = re.compile(r"^\+|\(\d{3}\)|\d{3}[-. ]\d{3}[-. ]\d{4}")


@dataclass(frozen=True)
class Found:
    """`entity` was seen `count` times at `place` (a column or text). The value itself is never kept."""

    place: str
    entity: str
    count: int

    def __str__(self) -> str:
        return f"{self.place}: {self.entity} ({self.count})"


def identifier_name(name: str) -> str | None:
    """The words that make `name` look like a direct identifier, or None."""
    words = re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+", name)
    words = [word.lower() for word in words]
    if words == ["name"]:
        return "name"
    for word in words:
        if word in TOKENS:
            return word
    for pair in pairwise(words):
        if pair in PHRASES:
            return " ".join(pair)
    joined = "".join(words)
    targets = [word for word in TOKENS if len(word) >= 6] + ["".join(pair) for pair in PHRASES]
    close = difflib.get_close_matches(joined, targets, n=1, cutoff=FUZZY) if len(joined) >= 6 else []
    return close[0] if close else None


def scan(place: str, values: Iterable[str], score: float, known: Sequence[str] = ()) -> list[Found]:
    """Identifiers in distinct `values` (cells, or lines of a text).

    Values that cannot hold one (no @, no colon group, fewer than five digits) are passed over; decimal numbers, digests
    and timestamps are taken out first. `known` are addresses that may be there.
    """
    allowed = {contact.lower() for contact in known}
    counts: dict[str, int] = {}
    for value in dict.fromkeys(values):
        text = _DIGEST.sub(" ", _NUMBER.sub(" ", value))
        if "@" not in text and sum(character.isdigit() for character in text) < 5:
            continue
        for entity, matched in _matches(text, score):
            if matched.lower() not in allowed:
                counts[entity] = counts.get(entity, 0) + 1
    return [Found(place, entity, count) for entity, count in sorted(counts.items())]


def _matches(text: str, score: float) -> list[tuple[str, str]]:
    found = []
    for recogniser in recognisers():
        for match in recogniser.analyze(text, recogniser.supported_entities, NO_LANGUAGE_MODEL):
            matched = text[match.start : match.end]
            phone = match.entity_type == "PHONE_NUMBER" and _SEPARATED_PHONE.search(matched) is not None
            if match.score >= score or phone:
                found.append((match.entity_type, matched))
    return found


@lru_cache
def recognisers() -> tuple[EntityRecognizer, ...]:
    """None needs the network: presidio's e-mail check would fetch a list of domains, so only its pattern is used."""
    from presidio_analyzer import Pattern, PatternRecognizer
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        IbanRecognizer,
        MacAddressRecognizer,
        PhoneRecognizer,
        UsMbiRecognizer,
        UsSsnRecognizer,
    )

    def labelled(entity: str, label: str, value: str) -> PatternRecognizer:
        pattern = Pattern(entity, rf"(?i)\b(?:{label})\b[\s:#=\"']*{value}\b", 0.85)
        return PatternRecognizer(supported_entity=entity, patterns=[pattern])

    return (
        PatternRecognizer(
            supported_entity="EMAIL_ADDRESS",
            patterns=[Pattern(pattern.name, pattern.regex, 0.9) for pattern in EmailRecognizer.PATTERNS],
        ),
        UsSsnRecognizer(),
        PhoneRecognizer(),
        CreditCardRecognizer(),
        IbanRecognizer(),
        MacAddressRecognizer(),
        UsMbiRecognizer(),
        labelled(
            "MEDICAL_RECORD_NUMBER",
            r"mrn|medical[ _-]record(?:[ _-](?:number|no\.?))?|patient[ _-]?(?:id|no\.?|number)|hospital[ _-]number",
            r"[A-Z]{0,3}-?\d{5,10}",
        ),
        labelled("US_SSN", r"ssn|social[ _-]security(?:[ _-](?:number|no\.?))?", r"\d{9}"),
        labelled("PHONE_NUMBER", r"phone|tel(?:ephone)?\.?|mobile|cell|fax|call", r"\+?\d{7,14}"),
    )

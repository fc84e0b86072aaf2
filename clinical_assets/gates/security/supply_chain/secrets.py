"""Credentials in text files, by the detectors of detect-secrets; no network, and no value is kept.

Its entropy detectors are left out: digests and pinned hashes are all over a repository like this, and a check that
cries wolf is switched off. An example on purpose carries the tool's own mark, `pragma: allowlist secret`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from clinical_assets.foundation.canonical import canonical_json, sha256_bytes, sha256_file
from clinical_assets.foundation.files import write_atomic
from clinical_assets.gates.security.facts import SecretFound, SecretsScan

DETECTORS = (
    "aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector", "basic_auth.BasicAuthDetector",
    "discord.DiscordBotTokenDetector", "github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector",
    "jwt.JwtTokenDetector", "npm.NpmDetector", "openai.OpenAIDetector", "private_key.PrivateKeyDetector",
    "pypi_token.PypiTokenDetector", "sendgrid.SendGridDetector", "slack.SlackDetector",
    "square_oauth.SquareOAuthDetector", "stripe.StripeDetector", "telegram_token.TelegramBotTokenDetector",
    "twilio.TwilioKeyDetector",
)  # fmt: skip
"""Those whose patterns are specific and quick; what is left out are a few vendors' (Artifactory, IBM, Mailchimp)."""

KEYWORD, SETTINGS = "keyword.KeywordDetector", (".yaml", ".yml", ".ini", ".cfg", ".env", ".toml", ".json")
"""`password: …` is a finding in settings; in code it is a variable."""

ALLOWED = "pragma: allowlist secret"
LARGEST = 2_000_000
_HINT = re.compile(r"(?i)pass|pwd|secret|token|api.?key|credential|private.?key")
_PLACEHOLDER = re.compile(
    r"(?i)[$<{].*|…|\*+|x+|changeme|example.*|none|null|true|false|pw|p|pass(word)?|secret|hunter2"
)
_REFERENCE = re.compile(r"(?i)\b\w*secret_?name\b[\"']?\s*:\s*[\"']?[\w.-]+")
"""`secretName: clinical-keys` names where a secret lies."""
_GITHUB = re.compile(r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36}")
"""With its boundary: without one, `weighs_each_…` in the name of a function is a token."""


def scan_files(files: Mapping[str, Path], cache: Path) -> SecretsScan:
    """Scan files by name; those whose content was scanned before, wherever it lay, are taken from `cache`."""
    known = _read_cache(cache)
    kept: dict[str, list[list[Any]]] = {}
    found: list[SecretFound] = []
    for name, path in files.items():
        try:
            data = path.read_bytes()
        except OSError:
            continue
        key = f"{sha256_bytes(data)}{path.suffix.lower()}"
        kept[key] = known[key] if key in known else [list(hit) for hit in scan_text(name, data)]
        found += [SecretFound(place=name, line=line, kind=kind) for line, kind in kept[key]]
    if kept != known:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(cache, canonical_json({"version": _version(), "files": kept}))
    return SecretsScan(files=len(files), found=tuple(found))


def scan_text(name: str, data: bytes) -> list[tuple[int, str]]:
    """(line, kind) of what looks like a credential; nothing for binary or very large files."""
    if len(data) > LARGEST or b"\0" in data[:8192]:
        return []
    text = data.decode("utf-8", "replace")
    lines, hits = text.splitlines(), set[tuple[int, str]]()
    detectors: list[tuple[Any, re.Pattern[str] | None]] = [
        (one, None) for one, patterns in _detectors() if any(pattern.search(text) for pattern in patterns)
    ]
    if name.lower().endswith(SETTINGS) and _HINT.search(text):
        detectors.append((_detector(KEYWORD), _HINT))
    for number, line in enumerate(lines, start=1) if detectors else ():
        if len(line) > 20_000 or ALLOWED in line:
            continue
        for detector, hint in detectors:
            told = line if hint is None else _REFERENCE.sub("", line)
            if hint is not None and not hint.search(told):
                continue
            for secret in detector.analyze_line(filename=name, line=told, line_number=number):
                if not _harmless(str(secret.type), str(secret.secret_value or ""), told):
                    hits.add((number, str(secret.type)))
    return sorted(hits)


def _harmless(kind: str, value: str, line: str) -> bool:
    return bool(_PLACEHOLDER.fullmatch(value)) or (kind == "GitHub Token" and not _GITHUB.search(line))


@lru_cache
def _detectors() -> tuple[tuple[Any, tuple[re.Pattern[str], ...]], ...]:
    """Each detector with its patterns, by which a whole text is passed over when none of its lines can match."""
    made = [_detector(name) for name in DETECTORS]
    return tuple(
        (one, tuple(re.compile(pattern.pattern, pattern.flags | re.MULTILINE) for pattern in one.denylist))
        for one in made
    )


@lru_cache
def _detector(name: str) -> Any:
    module, kind = name.rsplit(".", 1)
    return getattr(import_module(f"detect_secrets.plugins.{module}"), kind)()


def _read_cache(cache: Path) -> dict[str, list[list[Any]]]:
    try:
        content = json.loads(cache.read_bytes())
        return content["files"] if content["version"] == _version() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@lru_cache
def _version() -> str:
    """Of the detectors and of this file, whose rules decide as well."""
    return f"{metadata.version('detect-secrets')} {sha256_file(Path(__file__))}"

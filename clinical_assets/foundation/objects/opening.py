"""Which store this process uses: `$CLINICAL_OBJECTS_URL`, else the state directory."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clinical_assets.foundation.home import Home
from clinical_assets.foundation.objects.errors import StoreRefused
from clinical_assets.foundation.objects.interface import Objects
from clinical_assets.foundation.objects.local import LocalObjects

if TYPE_CHECKING:
    from clinical_assets.foundation.objects.bucket import Bucket

PATIENCE_S = 120.0
RETENTION_YEARS = 10.0
"""Regulation (EU) 2024/1689 (AI Act), Article 18: documentation is kept for ten years."""


def open_objects(home: Home, url: str = "", patience_s: float | None = None) -> Objects:
    """The store at `url` (default `$CLINICAL_OBJECTS_URL`), the state directory when that is empty.

    Args:
        patience_s: seconds to wait for a server that is away; default `$CLINICAL_OBJECTS_PATIENCE_S`.

    Raises:
        ValueError: a setting that means nothing.
        StoreRefused: the package for S3 is not installed.
    """
    url = url or os.environ.get("CLINICAL_OBJECTS_URL", "")
    if not url:
        return LocalObjects(home.objects)
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or parts.username or parts.query:
        raise ValueError(
            "CLINICAL_OBJECTS_URL: give s3://bucket/prefix, with endpoint and credentials in AWS_ENDPOINT_URL, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or leave it empty for the state directory"
        )
    patience = _number("CLINICAL_OBJECTS_PATIENCE_S", PATIENCE_S) if patience_s is None else patience_s
    years = _number("CLINICAL_EVIDENCE_RETENTION_YEARS", RETENTION_YEARS)
    where = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    bucket = _bucket(parts.netloc, parts.path.strip("/"), patience, where)
    from clinical_assets.foundation.objects.s3 import S3Objects

    cache = Path(os.environ.get("CLINICAL_OBJECTS_CACHE") or home.root / "cache") / parts.netloc / bucket.prefix
    return S3Objects(bucket, LocalObjects(cache), years)


@lru_cache(maxsize=8)
def _bucket(name: str, prefix: str, patience_s: float, _environment: tuple[tuple[str, str], ...]) -> Bucket:
    """A connection for each environment: boto3 reads it once, when the client is made."""
    try:
        import boto3
        from botocore.config import Config

        from clinical_assets.foundation.objects.bucket import ANSWER_S, CONNECT_S, Bucket
    except ImportError as error:
        raise StoreRefused("CLINICAL_OBJECTS_URL needs boto3: pip install 'clinical-assets[s3]'") from error
    own_server = bool(os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"))
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=ANSWER_S,
        retries={"total_max_attempts": 1},  # `Bucket` has its own patience
        s3={"addressing_style": "path" if own_server else "auto"},
        request_checksum_calculation="when_required",  # ours is sent with every object; others need not know theirs
        response_checksum_validation="when_required",
    )
    return Bucket(name, prefix, boto3.session.Session().client("s3", config=config), patience_s)


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}={text!r}; give a number that is not negative")
    return value

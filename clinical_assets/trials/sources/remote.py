"""Objects behind an fsspec URL (`s3://`, `gs://`, `https://`, `memory://`); credentials come from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.redaction import redacted

_INSTALL = {"s3": "'clinical-assets[s3]'", "s3a": "'clinical-assets[s3]'", "gs": "gcsfs", "gcs": "gcsfs",
            "az": "adlfs", "abfs": "adlfs", "http": "aiohttp", "https": "aiohttp"}  # fmt: skip
_VERSION = ("VersionId", "version_id", "generation", "ETag", "etag", "md5Hash", "md5")
"""What stores call the identity of an object's content."""
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


def fetch(url: str, folder: Path) -> tuple[Path, str]:
    """Download one object into `folder`: the file, and the version that the store gives it.

    Raises:
        SourceError: unknown protocol, missing package, missing object, refused access, or a change while reading.
    """
    before = _status(url)
    files, path = _file_system(url)
    target = folder / Path(path).name
    try:
        files.get_file(path, str(target))
    except Exception as error:  # every back end has its own errors
        raise _unreadable(url, error) from None
    if _status(url) != before:
        raise SourceError(f"{url} changed while it was read; run again")
    named = [f"{key} {value}" for key, value in before.items() if key in _VERSION]
    return target, ", ".join(named)


def state(url: str) -> list[str]:
    """Size of the object and its version, or its times where the store keeps no version: one request for its head.

    Raises:
        SourceError: as `fetch`.
    """
    return [url, *(f"{key}={value}" for key, value in _status(url).items())]


def _status(url: str) -> Mapping[str, str]:
    files, path = _file_system(url)
    try:
        files.invalidate_cache()
        found = files.info(path)
    except Exception as error:
        raise _unreadable(url, error) from None
    if found.get("type") == "directory":
        raise SourceError(f"{url} is a directory; give the URL of one object")
    known = {key: str(value).strip('"') for key, value in found.items() if value is not None}
    named = [key for key in _VERSION if key in known] or [key for key in _TIMES if key in known]
    return {key: known[key] for key in ("size", *named) if key in known}


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    protocol = url.partition("://")[0]
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError:
        needed = _INSTALL.get(protocol, f"the fsspec package for {protocol}")
        raise SourceError(f"reading {url} needs another package; run `pip install {needed}`") from None
    except ValueError:
        raise SourceError(
            f"{url}: protocol {protocol!r} is not known to fsspec; correct `source.path`, for instance s3://bucket/key"
        ) from None
    except Exception as error:
        raise _unreadable(url, error) from None


def _unreadable(url: str, error: Exception) -> SourceError:
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{url} does not exist; correct `source.path`")
    if isinstance(error, PermissionError) or "credential" in type(error).__name__.lower():
        return SourceError(
            f"{url}: access refused ({type(error).__name__}); set credentials in the environment "
            "(for S3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL) that may read it"
        )
    return SourceError(
        f"{url} cannot be read: {type(error).__name__}: {redacted(error)}; check the URL and the network"
    )

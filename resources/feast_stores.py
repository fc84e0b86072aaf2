"""Where Feast keeps its registry and its online table: in the state directory, or on the servers that settings name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

REGISTRY, ONLINE = "CLINICAL_FEAST_REGISTRY_URL", "CLINICAL_FEAST_ONLINE_URL"


def registry(root: Path) -> str | dict[str, Any]:
    """`$CLINICAL_FEAST_REGISTRY_URL` (SQLAlchemy, `postgresql+psycopg2://…`), else a file.

    Raises:
        ValueError: a PostgreSQL URL without driver, which Feast and SQLAlchemy read differently.
    """
    url = os.environ.get(REGISTRY, "")
    if not url:
        return str(root / "registry.db")
    if url.startswith(("postgresql://", "postgres://")):
        raise ValueError(f"{REGISTRY}: write postgresql+psycopg2://…, so that the driver is named")
    return {"registry_type": "sql", "path": url, "cache_ttl_seconds": 0}


def online_store(root: Path) -> dict[str, Any]:
    """`$CLINICAL_FEAST_ONLINE_URL` (`postgresql://…` or `redis://…`), else SQLite.

    TLS is asked for by `?sslmode=…` (PostgreSQL, `prefer` when nothing is said) and by `rediss://`.

    Raises:
        ValueError: a URL of another kind; the message does not repeat it, for it may hold a password.
    """
    url = os.environ.get(ONLINE, "")
    if not url:
        return {"type": "sqlite", "path": str(root / "online.db")}
    parts = urlsplit(url)
    host, password = parts.hostname or "", unquote(parts.password or "")
    name = parts.path.strip("/")
    if parts.scheme in ("redis", "rediss") and host:
        options = [f"{host}:{parts.port or 6379}", f"db={name or 0}"]
        options += [f"username={unquote(parts.username)}"] if parts.username else []
        options += [f"password={password}"] if password else []
        options += ["ssl=true"] if parts.scheme == "rediss" else []
        return {"type": "redis", "connection_string": ",".join(options)}
    if parts.scheme.partition("+")[0] in ("postgresql", "postgres") and host and name:
        said = dict(parse_qsl(parts.query))
        return {
            "type": "postgres",
            "host": host,
            "port": parts.port or 5432,
            "database": name,
            "user": unquote(parts.username or ""),
            "password": password,
            "sslmode": said.get("sslmode", "prefer"),
        }
    raise ValueError(f"{ONLINE}: give postgresql://user:password@host/database or redis://host:6379/0")

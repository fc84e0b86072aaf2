"""Fill the empty secrets of a self-contained cluster, once, from one random seed that never leaves the cluster.

Every value is derived from the seed, so that a run after an interrupted one ends the same, and a second run changes
nothing. A secret that holds anything is somebody's own and is left alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from clinical_assets.audit.keys import KeyStore
from clinical_assets.serving.kubernetes.api import KubernetesApi

NAMESPACE = "clinical"
SEED = "clinical-seed"


class Derived:
    """Secrets that differ by purpose; the same seed and purpose give the same one."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed

    def bytes(self, purpose: str) -> bytes:
        return hmac.new(self._seed, purpose.encode(), hashlib.sha256).digest()

    def text(self, purpose: str) -> str:
        return self.bytes(purpose).hex()


def contents(derived: Derived) -> dict[str, dict[str, str]]:
    """What each secret holds, by name."""
    passwords = {name: derived.text(f"postgres/{name}") for name in ("postgres", "clinical", "dagster", "mlflow")}
    access = {"AWS_ENDPOINT_URL": "http://clinical-s3:8333", "AWS_REGION": "us-east-1"}
    identities, credentials = [], {}
    for name, actions in (
        ("writer", ["Admin", "Read", "Write", "List", "Tagging"]),
        ("reader", ["Read:clinical-objects", "List:clinical-objects"]),
    ):
        own = {"accessKey": derived.text(f"s3/{name}/id")[:20], "secretKey": derived.text(f"s3/{name}")}
        identities.append({"name": name, "credentials": [own], "actions": actions})
        credentials[name] = {**access, "AWS_ACCESS_KEY_ID": own["accessKey"], "AWS_SECRET_ACCESS_KEY": own["secretKey"]}
    keys = platform_keys(derived)
    password = derived.text("login/clinical")[:32]
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()  # of 128 random bits
    return {
        "clinical-postgres": passwords,
        "clinical-database": {"CLINICAL_DATABASE_URL": database("clinical", passwords)},
        "clinical-dagster-database": {"DAGSTER_PG_USERNAME": "dagster", "DAGSTER_PG_PASSWORD": passwords["dagster"]},
        "clinical-mlflow-database": {"MLFLOW_BACKEND_STORE_URI": database("mlflow", passwords)},
        "clinical-s3": {"s3.json": json.dumps({"identities": identities})},
        "clinical-object-store": credentials["writer"],
        "clinical-objects-read": credentials["reader"],
        "clinical-keys": keys,
        "clinical-public-keys": {name: text for name, text in keys.items() if name.endswith(".pub")},
        "clinical-webserver-login": {
            "OAUTH2_PROXY_CLIENT_ID": "no-identity-provider",
            "OAUTH2_PROXY_CLIENT_SECRET": derived.text("login/client"),
            "OAUTH2_PROXY_COOKIE_SECRET": derived.text("login/cookie")[:32],
            "users": f"clinical:{{SHA}}{digest}\n",
            "password": password,
        },
    }


def database(name: str, passwords: Mapping[str, str]) -> str:
    return f"postgresql+psycopg2://{name}:{passwords[name]}@clinical-postgres:5432/{name}"


def platform_keys(derived: Derived) -> dict[str, str]:
    """The platform's signing key and its public half, under the file names of the key directory."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(derived.bytes("keys/platform")).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.TemporaryDirectory() as directory:
        store = KeyStore(Path(directory))
        store.private_bytes(Path(directory) / "platform.key", lambda: private)
        store.signer("platform", create=False)
        return {path.name: path.read_text() for path in sorted(Path(directory).iterdir())}


def fill(api: KubernetesApi) -> list[str]:
    """The names of the secrets that were empty."""

    def path(name: str) -> str:
        return f"/api/v1/namespaces/{NAMESPACE}/secrets/{name}"

    def write(name: str, values: Mapping[str, str], version: str) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        api.patch(path(name), {"metadata": {"resourceVersion": version}, "data": data})

    held = api.get(path(SEED))
    if held is None:
        raise SystemExit(f"secret {SEED} is missing; apply the whole overlay")
    if not held.get("data"):
        write(SEED, {"seed": secrets.token_hex(32)}, held["metadata"]["resourceVersion"])
        held = api.get(path(SEED)) or {}
    derived = Derived(base64.b64decode(held["data"]["seed"]))
    filled = []
    for name, values in contents(derived).items():
        found = api.get(path(name))
        if found is not None and not found.get("data"):
            write(name, values, found["metadata"]["resourceVersion"])
            filled.append(name)
    return filled


if __name__ == "__main__":
    print("filled:", ", ".join(fill(KubernetesApi.connect())) or "nothing, all hold something already", file=sys.stderr)

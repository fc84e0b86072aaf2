"""Write the secrets of `deploy/compose.yaml` to `deploy/secrets/`, once: random passwords in files of this machine.

    python3 deploy/make_secrets.py

The directory is open to its owner alone; the files in it are readable, because the containers' users are others.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

DIRECTORY = Path(__file__).parent / "secrets"
DATABASES = ("clinical", "dagster", "mlflow")


def contents() -> dict[str, str]:
    """The files and what is in them."""
    passwords = {name: secrets.token_hex(24) for name in ("postgres", *DATABASES)}
    access, secret = secrets.token_hex(10), secrets.token_hex(24)
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "platform", "credentials": [{"accessKey": access, "secretKey": secret}], "actions": actions}
    url = "postgresql+psycopg2://{0}:{1}@127.0.0.1:5432/{0}"
    store = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:8333",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
    }
    environments = {
        "platform.env": {"CLINICAL_DATABASE_URL": url.format("clinical", passwords["clinical"]), **store},
        "dagster.env": {"DAGSTER_PG_USERNAME": "dagster", "DAGSTER_PG_PASSWORD": passwords["dagster"]},
        "mlflow.env": {"MLFLOW_BACKEND_STORE_URI": url.format("mlflow", passwords["mlflow"]), **store},
    }
    files = {name: "".join(f"{key}={value}\n" for key, value in held.items()) for name, held in environments.items()}
    return {**files, **passwords, "grafana": secrets.token_hex(24), "s3.json": json.dumps({"identities": [identity]})}


def main() -> None:
    if DIRECTORY.exists():
        sys.exit(f"{DIRECTORY} is there already; the databases know its passwords, so it stays as it is")
    DIRECTORY.mkdir(mode=0o700)
    for name, text in contents().items():
        (DIRECTORY / name).write_text(text)
    print(f"secrets are in {DIRECTORY}; the password of Grafana's user `admin` is in the file `grafana`")


if __name__ == "__main__":
    main()

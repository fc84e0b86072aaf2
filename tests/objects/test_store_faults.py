"""A server that dies, hangs or comes back, and a cache on a full disk: nothing is lost, and work goes on by itself."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinical_assets.foundation.objects.errors import StoreUnavailable
from tests.s3 import S3Server

from .conftest import Machine
from .test_every_store import ADDRESS, FILES, contents, writes

pytestmark = pytest.mark.xdist_group("s3")


@pytest.fixture
def dead(s3: S3Server, url: str) -> Iterator[S3Server]:
    """The server killed once the bucket is there; it runs again afterwards."""
    s3.kill()
    yield s3
    s3.start()


def test_work_waits_for_a_server_that_comes_back(
    machine: Machine, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    store = machine("one")
    s3.kill()
    again = threading.Timer(1.0, s3.start)
    again.start()
    with caplog.at_level(logging.WARNING):
        store.publish(ADDRESS, writes(FILES))
    again.join()
    assert contents(machine("two").fetch(ADDRESS)) == FILES
    told = [record.getMessage() for record in caplog.records if "does not answer" in record.getMessage()]
    assert len(told) == 1


def test_patience_ends_with_a_remedy_and_the_cache_still_reads(
    machine: Machine, dead: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINICAL_OBJECTS_PATIENCE_S", "0.5")
    store = machine("one")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"does not answer .*start the server or correct AWS_ENDPOINT_URL"):
        store.publish(ADDRESS, writes(FILES))
    assert time.monotonic() - began < 20
    assert not (store.directory / ADDRESS).exists()
    store.cache.publish(ADDRESS, writes(FILES))
    assert contents(store.fetch(ADDRESS)) == FILES


def test_a_server_that_hangs_is_waited_for(machine: Machine, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical_assets.foundation.objects.bucket.ANSWER_S", 1)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-2")  # a connection of its own, with that limit
    store = machine("one")
    with s3.hanging():
        monkeypatch.setattr(store.bucket, "patience_s", 0.5)
        with pytest.raises(StoreUnavailable, match=r"ReadTimeoutError|ConnectTimeoutError"):
            store.holds(ADDRESS)
        monkeypatch.setattr(store.bucket, "patience_s", 60)
        waiting = threading.Thread(target=store.publish, args=(ADDRESS, writes(FILES)))
        waiting.start()
        time.sleep(1.5)
        assert waiting.is_alive()
    waiting.join()
    assert contents(machine("two").fetch(ADDRESS)) == FILES


def test_a_full_disk_under_the_cache_is_said_and_leaves_nothing(machine: Machine, url: str, tmp_path: Path) -> None:
    machine("writer").publish(ADDRESS, writes({"big": b"x" * 10_000}))
    program = (
        "import resource, sys; from pathlib import Path; from clinical_assets.foundation.home import Home\n"
        "from clinical_assets.foundation.objects.opening import open_objects\n"
        "store = open_objects(Home(Path(sys.argv[1])))\n"
        "store.holds(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "store.fetch(sys.argv[2])"
    )
    own = {**os.environ, "CLINICAL_OBJECTS_URL": url}
    arguments = [sys.executable, "-c", program, str(tmp_path / "full"), ADDRESS]
    done = subprocess.run(arguments, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "NotStored" in done.stderr
    assert "Free some space" in done.stderr
    assert [path for path in (tmp_path / "full").rglob("*") if path.is_file()] == []
    assert contents(machine("full").fetch(ADDRESS)) == {"big": b"x" * 10_000}

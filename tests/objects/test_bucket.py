"""The bucket on a real S3 server: several machines, damage, locks, and what an unchanged object costs."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clinical_assets.foundation.home import Home
from clinical_assets.foundation.objects.errors import ObjectDamaged, StoreRefused
from clinical_assets.foundation.objects.opening import open_objects
from clinical_assets.foundation.objects.s3 import S3Objects
from tests.s3 import S3Server

from .conftest import Machine
from .test_every_store import ADDRESS, FILES, contents, writes

pytestmark = pytest.mark.xdist_group("s3")


def key(store: S3Objects, address: str = ADDRESS) -> dict[str, str]:
    return {"Bucket": store.bucket.name, "Key": f"{store.bucket.prefix}/{address}.zip"}


class Requests(list[str]):
    """Operations that a store asks its server for."""

    def __init__(self, store: S3Objects) -> None:
        super().__init__()
        store.bucket.client.meta.events.register("before-call.s3", lambda model, **_: self.append(model.name))


def test_what_one_machine_stores_another_reads(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    here.publish(ADDRESS, writes(FILES))
    assert contents(there.fetch(ADDRESS)) == FILES
    here.write("references/trained_model/colon.json", b"{}")
    assert there.read("references/trained_model/colon.json") == b"{}"
    here.write_new("models/a.sig", b"first")
    assert there.write_new("models/a.sig", b"second") == b"first"


def test_of_writers_at_the_same_moment_one_wins_and_all_hold_its_bytes(machine: Machine) -> None:
    stores = [machine(f"m{number}") for number in range(6)]

    def publish(number: int) -> bytes:
        return (stores[number].publish(ADDRESS, writes({"who": str(number).encode()})) / "who").read_bytes()

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(publish, range(6)))) == 1


def test_an_unchanged_object_is_neither_uploaded_nor_fetched_again(machine: Machine) -> None:
    store = machine("one")
    store.publish(ADDRESS, writes(FILES))
    asked = Requests(store)
    store.publish(ADDRESS, writes(FILES))
    assert asked == ["HeadObject"]
    asked.clear()
    store.fetch(ADDRESS)
    assert asked == []


def test_a_damaged_copy_is_fetched_again_and_a_lost_object_is_uploaded_again(machine: Machine) -> None:
    store = machine("one")
    path = store.publish(ADDRESS, writes(FILES))
    (path / "table.parquet").write_bytes(b"PAR2")
    assert contents(store.fetch(ADDRESS)) == FILES
    store.bucket.client.delete_object(**key(store))
    store.publish(ADDRESS, writes(FILES))
    assert contents(machine("two").fetch(ADDRESS)) == FILES


def test_bytes_that_were_changed_in_the_bucket_are_refused(machine: Machine) -> None:
    writer = machine("writer")
    writer.publish(ADDRESS, writes(FILES))
    found = writer.bucket.client.get_object(**key(writer))
    data, said = found["Body"].read(), found["Metadata"]
    for changed, metadata, why in (
        (data[:-1] + b"x", said, "its bytes have digest"),
        (data[:100], said, "its bytes have digest"),
        (data, {}, "no digest was stored"),
    ):
        writer.bucket.client.put_object(**key(writer), Body=changed, Metadata=metadata)
        with pytest.raises(ObjectDamaged, match=rf"{ADDRESS}\.zip is damaged: .*{why}"):
            machine("reader").fetch(ADDRESS)
        assert not (machine("reader").directory / ADDRESS).exists()


def test_a_model_that_was_exchanged_with_its_digest_is_refused(machine: Machine, tmp_path: Path) -> None:
    """Whoever may write the bucket may also write the digest beside the bytes, but not the one in the address."""
    from clinical_assets.foundation.canonical import sha256_directory

    writer, made = machine("writer"), tmp_path / "made"
    made.mkdir()
    writes({"model.json": b"{}"})(made)
    address = f"models/{sha256_directory(made)}"
    writer.publish(ADDRESS, writes({"model.json": b'{"risk": 0}'}))
    writer.bucket.client.copy_object(**key(writer, address), CopySource=key(writer))
    with pytest.raises(ObjectDamaged, match="its files have digest"):
        machine("reader").fetch(address)
    assert not (machine("reader").directory / address).exists()


def test_a_writer_that_is_killed_leaves_no_object(machine: Machine, url: str, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from clinical_assets.foundation.home import Home\n"
        "from clinical_assets.foundation.objects import bucket, opening\n"
        "store = opening.open_objects(Home(Path(sys.argv[1])))\n"
        "def sent(request, **_):\n"
        "    body = request.body.read(4096)  # a part of it goes out\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.bucket.client.meta.events.register('before-send.s3.PutObject', sent)\n"
        "store.publish(sys.argv[2], lambda d: (d / 'big').write_bytes(b'x' * 10_000_000))"
    )
    own = {**os.environ, "CLINICAL_OBJECTS_URL": url}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "dead"), ADDRESS], env=own, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not machine("one").holds(ADDRESS)
    assert contents(machine("dead").publish(ADDRESS, writes(FILES))) == FILES


class TestLock:
    @pytest.fixture
    def url(self, s3: S3Server) -> str:
        return s3.new_url(locked=True)

    def test_locked_evidence_cannot_be_deleted_or_its_lock_shortened(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from botocore.exceptions import ClientError

        monkeypatch.setenv("CLINICAL_EVIDENCE_RETENTION_YEARS", "3")
        store = machine("one")
        store.publish(ADDRESS, writes(FILES), locked=True)
        head = store.bucket.client.head_object(**key(store))
        kept = head["ObjectLockRetainUntilDate"] - dt.datetime.now(dt.UTC)
        assert abs(kept.days - 3 * 365.25) <= 2
        assert store.lock(ADDRESS) == f"COMPLIANCE until {head['ObjectLockRetainUntilDate']:%Y-%m-%d}"
        version = {**key(store), "VersionId": head["VersionId"]}
        with pytest.raises(ClientError, match="AccessDenied"):
            store.bucket.client.delete_object(**version)
        with pytest.raises(ClientError, match="AccessDenied"):
            store.bucket.client.delete_object(**version, BypassGovernanceRetention=True)
        sooner = {"Mode": "COMPLIANCE", "RetainUntilDate": dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60)}
        with pytest.raises(ClientError):
            store.bucket.client.put_object_retention(**version, Retention=sooner)
        assert contents(machine("two").fetch(ADDRESS)) == FILES

    def test_other_objects_are_not_locked(self, machine: Machine) -> None:
        store = machine("one")
        store.publish(ADDRESS, writes(FILES))
        assert store.lock(ADDRESS) == "not locked: it was written without a lock"

    def test_no_retention_no_lock(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CLINICAL_EVIDENCE_RETENTION_YEARS", "0")
        store = machine("one")
        store.publish(ADDRESS, writes(FILES), locked=True)
        assert store.lock(ADDRESS) == "not locked: CLINICAL_EVIDENCE_RETENTION_YEARS is 0"


def test_a_bucket_without_object_lock_is_said(machine: Machine) -> None:
    store = machine("one")
    store.publish(ADDRESS, writes(FILES), locked=True)
    assert store.lock(ADDRESS).startswith(f"not locked: bucket {store.bucket.name} has no object lock")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLINICAL_OBJECTS_URL", "gs://bucket"),
        ("CLINICAL_OBJECTS_URL", "s3://"),
        ("CLINICAL_OBJECTS_URL", "s3://key:secret@bucket"),
        ("CLINICAL_OBJECTS_PATIENCE_S", "long"),
        ("CLINICAL_EVIDENCE_RETENTION_YEARS", "-1"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("CLINICAL_OBJECTS_URL", "s3://bucket")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name) as error:
        open_objects(Home(tmp_path))
    assert "secret@" not in str(error.value)


def test_without_credentials_or_with_those_of_a_reader_the_answer_is_no_at_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("writer").publish(ADDRESS, writes(FILES))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader-access")
    reader = machine("reader")
    assert contents(reader.fetch(ADDRESS)) == FILES
    with pytest.raises(StoreRefused, match=r"refuses to write .*AccessDenied.* credentials of the environment"):
        reader.write("references/trained_model/colon.json", b"{}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-0123456789")
    with pytest.raises(StoreRefused, match=r"403|SignatureDoesNotMatch") as error:
        machine("stranger").fetch(ADDRESS)
    assert "wrong-secret" not in repr(error.value)
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreRefused, match="NoCredentialsError"):
        machine("nobody").fetch(ADDRESS)


def test_a_bucket_that_does_not_exist_is_named(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_OBJECTS_URL", "s3://no-such-bucket/platform")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "writer-access")  # who may not make buckets
    with pytest.raises(
        StoreRefused, match=r"s3://no-such-bucket/platform .*(NoSuchBucket|AccessDenied).* bucket exists"
    ):
        open_objects(Home(tmp_path)).publish(ADDRESS, writes(FILES))

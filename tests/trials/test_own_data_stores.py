"""Files behind a URL: what is fetched, what a look costs, and what is said when something is missing."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.state import source_state
from tests.s3 import S3Server

from .cohorts import CSV, contract, csv_at, source

OTHER = CSV.replace("61", "62")


def put(url: str, text: str) -> str:
    with fsspec.open(url, "wb") as target:
        target.write(text.encode())  # type: ignore[attr-defined]
    return url


@pytest.mark.xdist_group("s3")
class TestObjectStore:
    @pytest.fixture(autouse=True)
    def _fresh_connection(self, s3: S3Server) -> Iterator[None]:
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        yield
        s3fs.S3FileSystem.clear_instance_cache()

    def test_an_unchanged_object_costs_one_request_for_its_head(
        self, s3: S3Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = put(f"s3://{s3.bucket}/look/cohort.csv", CSV)
        before = source_state(csv_at(url))
        with caplog.at_level(logging.DEBUG, logger="s3fs"):
            caplog.clear()
            assert source_state(csv_at(url)) == before
        calls = [record.getMessage() for record in caplog.records if record.getMessage().startswith("CALL")]
        assert len(calls) == 1
        assert "head_object" in calls[0]

    def test_state_follows_the_content_and_the_manifest_names_the_version(
        self, s3: S3Server, store: SnapshotStore
    ) -> None:
        url = put(f"s3://{s3.bucket}/version/cohort.csv", CSV)
        before, snapshot = source_state(csv_at(url)), ingest("tiny", csv_at(url), contract(), store)
        put(url, CSV)
        assert source_state(csv_at(url)) == before
        put(url, OTHER)
        assert source_state(csv_at(url)) != before
        changed = ingest("tiny", csv_at(url), contract(), store)
        assert changed.sha256 != snapshot.sha256
        etag = next(part for part in before if part.startswith("ETag=")).removeprefix("ETag=")
        assert snapshot.manifest.version == f"ETag {etag}"
        assert changed.manifest.version != snapshot.manifest.version
        assert snapshot.manifest.source == url

    def test_no_copy_is_left_behind(self, s3: S3Server, private: Path) -> None:
        url = put(f"s3://{s3.bucket}/private/cohort.csv", CSV)
        kind_reader("csv").read(csv_at(url))
        with pytest.raises(SourceError):
            kind_reader("parquet").read(csv_at(url, kind="parquet"))
        assert list(private.iterdir()) == []

    def test_missing_object_bucket_and_credentials_say_so_without_the_secret(
        self, s3: S3Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import s3fs

        url = put(f"s3://{s3.bucket}/secret/cohort.csv", CSV)
        for missing in (f"s3://{s3.bucket}/secret/none.csv", "s3://no-such-bucket/cohort.csv"):
            with pytest.raises(SourceError, match=rf"{missing} does not exist; correct `source\.path`"):
                source_state(csv_at(missing))
        with pytest.raises(SourceError, match=r"is a directory; give the URL of one object"):
            source_state(csv_at(f"s3://{s3.bucket}/secret"))
        wrong = "wrong-secret-0123456789"
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(SourceError, match=r"access refused .* set credentials in the environment") as error:
            source_state(csv_at(url))
        assert wrong not in repr(error.value)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(SourceError, match=r"access refused \(NoCredentialsError\)"):
            source_state(csv_at(url))


def test_a_url_of_this_machine_reads_like_its_path(tmp_path: Path, store: SnapshotStore) -> None:
    own = source(tmp_path)
    url = (tmp_path / "cohort.csv").as_uri()
    assert ingest("tiny", csv_at(url), contract(), store).sha256 == ingest("tiny", own, contract(), store).sha256
    before = source_state(csv_at(url))
    (tmp_path / "cohort.csv").write_text(OTHER + " ")
    assert source_state(csv_at(url)) != before


def test_an_object_without_a_version_is_known_by_size_and_time() -> None:
    url = put("memory://state/cohort.csv", CSV)
    before = source_state(csv_at(url))
    assert source_state(csv_at(url)) == before
    put(url, OTHER)
    assert source_state(csv_at(url)) != before


def test_an_object_that_changes_while_it_is_read_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    url = put("memory://torn/cohort.csv", CSV)
    files = fsspec.filesystem("memory")
    whole = type(files).get_file

    def replaced_meanwhile(self: Any, *arguments: Any, **options: Any) -> None:
        whole(self, *arguments, **options)
        put(url, OTHER + "\n")

    monkeypatch.setattr(type(files), "get_file", replaced_meanwhile)
    with pytest.raises(SourceError, match="changed while it was read; run again"):
        kind_reader("csv").read(csv_at(url))


@pytest.mark.parametrize(
    ("url", "hidden", "message"),
    [
        ("s3://bucket/cohort.csv", "s3fs", r"needs another package; run `pip install 'clinical-assets\[s3\]'`"),
        ("gs://bucket/cohort.csv", "gcsfs", r"needs another package; run `pip install gcsfs`"),
        ("abfs://box/cohort.csv", "adlfs", r"needs another package; run `pip install adlfs`"),
        ("s4://bucket/cohort.csv", "", r"protocol 's4' is not known to fsspec; correct `source\.path`"),
        ("memory://nowhere/cohort.csv", "", r"memory://nowhere/cohort\.csv does not exist"),
    ],
)
def test_what_a_url_lacks_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, url: str, hidden: str, message: str
) -> None:
    if hidden:
        monkeypatch.setitem(sys.modules, hidden, None)
        loaded = importlib.import_module("fsspec.registry")._registry
        monkeypatch.delitem(loaded, url.partition("://")[0], raising=False)
    for look in (source_state, kind_reader("csv").read):
        with pytest.raises(SourceError, match=message):
            look(csv_at(url))

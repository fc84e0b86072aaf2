"""A DVC repository: the data that a revision names, not what lies in the work tree."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.spec import SourceSpec
from clinical_assets.trials.sources.state import source_state

from .cohorts import CSV, contract, csv_at, source
from .stores import DvcRepository

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # DVC's own

OTHER = CSV.replace("61", "62")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> DvcRepository:
    repository = DvcRepository.create(tmp_path_factory.mktemp("dvc") / "trial")
    repository.commit("data/cohort.csv", CSV.encode(), "cut-1")
    repository.commit("data/cohort.csv", OTHER.encode(), "cut-2")
    return repository


def tracked(repository: DvcRepository, revision: str, path: str = "data/cohort.csv") -> SourceSpec:
    return csv_at(path, repository=str(repository.path), revision=revision)


def test_each_revision_gives_its_own_data_whatever_lies_in_the_work_tree(
    repository: DvcRepository, store: SnapshotStore, tmp_path: Path, private: Path
) -> None:
    expected = {"cut-1": CSV, "cut-2": OTHER}
    for revision, text in expected.items():
        found = ingest("tiny", tracked(repository, revision), contract(), store)
        assert found.sha256 == ingest("tiny", source(tmp_path, text), contract(), store).sha256
        version = found.manifest.version
        assert version.startswith(f"commit {repository.commit_of(revision)}, md5 ")
        assert version.removeprefix(f"commit {repository.commit_of(revision)}, md5 ") in repository.listed(revision)
        assert found.manifest.source == f"{repository.path}@{revision}:data/cohort.csv"
    assert list(private.iterdir()) == []


def test_state_is_the_md5_of_the_revision(repository: DvcRepository) -> None:
    first, second = (source_state(tracked(repository, revision)) for revision in ("cut-1", "cut-2"))
    assert first != second
    assert first[-1] in repository.listed("cut-1")
    assert source_state(tracked(repository, repository.commit_of("cut-1"))) == first


@pytest.mark.parametrize(
    ("revision", "path", "message"),
    [
        ("cut-9", "data/cohort.csv", r"@cut-9:data/cohort\.csv cannot be read: RevError: unknown Git revision"),
        ("cut-1", "data/none.csv", r"data/none\.csv does not exist there, .* correct `source\.path`"),
        ("cut-1", "data", r"@cut-1:data is a directory; give the path of one file"),
        ("cut-1", "data/cohort.csv.dvc", r"is tracked by Git, not by DVC; run `dvc add`"),
    ],
)
def test_unknown_revisions_and_paths_are_named(
    repository: DvcRepository, revision: str, path: str, message: str
) -> None:
    for look in (source_state, kind_reader("csv").read):
        with pytest.raises(SourceError, match=message):
            look(tracked(repository, revision, path))


def test_a_directory_that_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"correct `source\.repository`"):
        source_state(csv_at("a.csv", repository=str(tmp_path), revision="main"))


def test_data_that_are_nowhere_ask_for_a_push_and_are_still_known_by_their_md5(tmp_path: Path) -> None:
    repository = DvcRepository.create(tmp_path / "lost")
    repository.commit("cohort.csv", CSV.encode(), "cut-1")
    repository.lose_data()
    assert source_state(tracked(repository, "cut-1", "cohort.csv"))
    with pytest.raises(SourceError, match=r"neither cache nor remote holds it; .* run `dvc push`"):
        kind_reader("csv").read(tracked(repository, "cut-1", "cohort.csv"))


def test_without_dvc_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dvc.api", None)
    with pytest.raises(SourceError, match=r"needs DVC; run `pip install 'clinical-assets\[dvc\]'`"):
        source_state(csv_at("a.csv", repository="/anywhere", revision="v1"))

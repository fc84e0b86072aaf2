"""What a directory and a bucket have in common: written once, whole or not at all, verified on every read."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.foundation.home import Home
from clinical_assets.foundation.objects.archive import pack, pack_files, unpack
from clinical_assets.foundation.objects.errors import NotStored, ObjectDamaged, ObjectMissing
from clinical_assets.foundation.objects.interface import Fill, Objects
from clinical_assets.foundation.objects.opening import open_objects

ADDRESS = f"features/colon/{'1' * 64}"
FILES = {"table.parquet": b"PAR1" * 1000, "plots/curve.png": b"\x89PNG", "empty": b""}


def writes(files: dict[str, bytes]) -> Fill:
    def fill(aside: Path) -> None:
        for name, data in files.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).write_bytes(data)

    return fill


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_an_object_comes_back_as_it_was_written(objects: Objects) -> None:
    assert not objects.holds(ADDRESS)
    with pytest.raises(ObjectMissing, match=rf"{ADDRESS} is not in the object store .*; make it again"):
        objects.fetch(ADDRESS)
    path = objects.publish(ADDRESS, writes(FILES))
    assert contents(path) == FILES
    assert objects.holds(ADDRESS)
    assert contents(objects.fetch(ADDRESS)) == FILES


def test_the_first_writer_wins(objects: Objects) -> None:
    objects.publish(ADDRESS, writes(FILES))
    again = objects.publish(ADDRESS, writes({"table.parquet": b"other"}))
    assert contents(again) == FILES == contents(objects.fetch(ADDRESS))
    assert objects.write_new("models/a.sig", b"first") == b"first"
    assert objects.write_new("models/a.sig", b"second") == b"first"
    assert objects.file("models/a.sig").read_bytes() == b"first"


def test_a_writer_that_fails_leaves_nothing(objects: Objects) -> None:
    def fails(aside: Path) -> None:
        (aside / "half").write_bytes(b"half")
        raise RuntimeError("the fit did not converge")

    with pytest.raises(RuntimeError, match="converge"):
        objects.publish(ADDRESS, fails)
    assert not objects.holds(ADDRESS)
    assert [path for path in objects.directory.rglob("*") if path.name == "half"] == []
    assert contents(objects.publish(ADDRESS, writes(FILES))) == FILES


def test_records_are_replaced_whole(objects: Objects) -> None:
    name = "references/trained_model/colon.json"
    assert objects.read(name) is None
    for text in (b"{}", b'{"digest": "1"}'):
        objects.write(name, text)
        assert objects.read(name) == text
    with pytest.raises(ObjectMissing):
        objects.file("models/none.sig")


def test_a_model_lies_under_the_digest_of_its_files(objects: Objects, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    writes({"model.json": b"{}"})(made)
    address = f"models/{sha256_directory(made)}"
    assert contents(objects.publish(address, writes({"model.json": b"{}"}))) == {"model.json": b"{}"}
    wrong = f"models/{'2' * 64}"
    with pytest.raises(ObjectDamaged, match="its files have digest"):  # a bucket refuses at once, a directory when read
        objects.fetch(objects.publish(wrong, writes({"model.json": b"{}"})) and wrong)


@pytest.mark.parametrize("address", ["", "models", "/etc/passwd", "models/../../x", "models//x", "../x/y", "a/b\n"])
def test_no_address_leads_out_of_the_store(objects: Objects, address: str) -> None:
    for act in (objects.fetch, objects.holds, objects.read, objects.file):
        with pytest.raises(ValueError, match="not an object address"):
            act(address)


def test_a_directory_notices_a_changed_byte_and_a_file_too_many(tmp_path: Path) -> None:
    objects = open_objects(Home(tmp_path))
    path = objects.publish(ADDRESS, writes(FILES))
    (path / "table.parquet").write_bytes(b"PAR2" * 1000)
    with pytest.raises(ObjectDamaged, match=r"is damaged: its files have digest .* was stored; delete the directory"):
        objects.fetch(ADDRESS)
    writes(FILES)(path)
    assert objects.fetch(ADDRESS) == path
    (path / "more").write_bytes(b"")
    with pytest.raises(ObjectDamaged):
        objects.fetch(ADDRESS)


def test_a_deleted_object_may_be_made_anew(tmp_path: Path) -> None:
    """The remedy that the message names; the new bytes may differ (a time of extraction, say)."""
    import shutil

    objects = open_objects(Home(tmp_path))
    shutil.rmtree(objects.publish(ADDRESS, writes(FILES)))
    objects.publish(ADDRESS, writes({"table.parquet": b"new"}))
    assert contents(objects.fetch(ADDRESS)) == {"table.parquet": b"new"}


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    made, archive, back = tmp_path / "made", tmp_path / "made.zip", tmp_path / "back"
    made.mkdir()
    writes(FILES)(made)
    pack(made, archive)
    in_memory = io.BytesIO()
    pack_files(dict(reversed(FILES.items())), in_memory)
    assert archive.read_bytes() == in_memory.getvalue()
    back.mkdir()
    unpack(archive, back)
    assert contents(back) == FILES


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_an_archive_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    with (tmp_path / "bad.zip").open("wb") as target:
        pack_files({name: b"x"}, target)
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="leads out"):
        unpack(tmp_path / "bad.zip", tmp_path / "in")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE fails a write just as a full disk does, at any byte one likes."""
    program = (
        "import resource, sys; from pathlib import Path; from clinical_assets.foundation.home import Home\n"
        "from clinical_assets.foundation.objects.opening import open_objects\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "open_objects(Home(Path(sys.argv[1]))).publish(sys.argv[2], lambda d: (d / 'big').write_bytes(b'x' * 1000))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), ADDRESS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{NotStored.__name__}: {tmp_path}" in done.stderr
    assert "nothing was stored. Free some space" in done.stderr
    objects = open_objects(Home(tmp_path))
    assert not objects.holds(ADDRESS)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert contents(objects.publish(ADDRESS, writes(FILES))) == FILES

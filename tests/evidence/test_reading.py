"""Bundles from strangers: what a bundle of the platform never is, is refused before it can do harm."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from clinical_assets.evidence.reading import LARGEST_FILE, MEGABYTE, MOST_FILES, Refused, read_bundle, read_json

Write = Callable[[zipfile.ZipFile], None]


def archive(path: Path, write: Write) -> Path:
    with zipfile.ZipFile(path / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as target:
        write(target)
    return path / "bundle.zip"


def linked(target: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("keys/platform.pub")
    entry.create_system, entry.external_attr = 3, 0o120777 << 16
    target.writestr(entry, "/etc/passwd")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "write",
    [
        lambda target: target.writestr("../outside.json", "x"),
        lambda target: target.writestr("/etc/cron.d/job", "x"),
        lambda target: target.writestr("a\\..\\b.json", "x"),
        lambda target: target.writestr("C:\\file.json", "x"),
        lambda target: target.writestr("nul.json", "x"),
        lambda target: target.writestr("a/b/c/d.json", "x"),
        lambda target: target.writestr("a\nb.json", "x"),
        lambda target: [target.writestr("card.json", text) for text in "xy"],
        lambda target: [target.writestr(name, "x") for name in ("card.json", "CARD.json")],
        lambda target: [target.writestr(f"f{index}", "") for index in range(MOST_FILES + 1)],
        lambda target: target.writestr("bomb.json", b"\0" * (LARGEST_FILE + 1)),
        lambda target: target.writestr("dense.json", b"\0" * (8 * MEGABYTE)),
        linked,
    ],
)  # fmt: skip
def test_hostile_zips_are_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        read_bundle(archive(tmp_path, write))


def test_a_zip_that_lies_about_sizes_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, lambda target: target.writestr("card.json", os.urandom(100_000)))
    data = path.read_bytes()
    path.write_bytes(data.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(Refused):
        read_bundle(path)


@pytest.mark.parametrize("damage", [b"", b"PK", b"not a zip at all"])
def test_what_is_no_zip_is_refused(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(damage)
    with pytest.raises(Refused, match="not an intact zip"):
        read_bundle(tmp_path / "bundle.zip")


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, lambda target: target.writestr("card.json", "x" * 1000))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Refused):
        read_bundle(path)


def test_links_and_pipes_in_a_folder_are_refused(tmp_path: Path) -> None:
    for name, make in (("link", lambda path: path.symlink_to("/etc/passwd")), ("pipe", os.mkfifo)):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        make(folder / "card.json")
        with pytest.raises(Refused, match="link, a pipe or a device"):
            read_bundle(folder)


def test_a_linked_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "keys").symlink_to("/etc")
    with pytest.raises(Refused):
        read_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"a":' * 5000, b'{"a": 1, "a": 2}', b"[NaN]", b"[1e999999, Infinity]", b"[" + b"9" * 5000 + b"]",
     b"\xff\xfe", b"{", b'["\\'],
)  # fmt: skip
def test_hostile_json_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        read_json(data, "card.json")


def test_plain_files_are_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("keys/a.pub", "key")
    (tmp_path / "bundle.zip").write_bytes(buffer.getvalue())
    assert read_bundle(tmp_path / "bundle.zip") == {"keys/a.pub": b"key"}
    assert read_json(b'{"a": [1, {"b": null}]}', "a") == {"a": [1, {"b": None}]}


def test_nothing_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such bundle"):
        read_bundle(tmp_path / "absent.zip")

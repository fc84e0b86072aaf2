from __future__ import annotations

import stat
from pathlib import Path

import pytest

from clinical_assets.audit.artifact_signature import sign_directory, verify_directory
from clinical_assets.audit.keys import KeyPermissionError, KeyStore


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "models" / "m"
    (directory / "nested").mkdir(parents=True)
    (directory / "model.json").write_text('{"family": "cox"}')
    (directory / "nested" / "weights.safetensors").write_bytes(b"\0" * 64)
    return directory


@pytest.fixture
def signature(model: Path, keys: KeyStore) -> Path:
    path = model.with_name("m.sig")
    sign_directory(model, path, keys)
    return path


def test_an_untouched_directory_verifies(model: Path, signature: Path, keys: KeyStore) -> None:
    state = verify_directory(model, signature, keys)
    assert state.ok
    assert state.fact is True
    assert stat.S_IMODE((keys.directory / "artifacts.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in model.parent.iterdir()) == ["m", "m.sig"]


def test_a_changed_file_shows(model: Path, signature: Path, keys: KeyStore) -> None:
    (model / "model.json").write_text('{"family": "xgb"}')
    state = verify_directory(model, signature, keys)
    assert not state.ok
    assert "model.json" in str(state.fact)


def test_an_extra_file_shows(model: Path, signature: Path, keys: KeyStore) -> None:
    (model / "nested" / "hook.py").write_text("")
    state = verify_directory(model, signature, keys)
    assert not state.ok
    assert "hook.py" in state.problem


def test_a_removed_file_shows(model: Path, signature: Path, keys: KeyStore) -> None:
    (model / "nested" / "weights.safetensors").unlink()
    assert not verify_directory(model, signature, keys).ok


@pytest.mark.parametrize("name", [".gitignore", ".gitattributes", ".git/hook.py", ".github/workflow.py", ".hidden"])
def test_a_file_that_hides_behind_a_customary_name_shows(
    name: str, model: Path, signature: Path, keys: KeyStore
) -> None:
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("")
    state = verify_directory(model, signature, keys)
    assert not state.ok
    assert name.split("/")[0] in state.problem


def test_an_empty_directory_shows(model: Path, signature: Path, keys: KeyStore) -> None:
    (model / "later").mkdir()
    assert "later" in verify_directory(model, signature, keys).problem


def test_a_renamed_file_shows(model: Path, signature: Path, keys: KeyStore) -> None:
    (model / "model.json").rename(model / "card.json")
    state = verify_directory(model, signature, keys)
    assert not state.ok
    assert "card.json" in state.problem


def test_one_changed_bit_shows(model: Path, signature: Path, keys: KeyStore) -> None:
    weights = model / "nested" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[17] ^= 1
    weights.write_bytes(data)
    assert not verify_directory(model, signature, keys).ok


@pytest.mark.parametrize("replaces_a_file", [True, False])
def test_a_link_shows_even_to_the_same_content(
    replaces_a_file: bool, model: Path, signature: Path, keys: KeyStore, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.json"
    outside.write_bytes((model / "model.json").read_bytes())
    if replaces_a_file:
        (model / "model.json").unlink()
    (model / ("model.json" if replaces_a_file else "link.json")).symlink_to(outside)
    state = verify_directory(model, signature, keys)
    assert not state.ok
    assert "symlink" in state.problem


def test_the_signature_of_another_key_does_not_verify(model: Path, keys: KeyStore, tmp_path: Path) -> None:
    foreign = KeyStore(tmp_path / "foreign")
    path = model.with_name("m.sig")
    sign_directory(model, path, foreign)
    assert "no public artifact key" in verify_directory(model, path, keys).problem
    sign_directory(model, model.with_name("own.sig"), keys)
    assert not verify_directory(model, path, keys).ok


def test_a_missing_or_broken_signature_does_not_verify(model: Path, signature: Path, keys: KeyStore) -> None:
    assert "no signature" in verify_directory(model, signature.with_name("none.sig"), keys).problem
    signature.write_text("{}")
    assert not verify_directory(model, signature, keys).ok


def test_signatures_outlive_the_rotation_of_the_key(model: Path, signature: Path, keys: KeyStore) -> None:
    (keys.directory / "artifacts.key").unlink()
    sign_directory(model, model.with_name("new.sig"), keys)
    assert verify_directory(model, signature, keys).ok
    assert verify_directory(model, model.with_name("new.sig"), keys).ok


def test_the_signature_stays_outside_what_it_signs(model: Path, keys: KeyStore) -> None:
    with pytest.raises(ValueError, match="outside the directory"):
        sign_directory(model, model / "m.sig", keys)


def test_an_artifact_key_open_to_others_is_refused(model: Path, signature: Path, keys: KeyStore) -> None:
    (keys.directory / "artifacts.key").chmod(0o644)
    with pytest.raises(KeyPermissionError, match="chmod 600"):
        sign_directory(model, signature, keys)

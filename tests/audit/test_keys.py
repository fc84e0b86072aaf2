from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.audit.keys import KeyPermissionError, KeyStore, UnknownKeyError


def _report_key_id(directory: str, barrier: Any, answers: Any) -> None:
    barrier.wait()
    answers.put(KeyStore(Path(directory)).signer("platform").key_id)


def test_first_use_creates_a_private_file_in_a_private_directory(keys: KeyStore) -> None:
    keys.signer("platform")
    assert stat.S_IMODE(keys.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((keys.directory / "platform.key").stat().st_mode) == 0o600
    assert not list(keys.directory.glob(".*"))


def test_the_same_key_is_used_ever_after(keys: KeyStore) -> None:
    first, again = keys.signer("platform"), KeyStore(keys.directory).signer("platform")
    assert first.key_id == again.key_id
    assert first.sign(b"x") == again.sign(b"x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_open_to_others_is_refused_with_the_remedy(keys: KeyStore, mode: int) -> None:
    keys.signer("platform")
    path = keys.directory / "platform.key"
    path.chmod(mode)
    with pytest.raises(KeyPermissionError, match=rf"chmod 600 {path}"):
        keys.signer("platform")


def test_a_key_directory_open_to_others_is_refused_with_the_remedy(keys: KeyStore) -> None:
    keys.signer("platform")
    keys.directory.chmod(0o755)
    with pytest.raises(KeyPermissionError, match=rf"chmod 700 {keys.directory}"):
        keys.signer("platform")


def test_an_empty_directory_made_by_the_state_layout_is_closed_on_first_use(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    directory.mkdir(mode=0o755)
    KeyStore(directory).signer("platform")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_racing_processes_end_up_with_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    racers = [context.Process(target=_report_key_id, args=(str(tmp_path / "keys"), barrier, answers)) for _ in range(3)]
    for racer in racers:
        racer.start()
    found = {answers.get(timeout=60) for _ in racers}
    for racer in racers:
        racer.join()
    assert len(found) == 1
    assert len(list((tmp_path / "keys").iterdir())) == 2  # one private, one public


@given(data=st.binary(max_size=200), flipped=st.integers(0, 511))
def test_a_signature_verifies_only_as_made(tmp_path_factory: pytest.TempPathFactory, data: bytes, flipped: int) -> None:
    directory = tmp_path_factory.getbasetemp() / "shared-keys"
    keys = KeyStore(directory)
    signer = keys.signer("alice")
    signature = signer.sign(data)
    altered = bytearray.fromhex(signature)
    altered[flipped // 8] ^= 1 << flipped % 8
    assert keys.verify(signer.key_id, data, signature, "alice")
    assert not keys.verify(signer.key_id, data + b"\0", signature)
    assert not keys.verify(signer.key_id, data, altered.hex())
    assert not keys.verify(signer.key_id, data, signature, "platform")


def test_public_keys_survive_the_rotation_of_the_private_key(keys: KeyStore) -> None:
    old = keys.signer("platform")
    signature = old.sign(b"record")
    (keys.directory / "platform.key").unlink()
    new = keys.signer("platform")
    assert new.key_id != old.key_id
    assert keys.verify(old.key_id, b"record", signature, "platform")
    assert keys.owner(new.key_id) == "platform"


def test_a_public_key_file_that_was_swapped_verifies_nothing(keys: KeyStore) -> None:
    platform, mallory = keys.signer("platform"), keys.signer("mallory")
    forged = mallory.sign(b"record")
    (keys.directory / f"platform.{platform.key_id}.pub").write_bytes(
        (keys.directory / f"mallory.{mallory.key_id}.pub").read_bytes()
    )
    assert not keys.verify(platform.key_id, b"record", forged)


@pytest.mark.parametrize("name", ["../platform", "", "a/b", ".hidden", "a..b", "x" * 70])
def test_names_that_are_no_plain_file_names_are_refused(keys: KeyStore, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a key"):
        keys.signer(name)


def test_unknown_keys_are_named(keys: KeyStore) -> None:
    with pytest.raises(UnknownKeyError, match="no key named 'alice'"):
        keys.signer("alice", create=False)
    with pytest.raises(UnknownKeyError, match="no public key"):
        keys.public_key("0" * 32)

"""Ports, desired state, pseudonyms and locks: the small files of the data plane."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clinical_assets.serving.arms import NoRoute, resolve
from clinical_assets.serving.desired import DesiredState, PlacementError
from clinical_assets.serving.locking import LockBusy, holder, locked
from clinical_assets.serving.ports import PortError, Ports
from clinical_assets.serving.pseudonym import KEY_FILE, PSEUDONYM, Pseudonymiser, PseudonymKeyError

A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_a_new_model_goes_where_the_champion_is_not(tmp_path: Path) -> None:
    desired = DesiredState(tmp_path)
    assert desired.read() == {}
    assert desired.place("colon", A) == "blue"
    assert desired.place("colon", A) == "blue"
    assert desired.place("colon", B, keep=A) == "green"
    assert desired.place("colon", C, keep=B) == "blue"
    assert desired.slot_of("colon", A) is None
    with pytest.raises(PlacementError, match="both slots are taken"):
        desired.place("colon", A)
    desired.retire("colon", C)
    desired.retire("colon", C)
    assert desired.place("colon", A) == "blue"
    assert DesiredState(tmp_path).read() == {"colon": {"blue": A, "green": B}}


def test_concurrent_placements_lose_nothing(tmp_path: Path) -> None:
    cancers = [f"c{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda cancer: DesiredState(tmp_path).place(cancer, A), cancers))
    assert sorted(DesiredState(tmp_path).read()) == sorted(cancers)


@pytest.mark.parametrize("value", ["0", "70000", "http", "", "-1"])
def test_a_bad_port_names_its_setting(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CLINICAL_GREEN_PORT", value)
    with pytest.raises(PortError, match="CLINICAL_GREEN_PORT"):
        Ports.from_env()


def test_two_settings_with_one_port_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_GREEN_PORT", "18080")
    with pytest.raises(PortError, match="CLINICAL_GREEN_PORT and CLINICAL_GATEWAY_PORT"):
        Ports.from_env()


def test_a_taken_port_names_port_holder_and_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = Ports(1, 2, 3, taken.getsockname()[1])
        with pytest.raises(PortError, match=f"port {ports.green} .green. is in use.*CLINICAL_GREEN_PORT") as caught:
            ports.require_free(["green"])
        assert str(os.getpid()) in str(caught.value)


def test_ports_are_recorded_for_other_processes(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="clinical up"):
        Ports.recorded(tmp_path)
    Ports(1, 2, 3, 4).record(tmp_path)
    assert Ports.recorded(tmp_path) == Ports(1, 2, 3, 4)


def test_pseudonyms_are_stable_keyed_and_differ_between_cancer_types(tmp_path: Path) -> None:
    one = Pseudonymiser(tmp_path / "one")
    assert PSEUDONYM.fullmatch(one("colon", "4711"))
    assert one("colon", "4711") == Pseudonymiser(tmp_path / "one")("colon", "4711")
    assert one("colon", "4711") != one("breast", "4711")
    assert one("colon", "4711") != Pseudonymiser(tmp_path / "two")("colon", "4711")
    assert (tmp_path / "one" / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_concurrent_first_use_makes_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: Pseudonymiser(tmp_path)("colon", "1"), range(16)))
    assert len(made) == 1


def test_an_open_or_damaged_pseudonym_key_is_refused_with_the_remedy(tmp_path: Path) -> None:
    Pseudonymiser(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(PseudonymKeyError, match="chmod 600"):
        Pseudonymiser(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o600)
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(PseudonymKeyError, match="restore it"):
        Pseudonymiser(tmp_path)


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = (
        "import sys, time; from pathlib import Path; from clinical_assets.serving.locking import locked\n"
        "with locked(Path(sys.argv[1]), 1): print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert holder(path) == child.pid
    with pytest.raises(LockBusy, match=str(child.pid)), locked(path, timeout=0.05):
        pass
    child.kill()
    child.wait()
    assert holder(path) is None


def headers(**changes: str) -> dict[str, str]:
    named = {"x_arm": "champion", "x_champion_digest": A, "x_challenger_digest": B, "x_challenger_weight": "25",
             "x_copy_for": "none", "x_rollout_id": "r1"}  # fmt: skip
    return {name.replace("_", "-"): value for name, value in (named | changes).items()}


def test_arms_follow_the_headers_of_the_gateway() -> None:
    champion = resolve(headers())
    assert champion is not None
    assert (champion.arm, champion.digest, champion.fallback, champion.propensity) == ("champion", A, None, 0.25)
    challenger = resolve(headers(x_arm="challenger"))
    assert challenger is not None
    assert (challenger.arm, challenger.digest, challenger.fallback) == ("challenger", B, A)
    copy = resolve(headers(x_copy_for="challenger"))
    assert copy is not None
    assert (copy.arm, copy.digest, copy.fallback, copy.rollout_id) == ("shadow", B, None, "r1")
    assert resolve(headers(x_arm="challenger", x_copy_for="challenger")) is None


@pytest.mark.parametrize("changes", [{"x_arm": "other"}, {"x_champion_digest": ""}, {"x_challenger_weight": "ten"}])
def test_a_request_without_a_route_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(NoRoute):
        resolve(headers(**changes))
    with pytest.raises(NoRoute, match="gateway"):
        resolve({})

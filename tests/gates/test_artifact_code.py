"""SE1-SE3 and the gate as a whole against malicious artifacts."""

from __future__ import annotations

import pickle
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.security.pickle_scan import pickles
from clinical_assets.gates.security.policy import SecurityPolicy
from clinical_assets.gates.security.sandbox.client import run_in_sandbox
from clinical_assets.gates.security.skops_types import skops_types
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import POLICY, found, release
from .malicious import OVERSIZED_HEADER, PROBES, VARIANTS, skops_archive, torch_dump, zipped


def judged(facts: ReleaseFacts, id: str) -> CheckResult:
    return found(security.judge(facts, POLICY), id)


@pytest.fixture
def copied(tmp_path: Path) -> ReleaseFacts:
    facts = release("colon")
    shutil.copytree(facts.model_dir, tmp_path / "model")
    return replace(facts, model_dir=tmp_path / "model")


def resigned(facts: ReleaseFacts) -> ReleaseFacts:
    """As if the insider who changed the files had also signed them: digests agree, only the content is wrong."""
    digest = sha256_directory(facts.model_dir)
    return replace(
        facts,
        model_digest=digest,
        digests=dict.fromkeys(("evaluated", "signed", "logged"), digest),
        sandbox=run_in_sandbox(facts.model_dir, digest),
    )


class TestPickles:
    @pytest.mark.parametrize("name", VARIANTS)
    def test_a_call_is_found_under_any_name(self, copied, name):
        (copied.model_dir / name).write_bytes(VARIANTS[name])
        result = judged(copied, "SE2")
        assert result.verdict is Verdict.BLOCK
        assert name in result.reason

    @pytest.mark.parametrize("name", PROBES)
    def test_the_whole_gate_blocks_even_when_everything_is_signed(self, copied, name):
        (copied.model_dir / name).write_bytes(PROBES[name])
        assert security.judge(resigned(copied), POLICY).verdict is Verdict.BLOCK

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_every_protocol_names_the_object(self, protocol):
        from .malicious import SYSTEM

        (stream,) = pickles("x", pickle.dumps({"deep": [SYSTEM]}, protocol))
        assert "posix.system" in stream.globals

    def test_an_archive_that_inflates_without_end_is_a_problem_not_a_crash(self, monkeypatch):
        monkeypatch.setattr("clinical_assets.gates.security.pickle_scan.MOST_BYTES", 1 << 20)
        assert "inflates beyond" in pickles("bomb", zipped({"zeros": b"\0" * (1 << 21)}))[0].problem

    def test_archives_nested_too_deep_are_a_problem(self):
        data = b"{}"
        for _ in range(9):
            data = zipped({"inner.zip": data})
        assert any("nested deeper" in stream.problem for stream in pickles("deep", data))

    def test_a_torch_archive_of_tensors_names_torch_and_is_not_on_the_list(self, copied):
        import torch

        (copied.model_dir / "weights.json").write_bytes(torch_dump({"w": torch.ones(3)}))
        assert "torch" in judged(copied, "SE2").reason

    def test_a_pickle_of_plain_values_is_named_by_se1_and_harmless_to_se2(self, copied):
        (copied.model_dir / "values.json").write_bytes(pickle.dumps({"a": [1, 2.0, "x"]}))
        assert judged(copied, "SE2").verdict is Verdict.PASS
        assert judged(copied, "SE1").verdict is Verdict.BLOCK

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def test_weights_are_never_taken_for_a_pickle(self, seed):
        weights = np.random.default_rng(seed).standard_normal(4_000)
        assert pickles("weights", save_tensors({"a": weights})) == []

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from([0x0178, 0x9C78, 0xDA78, 0x8B1F, 0x5D]), st.binary(min_size=40, max_size=400))
    def test_the_length_of_a_header_is_no_mark_of_compression(self, length, tail):
        assert pickles("weights", struct.pack("<Q", length) + b'{"a":{"dtype":"F64","shape":[2]}}' + tail) == []

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=400))
    def test_any_bytes_can_be_read(self, data):
        pickles("bytes", data)

    @pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen"])
    def test_no_policy_can_allow_what_runs_code(self, name):
        with pytest.raises(ValueError, match="can run code"):
            SecurityPolicy(pickle_globals=(name,))


class TestSkops:
    @pytest.mark.parametrize("name", ["evil.skops", "evil.json"])
    def test_a_type_outside_the_list_blocks_whatever_the_archive_calls_trusted(self, copied, name):
        (copied.model_dir / name).write_bytes(skops_archive("posix", "system"))
        result = judged(copied, "SE3")
        assert result.verdict is Verdict.BLOCK
        assert "posix.system" in result.reason

    def test_without_an_archive_it_does_not_apply_and_says_so(self):
        result = judged(release("colon"), "SE3")
        assert (result.verdict, result.value) == (Verdict.PASS, None)
        assert "does not apply" in result.reason

    def test_our_reading_holds_all_types_that_skops_calls_untrusted(self, tmp_path):
        skops = pytest.importorskip("skops.io")
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(2, random_state=0).fit([[0.0], [1.0]], [0, 1])
        path = tmp_path / "forest.skops"
        skops.dump(forest, path)
        types = skops_types(path.read_bytes())
        assert types is not None
        assert set(skops.get_untrusted_types(file=path)) <= types
        assert "sklearn.ensemble._forest.RandomForestClassifier" in types

    def test_a_schema_that_is_no_json_blocks(self, copied):
        with zipfile.ZipFile(copied.model_dir / "broken.skops", "w") as archive:
            archive.writestr("schema.json", "{")
        assert judged(copied, "SE3").verdict is Verdict.BLOCK


class TestWholeArtifact:
    """Changes that name no code, judged by the gate as a whole and by the checks that must see them."""

    def test_an_oversized_header(self, copied):
        (copied.model_dir / "weights.safetensors").write_bytes(OVERSIZED_HEADER)
        report = security.judge(resigned(copied), POLICY)
        assert {found(report, id).verdict for id in ("SE1", "SE16")} == {Verdict.BLOCK}

    def test_weights_that_are_no_numbers(self, copied):
        path = copied.model_dir / "weights.safetensors"
        tensors = load_tensors(path.read_bytes())
        first = next(iter(tensors))
        tensors[first] = np.full_like(tensors[first], np.nan)
        path.write_bytes(save_tensors(tensors))
        result = judged(resigned(copied), "SE16")
        assert result.verdict is Verdict.BLOCK
        assert "finite" in result.reason

    def test_changed_weights_betray_themselves_by_the_rows_with_known_answers(self, copied):
        path = copied.model_dir / "weights.safetensors"
        tensors = load_tensors(path.read_bytes())
        path.write_bytes(save_tensors({name: tensor * 1.5 for name, tensor in tensors.items()}))
        assert judged(resigned(copied), "SE16").verdict is Verdict.BLOCK

    def test_an_extra_file(self, copied):
        (copied.model_dir / "notes.json").write_text("{}")
        report = security.judge(copied, POLICY)
        assert found(report, "SE5").verdict is Verdict.BLOCK

    def test_a_link_out_of_the_directory(self, copied, tmp_path):
        (tmp_path / "outside.json").write_text("{}")
        (copied.model_dir / "link.json").symlink_to(tmp_path / "outside.json")
        assert security.judge(copied, POLICY).verdict is Verdict.BLOCK

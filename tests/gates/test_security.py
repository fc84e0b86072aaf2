from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as save_tensors

from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import POLICY, found, release


def judged(facts: ReleaseFacts, id: str) -> CheckResult:
    return found(security.judge(facts, POLICY), id)


@pytest.fixture
def copied(tmp_path: Path) -> ReleaseFacts:
    """The colon release with a model directory that a test may damage."""
    facts = release("colon")
    shutil.copytree(facts.model_dir, tmp_path / "model")
    return replace(facts, model_dir=tmp_path / "model")


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def object_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("slug", ["colon", "breast_fna"])
def test_a_clean_real_release_passes(slug):
    report = security.judge(release(slug), POLICY)
    verdicts = {check.id: check.verdict for check in report.checks}
    assert len(verdicts) == 18
    assert {id for id, verdict in verdicts.items() if verdict is not Verdict.PASS} <= {"SE7", "SE8", "SE17"}


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("model.pkl", pickle.dumps({"a": 1})),
            ("model.joblib", b"anything"),
            ("renamed.json", pickle.dumps({"a": 1})),
            ("renamed.safetensors", pickle.dumps({"a": 1})),
            ("renamed.ubj", pickle.dumps({"a": 1})),
            ("renamed.onnx", pickle.dumps({"a": 1})),
            ("renamed.skops", pickle.dumps({"a": 1})),
            ("with_pickle.skops", archive({"schema.json": b"{}", "weights.pkl": b"x"})),
            ("object_array.skops", archive({"schema.json": b"{}", "1.npy": object_array()})),
            ("tail.safetensors", save_tensors({"a": np.ones(2)}) + pickle.dumps(1)),
            ("no_suffix", b"data"),
        ],
    )
    def test_what_could_run_is_refused(self, copied, name, content):
        (copied.model_dir / name).write_bytes(content)
        result = judged(copied, "SE1")
        assert result.verdict is Verdict.BLOCK
        assert name in result.reason

    def test_a_nested_directory_is_searched(self, copied):
        (copied.model_dir / "extra").mkdir()
        (copied.model_dir / "extra" / "a.pickle").write_bytes(b"x")
        assert "extra/a.pickle" in judged(copied, "SE1").reason

    def test_a_link_out_of_the_directory_is_refused(self, copied, tmp_path):
        (tmp_path / "outside.json").write_text("{}")
        (copied.model_dir / "link.json").symlink_to(tmp_path / "outside.json")
        assert judged(copied, "SE1").verdict is Verdict.BLOCK

    def test_an_empty_directory_is_no_pass(self, copied, tmp_path):
        (tmp_path / "empty").mkdir()
        assert judged(replace(copied, model_dir=tmp_path / "empty"), "SE1").verdict is Verdict.BLOCK

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("good.json", b'{"a": 1}'),
            ("good.safetensors", save_tensors({"a": np.ones(2)})),
            ("good.skops", archive({"schema.json": b"{}"})),
            ("good.ubj", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner"),
        ],
    )
    def test_plain_data_is_accepted(self, copied, name, content):
        (copied.model_dir / name).write_bytes(content)
        assert judged(copied, "SE1").verdict is Verdict.PASS


class TestSignature:
    @pytest.mark.parametrize("outcome", [None, False, "", "extra file notes.txt is not covered"])
    def test_anything_but_verified_blocks(self, outcome):
        result = judged(replace(release("colon"), signature_ok=outcome), "SE4")
        assert result.verdict is Verdict.BLOCK
        assert result.remedy


class TestDigest:
    @pytest.mark.parametrize("role", ["evaluated", "signed", "logged", "deployed", "loaded"])
    def test_a_role_with_another_digest_blocks(self, role):
        facts = release("colon")
        result = judged(replace(facts, digests={**facts.digests, role: "0" * 64}), "SE5")
        assert result.verdict is Verdict.BLOCK
        assert role in result.reason

    @pytest.mark.parametrize("role", ["evaluated", "signed"])
    def test_a_missing_role_blocks(self, role):
        facts = release("colon")
        assert judged(replace(facts, digests={**facts.digests, role: None}), "SE5").verdict is Verdict.BLOCK

    def test_an_edited_file_blocks(self, copied):
        card = copied.model_dir / "model.json"
        card.write_bytes(card.read_bytes().replace(b"colon", b"color"))
        result = judged(copied, "SE5")
        assert result.verdict is Verdict.BLOCK
        assert "directory" in result.reason
        assert sha256_directory(copied.model_dir) != copied.model_digest

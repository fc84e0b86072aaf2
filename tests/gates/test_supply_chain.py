"""SE6-SE9 and SE17: what the platform runs on, against schemas, published scores and tampered files."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from clinical_assets.catalog import configs_directory
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.security.facts import Distribution, EnvironmentFacts, LockFile
from clinical_assets.gates.security.supply_chain import lock_file, sbom
from clinical_assets.gates.security.supply_chain.advisories import AdvisoryError, affects, import_snapshot, look_up
from clinical_assets.gates.security.supply_chain.cvss import base_score
from clinical_assets.gates.security.supply_chain.distributions import copyleft, installed
from clinical_assets.gates.security.supply_chain.secrets import scan_files, scan_text
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import NOW, POLICY, environment, found, release

ROOT = configs_directory().parent


def judged(id: str, **changes: Any) -> CheckResult:
    facts = replace(release("colon"), environment=environment().model_copy(update=changes))
    return found(security.judge(facts, POLICY), id)


@pytest.mark.parametrize("id", ["SE6", "SE7", "SE8", "SE9", "SE10", "SE11", "SE17"])
def test_without_facts_of_the_environment_nothing_is_claimed(id):
    assert found(security.judge(replace(release("colon"), environment=None), POLICY), id).verdict is (
        Verdict.INCONCLUSIVE
    )


class TestBillOfMaterials:
    def test_it_lists_what_is_installed_and_keeps_cyclonedxs_own_schema(self, tmp_path):
        data = sbom.write(installed(), "digest")
        schema = json.loads((resources.files("cyclonedx.schema") / "_res" / "bom-1.6.SNAPSHOT.schema.json").read_text())
        problems = list(jsonschema.Draft7Validator(schema).iter_errors(json.loads(data)))
        assert [error.message for error in problems if "spdx" not in error.message.lower()] == []
        (tmp_path / "bill.json").write_bytes(data)
        names = {name for name, _ in sbom.read(tmp_path / "bill.json", "test").components}
        assert {"numpy", "torch", "dagster"} <= names
        assert dict(sbom.read(tmp_path / "bill.json", "test").components)["numpy"] == metadata.version("numpy")

    def test_the_same_environment_gives_the_same_bytes(self):
        assert sbom.write(installed(), "digest") == sbom.write(installed(), "digest")

    @pytest.mark.parametrize("change", ["absent", "extra", "version"])
    def test_a_component_that_does_not_run_or_is_not_listed_blocks(self, change):
        bill = environment().sbom
        components = {
            "absent": bill.components[1:],
            "extra": (*bill.components, ("miner", "1.0")),
            "version": ((bill.components[0][0], "0.0.0"), *bill.components[1:]),
        }[change]
        result = judged("SE6", sbom=bill.model_copy(update={"components": components}))
        assert result.verdict is Verdict.BLOCK

    def test_something_else_than_a_bill_blocks(self, tmp_path):
        (tmp_path / "bill.json").write_text('{"bomFormat": "SPDX", "specVersion": "2.3"}')
        assert judged("SE6", sbom=sbom.read(tmp_path / "bill.json", "file")).verdict is Verdict.BLOCK
        assert judged("SE6", sbom=sbom.read(tmp_path / "none.json", "file")).verdict is Verdict.BLOCK


def entry(id: str, name: str, modified: str = "2027-01-10T00:00:00Z", **more: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": more.pop("events", [{"introduced": "0"}])}]
    package = {"ecosystem": more.pop("ecosystem", "PyPI"), "name": name}
    affected = {"package": package, "ranges": ranges, "versions": more.pop("versions", [])}
    return {"id": id, "modified": modified, "affected": [affected], **more}


CRITICAL = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
HIGH = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]


class TestKnownVulnerabilities:
    def looked_up(self, tmp_path: Path, *entries: dict[str, Any]) -> CheckResult:
        (tmp_path / "osv.json").write_text(json.dumps(list(entries)))
        import_snapshot(tmp_path / "osv.json", tmp_path / "pypi.json")
        return judged("SE7", advisories=look_up(environment().distributions, tmp_path / "pypi.json"))

    @pytest.fixture(autouse=True)
    def _today(self, monkeypatch):
        monkeypatch.setattr("clinical_assets.gates.security.supply_chain.advisories.time.time", lambda: NOW)

    @pytest.mark.parametrize(
        ("severity", "verdict"), [(CRITICAL, Verdict.BLOCK), (HIGH, Verdict.WARN), ([], Verdict.WARN)]
    )
    def test_the_score_decides_and_an_unstated_one_warns(self, tmp_path, severity, verdict):
        result = self.looked_up(tmp_path, entry("GHSA-1", "NumPy", severity=severity))
        assert result.verdict is verdict
        assert "GHSA-1" in result.reason

    def test_nothing_known_about_what_is_installed_passes(self, tmp_path):
        result = self.looked_up(tmp_path, entry("GHSA-1", "no-such-package", severity=CRITICAL))
        assert result.verdict is Verdict.PASS
        assert result.n == len(environment().distributions)

    def test_an_old_snapshot_says_nothing_but_what_it_knows_still_blocks(self, tmp_path):
        old = "2026-10-01T00:00:00Z"
        assert self.looked_up(tmp_path, entry("A", "absent", old)).verdict is Verdict.INCONCLUSIVE
        assert self.looked_up(tmp_path, entry("A", "numpy", old, severity=CRITICAL)).verdict is Verdict.BLOCK

    def test_no_snapshot_is_inconclusive_and_an_audit_of_nothing_an_error(self, tmp_path):
        assert judged("SE7").verdict is Verdict.INCONCLUSIVE
        (tmp_path / "osv.json").write_text(json.dumps([entry("A", "numpy")]))
        import_snapshot(tmp_path / "osv.json", tmp_path / "pypi.json")
        assert judged("SE7", advisories=look_up((), tmp_path / "pypi.json")).verdict is Verdict.ERROR

    def test_two_databases_about_one_fault_count_once_with_the_higher_score(self, tmp_path):
        (tmp_path / "osv.json").write_text(
            json.dumps([entry("PYSEC-1", "numpy", aliases=["CVE-1"]),
                        entry("GHSA-1", "numpy", aliases=["CVE-1"], severity=CRITICAL)])
        )  # fmt: skip
        import_snapshot(tmp_path / "osv.json", tmp_path / "pypi.json")
        (one,) = look_up(environment().distributions, tmp_path / "pypi.json").found
        assert (one.ids, one.score) == (("CVE-1", "GHSA-1", "PYSEC-1"), 9.8)

    def test_withdrawn_entries_and_other_ecosystems_do_not_count(self, tmp_path):
        result = self.looked_up(
            tmp_path,
            entry("A", "numpy", withdrawn="2027-01-11T00:00:00Z", severity=CRITICAL),
            entry("B", "numpy", ecosystem="npm", severity=CRITICAL),
        )
        assert result.verdict is Verdict.PASS

    def test_a_zip_is_read_too_and_its_age_is_that_of_its_newest_entry(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("A.json", json.dumps(entry("A", "numpy", "2026-12-01T00:00:00Z")))
            archive.writestr("B.json", json.dumps(entry("B", "torch", "2027-01-02T00:00:00.5Z")))
        taken = import_snapshot(tmp_path / "all.zip", tmp_path / "pypi.json")
        assert (taken.taken_utc, taken.entries) == ("2027-01-02T00:00:00.5Z", 2)

    @pytest.mark.parametrize(
        "content", ["[]", "{", '[{"id": "A"}]', json.dumps([entry("A", "numpy", "2031-01-01T00:00:00Z")])]
    )
    def test_a_file_that_is_no_snapshot_is_refused_and_nothing_is_written(self, tmp_path, content):
        (tmp_path / "osv.json").write_text(content)
        with pytest.raises(AdvisoryError):
            import_snapshot(tmp_path / "osv.json", tmp_path / "pypi.json")
        assert not (tmp_path / "pypi.json").exists()

    @given(
        st.lists(st.integers(1, 30), min_size=2, max_size=6, unique=True).map(sorted),
        st.integers(0, 31),
        st.booleans(),
    )
    def test_ranges_mean_what_packagings_specifiers_say(self, bounds, version, closed):
        """Pairs of introduced and fixed (or last_affected), against `>=a,<b` (or `<=b`)."""
        pairs = [(bounds[at], bounds[at + 1]) for at in range(0, len(bounds) - 1, 2)]
        end = "last_affected" if closed else "fixed"
        events = [event for low, high in pairs for event in ({"introduced": f"1.{low}"}, {end: f"1.{high}"})]
        expected = any(
            Version(f"1.{version}") in SpecifierSet(f">=1.{low},{'<=' if closed else '<'}1.{high}")
            for low, high in pairs
        )
        assert affects({"versions": [], "ranges": [events[::-1]]}, f"1.{version}") is expected

    def test_a_listed_version_counts_whatever_the_ranges_say(self):
        listed = {"versions": ["2.0"], "ranges": [[{"introduced": "3.0"}]]}
        assert affects(listed, "2.0")
        assert affects(listed, "2.0+cpu")
        assert not affects(listed, "2.1")


@pytest.mark.parametrize(
    ("vector", "score"),
    [  # examples of the CVSS v3.1 specification document and of NVD
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:N", 7.4),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("CVSS:3.1/AV:N", None),
    ],
)
def test_base_scores_are_the_published_ones(vector, score):
    assert base_score(vector) == score


HASH = "--hash=sha256:" + "0" * 64


class TestLock:
    def read(self, tmp_path: Path, text: str) -> LockFile:
        (tmp_path / "a.lock").write_text(text)
        return lock_file.read(tmp_path / "a.lock", "a.lock")

    def test_the_platforms_own_lock_pins_everything_with_hashes(self):
        lock = lock_file.read(ROOT / "deploy" / "python" / "requirements.lock", "lock")
        assert (lock.unhashed, lock.overrides, lock.problem) == ((), (), "")
        required = {one.name for one in installed() if one.required}
        assert required - lock.pins.keys() == set(), "compile the lock again, see CONTRIBUTING.md"

    @pytest.mark.parametrize(
        "line",
        [
            "numpy==2.0", "numpy>=2.0 " + HASH, "numpy " + HASH, "numpy==2.* --hash=md5:00",
            "--index-url https://elsewhere.example/simple", "--extra-index-url=https://elsewhere.example", "-e .",
            "--find-links wheels", "numpy @ https://elsewhere.example/numpy.whl " + HASH, "./numpy.whl " + HASH,
        ],
    )  # fmt: skip
    def test_a_line_without_hash_or_from_elsewhere_blocks(self, tmp_path, line):
        lock = self.read(tmp_path, f"pandas==2.0 \\\n    {HASH}\n{line}\n")
        assert judged("SE8", lock=lock).verdict is Verdict.BLOCK

    def test_markers_for_other_systems_need_hashes_and_pin_nothing_here(self, tmp_path):
        lock = self.read(
            tmp_path, f"a==1 {HASH}\nb==2 ; sys_platform == 'never' {HASH}\nc==3 ; sys_platform == 'never'"
        )
        assert lock.pins == {"a": "1"}
        assert len(lock.unhashed) == 1

    def test_another_version_than_the_locked_one_warns(self):
        lock = environment().lock
        changed = lock.model_copy(update={"pins": {**lock.pins, "numpy": "0.1"}})
        result = judged("SE8", lock=changed)
        assert result.verdict is Verdict.WARN
        assert "numpy" in result.reason

    def test_another_build_of_the_locked_version_is_that_version(self):
        assert lock_file.same_version("2.13.0+cpu", "2.13.0")
        assert not lock_file.same_version("2.13.1", "2.13.0")

    def test_no_lock_says_nothing(self, tmp_path):
        assert judged("SE8", lock=lock_file.read(tmp_path / "none", "none")).verdict is Verdict.INCONCLUSIVE


AWS = "AKIA" + "IOSFODNN7ABCDEFG"
CREDENTIALS = {
    "aws.py": f'key = "{AWS}"',
    "key.txt": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "github.md": "token ghp_" + "a1B2" * 9,
    "url.toml": 'database = "postgresql://clinic:' + 'Tr0ub4dor@db.clinic.org/trials"',
    "settings.yaml": "database_password: " + "Tr0ub4dor-3",
    "slack.json": '{"hook": "xoxb-' + "1234567890-1234567890123-" + 'abcdefghijklmnopqrstuvwx"}',
}


class TestSecrets:
    @pytest.mark.parametrize("name", CREDENTIALS)
    def test_a_credential_in_the_artifact_blocks_and_is_not_repeated(self, name):
        facts = release("colon")
        changed = replace(facts, artifacts_text={**facts.artifacts_text, name: CREDENTIALS[name]})
        result = found(security.judge(changed, POLICY), "SE9")
        assert result.verdict is Verdict.BLOCK
        assert name in result.reason
        assert "Tr0ub4dor" not in result.model_dump_json()
        assert AWS not in result.model_dump_json()

    def test_this_repository_holds_none(self):
        assert environment().secrets.found == ()
        assert environment().secrets.files > 300

    @pytest.mark.parametrize(
        "line",
        [
            'path = "postgresql://user:password@host/name"',  # pragma: allowlist secret
            "password: ${DATABASE_PASSWORD}",
            "def test_a_pool_weighs_each_setting_alike_and_follows_kaplan_meier(cohort):",
            "sha256: " + "0f" * 32,
            "- {name: keys, secret: {secretName: clinical-keys, defaultMode: 288}}",
            "postgresqlSecretName: clinical-dagster-postgresql",
            f"key: {AWS}  # pragma: allowlist secret",
        ],
    )
    def test_examples_and_digests_are_none(self, line):
        assert scan_text("settings.yaml", line.encode()) == []

    def test_a_credential_beside_the_name_of_a_secret_is_found(self):
        line = b"secret: {secretName: clinical-keys, password: Tr0ub4dor9xx}"  # pragma: allowlist secret
        assert scan_text("settings.yaml", line) == [(1, "Secret Keyword")]

    def test_a_file_that_changes_is_scanned_again_and_one_that_moves_is_not(self, tmp_path, monkeypatch):
        (tmp_path / "a.py").write_text("x = 1")
        files, cache = {"a.py": tmp_path / "a.py"}, tmp_path / "cache.json"
        assert scan_files(files, cache).found == ()
        (tmp_path / "a.py").write_text(CREDENTIALS["aws.py"])
        assert [one.line for one in scan_files(files, cache).found] == [1]
        monkeypatch.setattr(
            "clinical_assets.gates.security.supply_chain.secrets.scan_text", lambda *_: pytest.fail("scanned")
        )
        assert [one.place for one in scan_files({"b.py": tmp_path / "a.py"}, cache).found] == ["b.py"]


class TestLicences:
    @pytest.mark.parametrize(
        ("named", "family"),
        [
            ("GPL-3.0-or-later", "GPL"),
            ("GNU General Public License v3 (GPLv3)", "GPL"),
            ("GNU Affero General Public License v3", "AGPL"),
            ("AGPL-3.0-only", "AGPL"),
            ("LGPL-3.0-or-later", None),
            ("GNU Lesser General Public License v2 or later (LGPLv2+)", None),
            ("MIT OR GPL-2.0-only", None),
            ("GPL-3.0-or-later WITH GCC-exception-3.1", None),
            ("BSD-3-Clause AND MIT", None),
            ("Mozilla Public License 2.0 (MPL 2.0)", None),
            ("", None),
        ],
    )
    def test_families(self, named, family):
        assert copyleft(named, ("AGPL", "GPL")) == family

    def test_a_copyleft_distribution_warns_and_says_whether_it_is_needed(self):
        added = Distribution(name="deepchecks", version="0.19", licence="AGPL-3.0", required=False)
        clean = tuple(one for one in environment().distributions if not copyleft(one.licence, ("AGPL", "GPL")))
        result = judged("SE17", distributions=(*clean, added))
        assert result.verdict is Verdict.WARN
        assert "deepchecks: none required" in result.reason
        assert judged("SE17", distributions=clean).verdict is Verdict.PASS

    def test_the_platform_requires_none(self):
        assert [one.name for one in installed() if one.required and copyleft(one.licence, ("AGPL", "GPL"))] == []


def test_facts_survive_their_storage():
    facts = environment()
    assert EnvironmentFacts.model_validate_json(facts.model_dump_json()) == facts

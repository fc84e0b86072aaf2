"""The container files: linted, built from what is there, and the model server from its own short lock."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from clinical_assets.gates.security.supply_chain import container_rules, lock_file
from tests.deployment.rendering import ROOT
from tests.servers import program

DOCKER = ROOT / "deploy" / "docker"
FILES = sorted(DOCKER.glob("Dockerfile.*"))


def instructions(file: Path, name: str) -> list[str]:
    joined = file.read_text().replace("\\\n", " ")
    return [line.removeprefix(f"{name} ") for line in joined.splitlines() if line.startswith(f"{name} ")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.suffix[1:])
def test_container_files_are_clean_for_hadolint_and_for_our_own_gate(file: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or program("hadolint")
    done = subprocess.run([hadolint, "--no-color", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert container_rules.breaches(file.read_text()) == []
    assert instructions(file, "HEALTHCHECK")


def test_both_images_stand_on_the_same_bytes() -> None:
    bases = {base.split(" AS ")[0] for file in FILES for base in instructions(file, "FROM")}
    assert len(bases) == 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.suffix[1:])
def test_what_is_copied_is_there_and_reaches_the_builder(file: Path) -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for copied in instructions(file, "COPY"):
        if copied.startswith("--from="):
            continue
        for source in copied.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in sent, source


def test_state_keys_and_secrets_do_not_reach_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines.index("*") < lines.index("!deploy") < lines.index("deploy/secrets")
    assert not {".git", ".state", "*"} & {line[1:] for line in lines if line.startswith("!")}


@pytest.mark.parametrize("name", ["requirements.lock", "serving.lock"])
def test_both_images_are_installed_from_hashes(name: str) -> None:
    lock = lock_file.read(ROOT / "deploy" / "python" / name, name)
    assert lock is not None
    assert (lock.problem, lock.unhashed, lock.overrides) == ("", (), ())
    (file,) = [file for file in FILES if name in file.read_text()]
    installs = [line for line in instructions(file, "RUN") if "pip install" in line]
    assert all("--require-hashes" in line or "--no-build-isolation ." in line for line in installs)


def test_the_locks_agree_with_each_other_and_with_what_is_asked_for() -> None:
    def pinned(name: str) -> dict[str, str]:
        text = (ROOT / "deploy" / "python" / name).read_text()
        return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)(?: ;.*)? \\$", text, re.MULTILINE))

    serving, platform = pinned("serving.lock"), pinned("requirements.lock")
    wanted = re.findall(r"^([a-z0-9-]+)", (ROOT / "deploy" / "python" / "serving.in").read_text(), re.MULTILINE)
    assert set(wanted) <= serving.keys()
    both = serving.keys() & platform.keys()
    assert {name: serving[name] for name in both} == {name: platform[name] for name in both}
    assert "torch" not in serving
    assert len(serving) < len(platform) / 4


def test_the_model_server_needs_no_package_beyond_its_lock() -> None:
    """Every other distribution is hidden, and whatever the server imports at its start is imported."""
    program_text = textwrap.dedent(
        """
        import importlib.abc, importlib.metadata, re, sys
        from pathlib import Path
        locked = set(re.findall(r"^([a-z0-9.-]+)==", Path("deploy/python/serving.lock").read_text(), re.MULTILINE))
        by_module = importlib.metadata.packages_distributions()
        normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()
        hidden = {
            module for module, owners in by_module.items()
            if not {normal(owner) for owner in owners} & (locked | {"clinical-assets"})
        } - {"clinical_assets", "resources", "sensors"}
        class Hide(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in hidden:
                    raise ModuleNotFoundError(f"{name} is not in serving.lock", name=name)
        sys.meta_path.insert(0, Hide())
        assert "torch" in hidden and "dagster" in hidden and "pandas" not in hidden
        import boto3, psycopg2
        import clinical_assets.serving.model_server
        """
    )
    done = subprocess.run([sys.executable, "-c", program_text], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

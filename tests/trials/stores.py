"""Places where users keep data, each of them real: a DVC repository; the S3 server is in `tests.s3`."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DvcRepository:
    """A Git repository with DVC in it; the data lie in its cache, not in Git."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> DvcRepository:
        from dvc.repo import Repo

        path.mkdir()
        repository = cls(path)
        repository._git("init", "-q")
        Repo.init(str(path)).close()
        return repository

    def commit(self, name: str, content: bytes, tag: str) -> None:
        """Track `content` as `name` and tag the commit that says so."""
        from dvc.repo import Repo

        file = self.path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.unlink(missing_ok=True)
        file.write_bytes(content)
        with Repo(str(self.path)) as tracked:
            tracked.add(str(file))
        self._git("add", "-A")
        self._git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", tag)
        self._git("tag", tag)

    def commit_of(self, tag: str) -> str:
        return self._git("rev-parse", tag)

    def listed(self, tag: str) -> str:
        """What Git holds about the tracked files at `tag`: their md5 among it."""
        names = [name for name in self._git("ls-tree", "-r", "--name-only", tag).splitlines() if name.endswith(".dvc")]
        return "\n".join(self._git("show", f"{tag}:{name}") for name in names)

    def lose_data(self) -> None:
        """Empty the cache and the work tree, as on another machine without a remote."""
        shutil.rmtree(self.path / ".dvc" / "cache")

    def _git(self, *arguments: str) -> str:
        own = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(["git", *arguments], cwd=self.path, env=own, check=True, capture_output=True, text=True)
        return done.stdout.strip()

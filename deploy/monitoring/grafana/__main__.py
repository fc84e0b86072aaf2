"""`python -m deploy.monitoring.grafana` writes the dashboards as JSON beside this file; `--check` compares instead."""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.monitoring.grafana.boards import BOARDS

HERE = Path(__file__).parent / "dashboards"


def rendered() -> dict[Path, str]:
    """Content of every file."""
    encode = JSONEncoder(sort_keys=True, indent=1).encode
    return {HERE / f"{name}.json": encode(build().build()) + "\n" for name, build in BOARDS.items()}


def main() -> int:
    differing = [path for path, text in rendered().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        print(*(f"{path.name} is not what the code gives" for path in differing), sep="\n")
        return int(bool(differing))
    for path, text in rendered().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Rules for container files: the image is built from known bytes and does not run as root."""

from __future__ import annotations

import re

_REMOTE = re.compile(r"^(https?|ftp|git)(://|@)")
_ROOT = re.compile(r"^(root|0+)(:|$)")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def breaches(text: str) -> list[str]:
    """What the file breaks, in words; it is read instruction by instruction, with stages and inherited users."""
    found: list[str] = []
    users: dict[str, str] = {}
    stage, user = "", ""
    instructions = _instructions(text)
    if not any(name == "FROM" for name, _ in instructions):
        return ["no FROM: no container file, or one that cannot be read"]
    for name, rest in instructions:
        words = [word for word in rest.split() if not word.startswith("--")]
        if name == "FROM":
            image = words[0] if words else ""
            user = users.get(image.lower(), "")
            stage = words[2].lower() if len(words) > 2 and words[1].upper() == "AS" else ""
            if image.lower() not in users:
                found += _base(image)
            users[stage or image.lower()] = user
        elif name == "USER":
            user = words[0] if words else ""
            users[stage] = user
        elif name == "ADD" and any(_REMOTE.match(word.strip('[],"')) for word in words):
            found.append("ADD from a URL: fetch with a checksum in a build stage, and COPY")
    if not user or _ROOT.match(user):
        found.append("the image runs as root: end with USER and a numeric id above 0")
    return list(dict.fromkeys(found))


def _base(image: str) -> list[str]:
    if image == "scratch":
        return []
    problems = []
    name = image.rsplit("/", 1)[-1].split("@")[0]
    if name.endswith(":latest") or (":" not in name and "@" not in image):
        problems.append(f"base image {image} is `latest`: name a version")
    if not _DIGEST.search(image):
        problems.append(f"base image {image} is not pinned by digest: add @sha256:…")
    return problems


def _instructions(text: str) -> list[tuple[str, str]]:
    """Name in capitals and the rest; continued lines joined, comments and here-documents left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"[\\`]\n", " ", "\n".join(lines))
    here = re.sub(r"<<-?[\"']?(\w+)[\"']?(.*)\n(?:.*\n)*?\1(\n|$)", r"\2\n", joined)
    split = (line.strip().partition(" ") for line in here.splitlines() if line.strip())
    return [(name.upper(), rest.strip()) for name, _, rest in split]

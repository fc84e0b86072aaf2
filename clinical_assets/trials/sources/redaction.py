"""Text that may be shown: messages of other libraries without what the environment keeps secret."""

from __future__ import annotations

import os
import re

SECRET_NAME = re.compile(r"SECRET|PASSW|TOKEN|KEY|CREDENTIAL|SIGNATURE|AUTH|DSN|URL|URI", re.IGNORECASE)
"""Names of environment variables whose values never appear in a message."""

_SHORTEST = 5
"""Shorter values occur in any text by chance."""
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET_PARAMETER = re.compile(
    r"[?&](?:[\w-]*(?:sig|signature|token|secret|passw\w*|key|credential|auth)[\w-]*)=", re.IGNORECASE
)


def redacted(text: object, *secrets: str | None) -> str:
    """The first line of `text` with `secrets`, secret environment values and user parts of URLs replaced by `***`."""
    line = str(text).strip().partition("\n")[0]
    hidden = {value for name, value in os.environ.items() if SECRET_NAME.search(name)} | {s for s in secrets if s}
    for value in sorted(hidden, key=len, reverse=True):
        if len(value) >= _SHORTEST or value in secrets:
            line = line.replace(value, "***")
    return _USERINFO.sub("***@", line)


def holds_credentials(location: str) -> bool:
    """Whether a URL carries a user, a password or a signature, which belong in the environment."""
    user = _USERINFO.search(location)
    named = user is not None and (":" in user[0] or not location.startswith("ssh://"))
    return named or _SECRET_PARAMETER.search(location) is not None

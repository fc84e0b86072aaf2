"""Mirrored copies that arrive on a port of their own, where the proxy cannot mark them (Istio)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clinical_assets.serving import arms

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True)
class CopiesPort:
    """Marks what arrives on `port` as a copy for this server's model `digest`, whatever the request says of itself."""

    app: ASGIApp
    port: int
    digest: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["server"][1] == self.port:
            headers = {name.lower(): value for name, value in scope["headers"]}
            ours = headers.get(arms.CHALLENGER.encode()) == self.digest.encode()
            target = b"challenger" if ours else b"champion"
            mark = arms.COPY_FOR.encode()
            kept = [(name, value) for name, value in scope["headers"] if name.lower() != mark]
            scope = {**scope, "headers": [*kept, (mark, target)]}
        await self.app(scope, receive, send)

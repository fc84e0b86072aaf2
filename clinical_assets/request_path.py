"""The serving path from the bytes of a request on, as the security gate tries it: the server's own functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clinical_assets.gates.security.facts import ServedAnswer

if TYPE_CHECKING:
    from clinical_assets.modeling.artifact import Scorer


def request_path(scorer: Scorer) -> Callable[[bytes], ServedAnswer]:
    """Body of a request -> what a server that holds `scorer` would say. Anything but a refusal is let through."""
    from clinical_assets.serving.input_validation import InvalidInput, parse_json, rows_of

    def serve(body: bytes) -> ServedAnswer:
        try:
            rows = rows_of(parse_json(body), scorer.card)
        except InvalidInput as refused:
            return ServedAnswer(status=refused.status, reason=str(refused))
        return ServedAnswer(status=200, risks=tuple(float(risk) for risk in scorer.risk(rows)))

    return serve

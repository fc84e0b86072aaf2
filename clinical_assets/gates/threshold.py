"""How a threshold is declared: default, bounds, meaning, and the source of the default."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

GENERAL_KNOWLEDGE = "general knowledge; a default to be set per cancer type"


def threshold(default: Any, source: str, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"source": source}, **bounds)


class Thresholds(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def source(cls, name: str) -> str:
        """Where the default of the threshold `name` comes from.

        Raises:
            KeyError: no threshold of that name.
        """
        return cls.model_fields[name].json_schema_extra["source"]  # type: ignore[index,return-value]

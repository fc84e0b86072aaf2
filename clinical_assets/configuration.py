"""Reading configuration files strictly: every complaint names the file, the key and the remedy."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class CatalogError(ValueError):
    """The configuration cannot be used."""


class _StrictLoader(yaml.CSafeLoader):
    """Safe YAML in which a key may appear only once in a mapping. libyaml reads ten times as fast as pure Python."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} appears twice; keep one of them", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates)


def read_yaml(file: Path) -> dict[str, Any]:
    """One mapping from one file; an empty file is an empty mapping.

    Raises:
        CatalogError: unreadable file, bad syntax, a key twice, or something else than a mapping.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{file}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CatalogError(f"{file}:{place} is not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CatalogError(f"{file}: must hold keys and values at top level, found a {type(content).__name__}")
    return content


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`override` over `base`; nested mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def validate(model: type[Model], content: Mapping[str, Any], file: Path) -> Model:
    """
    Raises:
        CatalogError: one line per problem, with the key, what is wrong, and the nearest known key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_problem(model, content, item) for item in error.errors()]
        raise CatalogError(f"{file}:\n" + "\n".join(f"  {line}" for line in lines)) from error


def _problem(model: type[BaseModel], content: Any, item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(_named(content, location)) or "(file)"
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        remedy = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(sorted(known))}"
        return f"{key}: unknown key; {remedy}"
    if item["type"] == "missing":
        return f"{key}: missing; add it"
    return f"{key}: {item['msg'].removeprefix('Value error, ')}"


def _named(content: Any, location: list[str]) -> list[str]:
    """The path of a problem, with a column's name instead of its position."""
    named = []
    for part in location:
        if isinstance(content, list) and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
            named.append(str(content.get("name", part)) if isinstance(content, dict) else part)
            continue
        if isinstance(content, dict) and part not in content and part in (content.get("kind"),):
            continue  # pydantic names the chosen member of a tagged union; the file does not
        content = content.get(part) if isinstance(content, dict) else None
        named.append(part)
    return named


def _known_keys(model: Any, location: list[str]) -> list[str]:
    models = [model]
    for part in location:
        found = []
        for candidate in models:
            if part in candidate.model_fields:
                found += _models_in(candidate.model_fields[part].annotation)
        models = found or models
    return [key for candidate in models for key in candidate.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, tuple, list, dict) or get_args(annotation):
        return [model for part in get_args(annotation) for model in _models_in(part)]
    return []

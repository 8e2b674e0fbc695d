"""What `trainkit list` prints: every component with its options, types and defaults, from the configs themselves."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

import trainkit.experiment  # noqa: F401  # registers every family
from trainkit import registry

FAMILIES = {
    "data": "data",
    "models": "model",
    "losses": "loss",
    "metrics": "metric",
    "optimizers": "optimizer",
    "schedulers": "scheduler",
    "transforms": "transform",
}


def lines(families: Iterable[str], *, brief: bool) -> Iterator[str]:
    """The listing, line by line; `brief` leaves out what the options mean."""
    for family in families:
        yield f"{family}"
        for name in registry.names(FAMILIES[family]):
            config_class = registry.find(FAMILIES[family], name)
            about = inspect.getdoc(config_class) or ""
            yield f"  {name:<16} {about.splitlines()[0] if about else ''}".rstrip()
            yield from _options(config_class, brief)
        yield ""


def _options(config_class: type[BaseModel], brief: bool) -> Iterator[str]:
    schema = config_class.model_json_schema()
    for key, field in config_class.model_fields.items():
        if key == "name":
            continue
        kind = type_text(schema["properties"][key], schema.get("$defs", {}))
        default = field.get_default(call_default_factory=True)
        shown = "required" if default is PydanticUndefined else _value(default)
        yield f"      {key} = {shown}   ({kind})"
        if not brief and field.description:
            yield f"          {' '.join(field.description.split())}"


def _value(default: Any) -> str:
    plain = to_jsonable_python(default)
    return plain if isinstance(plain, str) else json.dumps(plain)


def type_text(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema in a few words: `whole number >= 1`, `adam or sgd`, `list of number`."""
    if "$ref" in schema:
        return type_text(definitions[schema["$ref"].split("/")[-1]], definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_text(option, definitions) for option in schema["anyOf"]))
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {type_text(items, definitions)}"
    names = {"integer": "whole number", "boolean": "true or false", "string": "text", "null": "null"}
    text = names.get(schema.get("type", ""), schema.get("type", "mapping"))
    text = "mapping" if text == "object" else text
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return f"{text} {', '.join(bounds)}".rstrip()

"""What `trainkit list` and `trainkit schema` print: every option, its type and default, from the configs themselves."""

from __future__ import annotations

import dataclasses
import inspect
import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python

from trainkit.config import registry
from trainkit.config.base import Config
from trainkit.config.yamlfile import show
from trainkit.experiment.schema import ExperimentConfig


@dataclasses.dataclass(frozen=True)
class Option:
    """A key of a component or section, in words: its type, its default (None: it is required), what it means."""

    key: str
    kind: str
    default: str | None
    text: str


def listing(families: Iterable[str], *, brief: bool) -> Iterator[str]:
    """The listing, line by line; `brief` leaves out what the options mean."""
    for family in families:
        yield family
        for name, config_class in members(family).items():
            about, _, _ = (inspect.getdoc(config_class) or "").partition("\n\n")
            yield from _wrapped(f"{name:<16}  {about}", indent=2, hanging=20)
            for option in options(config_class):
                shown = "is required" if option.default is None else f"= {option.default}"
                yield from _wrapped(f"{option.key} {shown}   ({option.kind})", indent=6, hanging=12)
                if not brief:
                    yield from _wrapped(option.text, indent=10, hanging=10)
        yield ""


def schema() -> dict[str, Any]:
    """The JSON Schema of a YAML file, with which editors complete keys and show mistakes."""
    found = ExperimentConfig.model_json_schema()
    found["properties"]["extends"] = {"type": "string", "description": "A YAML file that this one changes."}
    found["anyOf"] = [{"required": found.pop("required")}, {"required": ["extends"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def members(family: str) -> dict[str, type[BaseModel]]:
    """The components of a family, such as `optimizers`, or the sections of a config (`sections`), by name."""
    for singular, plural in registry.FAMILIES.items():
        if family == plural:
            return {name: registry.find(singular, name) for name in registry.names(singular)}
    fields = ExperimentConfig.model_fields.items()
    return {
        key: type(field.default)
        for key, field in fields
        if isinstance(field.default, Config) and "name" not in type(field.default).model_fields
    }


def options(config_class: type[BaseModel]) -> Iterator[Option]:
    """The keys of a config but its name, in their order."""
    assert issubclass(config_class, Config)
    fields = config_class.model_json_schema()
    texts = config_class.field_texts()
    for key, field in config_class.model_fields.items():
        if key != "name":
            default = field.get_default(call_default_factory=True)
            yield Option(
                key,
                type_text(fields["properties"][key], fields.get("$defs", {})),
                None if default is PydanticUndefined else _value(default),
                texts.get(key, ""),
            )


def _wrapped(text: str, *, indent: int, hanging: int) -> list[str]:
    text = text.replace("\n", " ")
    return textwrap.wrap(
        text, 100, initial_indent=" " * indent, subsequent_indent=" " * hanging, break_on_hyphens=False
    )


def _value(default: Any) -> str:
    plain = to_jsonable_python(default)
    return plain if isinstance(plain, str) and plain else json.dumps(plain)


def type_text(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema in a few words: `whole number >= 1`, `adam or sgd`, `list of number`."""
    if "$ref" in schema:
        return type_text(definitions[schema["$ref"].split("/")[-1]], definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_text(option, definitions) for option in schema["anyOf"]))
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {type_text(items, definitions)}"
    if (keys := schema.get("properties")) and "name" not in keys:
        return f"mapping of {', '.join(keys)}"
    names = {"integer": "whole number", "boolean": "true or false", "string": "text", "object": "mapping"}
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {show(schema[key])}" for key, sign in signs.items() if key in schema)
    kind = schema.get("type", "mapping")
    return f"{names.get(kind, kind)} {bounds}".rstrip()

"""The base of every config, and the fields that hold a component chosen by name."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from trainkit.config import registry
from trainkit.config.yamlfile import show
from trainkit.core.errors import ConfigError
from trainkit.core.suggestions import nearest


class Config(BaseModel):
    """Base of every config: frozen, unknown keys refused, no type coerced, documented field by field.

    Plain data is always read in pydantic's JSON mode (YAML's values are JSON's): strict about scalars, and a list
    becomes the tuple that a frozen value needs.
    """

    # pydantic would read the texts below all fields whenever a class is made, half a second in all.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True, allow_inf_nan=False)

    unknown_key_hints: ClassVar[Mapping[str, str]] = {}
    """What to say of certain unknown keys, such as those that the data supplies."""

    @classmethod
    def from_plain(cls, data: object) -> Self:
        """Validate dicts, lists and scalars.

        Raises:
            pydantic.ValidationError: `validation.validate` gives messages with positions.
        """
        return cls.model_validate_json(json.dumps(data))

    def to_plain(self) -> dict[str, Any]:
        """Dicts, lists and scalars from which `from_plain` makes an equal config; the name comes first."""
        plain = self.model_dump(mode="json")
        return {key: plain[key] for key in sorted(plain, key=lambda key: key != "name")}

    @classmethod
    def field_texts(cls) -> dict[str, str]:
        """What each field means: its description, or the text below it."""
        texts: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            for key in inspect.get_annotations(base):
                texts.pop(key, None)
            if issubclass(base, Config):
                texts |= _texts_below(base)
        given = {key: field.description for key, field in cls.model_fields.items() if field.description}
        return {key: text for key, text in (texts | given).items() if key in cls.model_fields}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        properties = handler.resolve_ref_schema(found).get("properties", {})
        for key, text in cls.field_texts().items():
            properties[key].setdefault("description", text)
        return found


def _json_schema(member: type[BaseModel], handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    member.model_rebuild()  # unless it has been used already
    return member.__get_pydantic_json_schema__(member.__pydantic_core_schema__, handler)


@cache
def _texts_below(owner: type) -> dict[str, str]:
    """The strings below the annotated names in the body of a class."""
    try:
        [body] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    except (OSError, TypeError):  # made by a program
        return {}
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(below.value.value)
        for field, below in pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


_described: list[str] = []
"""Families whose members are being described for the JSON Schema."""


class Component:
    """Marks a field that holds a registered config of one family: `Annotated[LossConfig, Component("loss")]`.

    In plain data it is a mapping with a `name`, or just the name. Without a name the default counts, if there is one.
    """

    def __init__(self, family: str, default: type[Config] | None = None) -> None:
        self.family = family
        self.default = default

    def parse(self, value: object) -> Config:
        if isinstance(value, Config):
            return value
        return self.config_class(value).from_plain({"name": value} if isinstance(value, str) else value)

    def config_class(self, value: object) -> type[Config]:
        """The class that a value in plain data asks for. Raises ValueError when it names none."""
        if not isinstance(value, Mapping | str):
            raise PydanticCustomError("component", "a mapping or a name")
        name = value.get("name") if isinstance(value, Mapping) else value
        try:
            if name is None:
                assert isinstance(value, Mapping)
                near = next((key for key in value if key != "name" and nearest(key, ["name"])), None)
                meant = near is None or (self.default and self.default.model_fields.keys() & set(value))
                if self.default and "name" not in value and meant:
                    return self.default
                from trainkit.config.other_tools import hint_for_name  # a table of words that is only needed now

                known = registry.names(self.family)
                for key in value:
                    if hint := "; did you mean 'name'?" if key == near else hint_for_name(key, value[key], known):
                        raise ConfigError(f"value is missing, and {key!r} is unknown{hint}")
                raise ConfigError(f"value is missing; known: {', '.join(known)}")
            if not isinstance(name, str):
                raise ConfigError(f"expected text, got {show(name)}")
            found = registry.find(self.family, name)
        except ConfigError as error:
            raise PydanticCustomError("component_name", "{problem}", {"problem": str(error)}) from None
        assert issubclass(found, Config)
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda config: config.to_plain()),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        names = registry.names(self.family)
        if self.family in _described:  # a component of components of its own family
            return {"anyOf": [{"enum": names}, {"type": "object", "required": ["name"]}]}
        _described.append(self.family)
        try:
            return self._described(names, handler)
        finally:
            _described.pop()

    def _described(self, names: list[str], handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        members = [_json_schema(registry.find(self.family, name), handler) for name in names]
        required = {} if self.default else {"required": ["name"]}
        return {"anyOf": [{"enum": names}, *({**member, **required} for member in members)]}

"""From YAML nodes to a validated, frozen config, or to every problem at once, each with its position."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from trainkit import registry, yamlfile
from trainkit.errors import ConfigError, did_you_mean
from trainkit.yamlfile import Node, Where

COMMAND_LINE = Where("command line")


class Config(BaseModel):
    """Base of every config: frozen, unknown keys refused, no type coerced, documented field by field.

    Plain data is always read in pydantic's JSON mode (YAML's values are JSON's): strict about scalars, and a list becomes
    the tuple that a frozen value needs.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    unknown_key_hints: ClassVar[Mapping[str, str]] = {}
    """What to say of certain unknown keys, such as those that the data supplies."""

    @classmethod
    def from_plain(cls, data: object) -> Self:
        """Validate dicts, lists and scalars.

        Raises:
            pydantic.ValidationError: use `validate` for messages with positions.
        """
        return cls.model_validate_json(json.dumps(data))

    def to_plain(self) -> dict[str, Any]:
        """Dicts, lists and scalars from which `from_plain` makes an equal config."""
        return self.model_dump(mode="json")


class Component:
    """Marks a field that holds a registered config of one family: `Annotated[LossConfig, Component("loss")]`.

    In plain data it is a mapping with a `name`, or just the name.
    """

    def __init__(self, family: str) -> None:
        self.family = family

    def parse(self, value: object) -> Config:
        if isinstance(value, Config):
            return value
        return self.config_class(value).from_plain({"name": value} if isinstance(value, str) else value)

    def config_class(self, value: object) -> type[Config]:
        """The class that a value in plain data asks for. Raises ValueError when it names none."""
        name = value.get("name") if isinstance(value, Mapping) else value
        if value is None or not isinstance(value, Mapping | str):
            raise ValueError(f"expected a mapping or a name, got {show(value)}")
        if name is None:
            raise ComponentNameError(f"name is missing; known: {', '.join(registry.names(self.family))}")
        if not isinstance(name, str):
            raise ComponentNameError(f"name: expected text, got {show(name)}")
        try:
            found = registry.find(self.family, name)
        except ConfigError as error:
            raise ComponentNameError(f"name: {error}") from None
        assert issubclass(found, Config)
        return found

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda config: config.to_plain()),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        names = registry.names(self.family)
        members = [handler(registry.find(self.family, name).__pydantic_core_schema__) for name in names]
        return {"anyOf": [{"enum": names}, *members]}


class ComponentNameError(ValueError):
    """The problem lies in a component's `name`, not in the component as a whole."""


ConfigT = TypeVar("ConfigT", bound=Config)


def read(path: Path) -> Node:
    """Read a YAML file and the parents that it extends; sections merge, the child wins.

    Raises:
        ConfigError: a file is missing or not acceptable YAML, or the parents form a circle.
    """
    return _read(path, children=())


def _read(path: Path, children: tuple[Path, ...]) -> Node:
    if path.resolve() in [child.resolve() for child in children]:
        raise ConfigError(f"extends: circle: {' -> '.join(str(file) for file in (*children, path))}")
    try:
        node = yamlfile.read_file(path)
    except ConfigError as error:
        extended_by = f" (extended by {children[-1]})" if children else ""
        raise ConfigError(*(problem + extended_by for problem in error.problems)) from None
    assert isinstance(node.value, dict)
    parent = node.value.pop("extends", None)
    if parent is None or parent.value is None:
        return node
    if not isinstance(parent.value, str):
        raise ConfigError(f"{parent.where}: extends: expected one path")
    return merge(_read(path.parent / parent.value, (*children, path)), node)


def merge(base: Node, top: Node) -> Node:
    """`top` over `base`: mappings merge key by key, everything else is replaced.

    A mapping whose `name` changes starts afresh, so that no key of the old component leaks into the new one. A bare
    name over a mapping that has a name is such a change, too.
    """
    if isinstance(base.value, dict) and isinstance(top.value, str) and "name" in base.value:
        return base if base.value["name"].value == top.value else top
    if not isinstance(base.value, dict) or not isinstance(top.value, dict):
        return top
    if "name" in top.value and "name" in base.value and top.value["name"].value != base.value["name"].value:
        return top
    merged = dict(base.value)
    for key, node in top.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, top.where, top.key_where)


def override(node: Node, assignments: Iterable[str]) -> Node:
    """Apply `key.path=value` from the command line; values are read by the rules of the file.

    Raises:
        ConfigError: with every assignment that cannot be read.
    """
    problems: list[str] = []
    given: dict[str, str] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            problems.append(f"command line: expected key=value, got {assignment!r}")
        elif not all(key.split(".")):
            problems.append(f"command line: empty key in {assignment!r}")
        elif given.setdefault(key, text) != text:
            problems.append(f"command line: {key} given twice ({given[key]}, {text})")
        else:
            try:
                node = assign(node, key.split("."), read_value(key, text))
            except ConfigError as error:
                problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return node


def read_value(key: str, text: str) -> Node:
    """A value as written on the command line. Raises ConfigError where it cannot be read."""
    if not text.strip():
        raise ConfigError(f"command line: {key}: value is missing")
    try:
        node = yamlfile.parse(text, source="command line")
    except ConfigError as error:
        reason = error.problems[0].split(": ", 1)[1]
        raise ConfigError(f"command line: {key}: {reason}") from None
    if node is None or (isinstance(node.value, str) and "," in text and node.text == text):
        node = Node(None if node is None else node.value, COMMAND_LINE, COMMAND_LINE, text)
    return _at_command_line(node)


def _at_command_line(node: Node) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {key: _at_command_line(child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_at_command_line(child) for child in value]
    return Node(value, COMMAND_LINE, COMMAND_LINE, node.text)


def assign(node: Node, path: list[str], value: Node) -> Node:
    """A copy of `node` with `value` at `path`; `loss.smoothing=0.1` over `loss: cross_entropy` keeps the name."""
    if not path:
        return merge(node, value)
    key, rest = path[0], path[1:]
    if isinstance(node.value, list) and key.isdecimal() and int(key) < len(node.value):
        items = list(node.value)
        items[int(key)] = assign(items[int(key)], rest, value)
        return Node(items, node.where, node.key_where)
    children = dict(node.value) if isinstance(node.value, dict) else {}
    if isinstance(node.value, str) and key != "name":
        children["name"] = node
    if key == "name" and children.get("name", value).value != value.value:
        return Node({"name": value}, node.where, node.key_where)
    fresh = Node({}, COMMAND_LINE, COMMAND_LINE)
    children[key] = assign(children.get(key, fresh), rest, value) if rest else merge(children.get(key, value), value)
    return Node(children, node.where, node.key_where)


def validate(config_class: type[ConfigT], node: Node) -> ConfigT:
    """Make the config that a node describes.

    Raises:
        ConfigError: one problem for everything that is wrong, in the order of the file.
    """
    try:
        return config_class.from_plain(node.plain())
    except ValidationError as error:
        raise ConfigError(*explain(error, config_class, node)) from None


def explain(error: ValidationError, config_class: type[Config], node: Node) -> list[str]:
    """pydantic's errors as `where: key.path: what is wrong` lines, one per place in the file."""
    found: list[tuple[tuple[int, int, int], str]] = []
    details = error.errors(include_url=False)
    for path, group in groupby(details, key=lambda detail: _real_path(detail, node)):
        where, message = _problem(list(group), path, config_class, node)
        label = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        found.append(((where is COMMAND_LINE, where.line, where.column), f"{where}: {label}{message}"))
    return [line for _, line in sorted(found, key=lambda item: item[0])]


def _real_path(detail: ErrorDetails, node: Node) -> tuple[str | int, ...]:
    """The error's location without the union tags that pydantic puts into it."""
    path: list[str | int] = []
    here: Node | None = node
    for part in detail["loc"]:
        below = here.child(part) if here is not None else None
        if below is None and not (detail["type"] == "missing" and part == detail["loc"][-1]):
            break
        path.append(part)
        here = below
    return tuple(path)


def _problem(
    details: list[ErrorDetails], path: tuple[str | int, ...], config_class: type[Config], root: Node
) -> tuple[Where, str]:
    node, parent = root, root
    for part in path:
        below = node.child(part)
        parent, node = node, below if below is not None else node
    detail = details[0]
    kind, context = detail["type"], detail.get("ctx", {})
    key = str(path[-1]) if path else ""
    label = ": " if path else ""
    if kind == "extra_forbidden":
        owner = class_at(config_class, path[:-1], root)
        if owner is None or not owner.model_fields:
            return node.key_where or node.where, f"{label}unknown key"
        if len(path) == 1:
            return (
                node.key_where or node.where,
                f"{label}unknown section {key!r}{did_you_mean(key, owner.model_fields)}",
            )
        return node.key_where or node.where, f"{label}{_unknown_key(key, owner)}"
    if kind == "missing":
        if len(path) == 1:
            return Where(root.where.source), f"{label}section {key!r} is missing"
        if isinstance(path[-1], int):
            return parent.where, f"{label}value is missing; only {path[-1]} given"
        return parent.where, f"{label}value is missing"
    if node.value is None and not node.text:
        return node.key_where or node.where, f"{label}value is missing"
    if isinstance(cause := context.get("error"), ComponentNameError):
        named = node.child("name") if isinstance(node.value, dict) else None
        return (named or node).where, f".{cause}" if path else f": {cause}"
    if kind == "value_error":
        return node.where, f"{label}{cause}"
    if isinstance(node.value, str) and details[0]["input"] == node.value and _wants_number(details):
        if "," in node.text and node.where is COMMAND_LINE:
            return node.where, f"{label}a list of values is a sweep axis: trainkit sweep … {key}={node.text}"
        if better := yamlfile.why_not_a_number(node.value):
            return node.where, f"{label}{better}"
        if yamlfile.resolve(node.value) != node.value:
            expected = _expected(details)
            return node.where, f'{label}expected {expected}, got the text "{node.value}"; drop the quotes'
    return node.where, f"{label}{_constraint(detail) or f'expected {_expected(details)}, got {_got(node)}'}"


def _got(node: Node) -> str:
    if isinstance(node.value, dict | list):
        return yamlfile.type_names[type(node.value)]
    return repr(node.value) if isinstance(node.value, str) else node.text or show(node.value)


def _unknown_key(key: str, owner: type[Config]) -> str:
    known = [field for field in owner.model_fields if field != "name"]
    name_field = owner.model_fields.get("name")
    name = name_field.default if name_field and isinstance(name_field.default, str) else None
    message = f"unknown key for {name!r}" if name else "unknown key"
    if key in owner.unknown_key_hints:
        return f"{message}; {owner.unknown_key_hints[key]}"
    if key in ("_target_", "class_path", "_component_"):
        return f"{message}; own code comes in through imports"
    return message + (did_you_mean(key, known) or f"; its keys: {', '.join(known)}")


def class_at(config_class: type[Config], path: tuple[str | int, ...], node: Node) -> type[Config] | None:
    """The config class whose keys stand at a path of the file, or None where the path leads into something else."""
    current: type[Config] | None = config_class
    metadata: tuple[Any, ...] = ()
    for part in path:
        below = node.child(part)
        if below is None or current is None:
            return None
        node = below
        if isinstance(part, str):
            field = current.model_fields.get(part)
            if field is None:
                return None
            metadata = (*field.metadata, *_arguments(field.annotation))
        component = next((item for item in metadata if isinstance(item, Component)), None)
        nested = [item for item in metadata if isinstance(item, type) and issubclass(item, Config)]
        if isinstance(node.value, list):
            continue
        try:
            current = component.config_class(node.plain()) if component else nested[0] if nested else None
        except ValueError:
            return None
    return current


def _arguments(annotation: Any) -> tuple[Any, ...]:
    """Everything inside an annotation: its members, their members, and what Annotated says of them."""
    inner: tuple[Any, ...] = (annotation, *getattr(annotation, "__metadata__", ()))
    for argument in get_args(annotation):
        inner += _arguments(argument)
    return inner


def _wants_number(details: list[ErrorDetails]) -> bool:
    return any(detail["type"] in ("int_type", "float_type", "int_parsing", "float_parsing") for detail in details)


def _expected(details: list[ErrorDetails]) -> str:
    """What would have been right; several alternatives when the field is a union."""
    wanted = {
        "int_type": "a whole number",
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "float_parsing": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "tuple_type": "a list",
        "list_type": "a list",
        "model_type": "a mapping",
        "dict_type": "a mapping",
        "model_attributes_type": "a mapping",
    }
    alternatives: list[str] = []
    for detail in details:
        context = detail.get("ctx", {})
        text = wanted.get(detail["type"]) or context.get("expected") or detail["msg"]
        text = text.replace("'", "") if detail["type"] == "literal_error" else text
        if text not in alternatives:
            alternatives.append(text)
    return " or ".join(alternatives)


def _constraint(detail: ErrorDetails) -> str | None:
    """Messages for a value of the right type that is out of range; None for all others."""
    context = detail.get("ctx", {})
    value = show(detail["input"])
    signs = {"greater_than": (">", "gt"), "greater_than_equal": (">=", "ge"), "less_than": ("<", "lt")}
    signs["less_than_equal"] = ("<=", "le")
    match detail["type"]:
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal" as kind:
            sign, name = signs[kind]
            return f"must be {sign} {show(context[name])}, got {value}"
        case "finite_number":
            return f"must be finite, got {value}"
        case "too_short" | "too_long" as kind:
            bound = context["min_length"] if kind == "too_short" else context["max_length"]
            at = "at least" if kind == "too_short" else "at most"
            return f"expected {at} {bound} value{'s' * (bound != 1)}, got {context['actual_length']}"
        case "string_pattern_mismatch":
            return f"got {value}, which does not match {context['pattern']}"
        case "literal_error":
            options = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            hint = did_you_mean(detail["input"], options) if isinstance(detail["input"], str) else ""
            return f"expected {context['expected'].replace(chr(39), '')}, got {value}{hint}"
        case _:
            return None


def show(value: object) -> str:
    """A value as the user would write it."""
    if isinstance(value, dict | list | tuple):
        return yamlfile.type_names[list if isinstance(value, tuple) else type(value)]
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)

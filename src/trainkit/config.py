"""From YAML nodes to a validated, frozen config, or to every problem at once, each with its position."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from trainkit import registry, yamlfile
from trainkit.errors import ConfigError, did_you_mean
from trainkit.yamlfile import Node, Where

COMMAND_LINE = Where("command line")

Place = tuple[str | int, ...]


class Config(BaseModel):
    """Base of every config: frozen, unknown keys refused, no type coerced, documented field by field.

    Plain data is always read in pydantic's JSON mode (YAML's values are JSON's): strict about scalars, and a list
    becomes the tuple that a frozen value needs.
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
        """Dicts, lists and scalars from which `from_plain` makes an equal config; the name comes first."""
        plain = self.model_dump(mode="json")
        return {key: plain[key] for key in sorted(plain, key=lambda key: key != "name")}


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
        if name is None and self.default:
            return self.default
        try:
            if name is None:
                raise ConfigError(f"value is missing; known: {', '.join(registry.names(self.family))}")
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
        members = [handler(registry.find(self.family, name).__pydantic_core_schema__) for name in names]
        required = {} if self.default else {"required": ["name"]}
        return {"anyOf": [{"enum": names}, *({**member, **required} for member in members)]}


ConfigT = TypeVar("ConfigT", bound=Config)


def read(path: Path) -> Node:
    """Read a YAML file and the parents that it extends; sections merge, the child wins.

    Raises:
        ConfigError: a file is missing or not acceptable YAML, or the parents form a circle.
    """
    nodes: list[Node] = []
    files: list[Path] = []
    parent: Node | None = None
    while not nodes or parent:
        try:
            node = yamlfile.read_file(path)
        except ConfigError as error:
            extended_by = f" (extended by {parent.where})" if parent else ""
            raise ConfigError(*(problem + extended_by for problem in error.problems)) from None
        if parent and path.resolve() in [file.resolve() for file in files]:
            raise ConfigError(f"{parent.where}: extends: circle: {' -> '.join(map(str, (*files, path)))}")
        assert isinstance(node.value, dict)
        nodes.append(replace(node, value={key: value for key, value in node.value.items() if key != "extends"}))
        files.append(path)
        if parent := node.child("extends"):
            if not isinstance(parent.value, str):
                raise ConfigError(f"{parent.where}: extends: expected one path")
            path = path.parent / parent.value
    return reduce(lambda base, top: merge(base, top, whole=True), reversed(nodes))


def merge(base: Node, top: Node, *, whole: bool = False) -> Node:
    """`top` over `base`: mappings merge key by key, everything else is replaced.

    A mapping whose `name` changes starts afresh, so that no key of the old component leaks into the new one; a bare
    name is short for a mapping with nothing else. A mapping of numbers over a list replaces the items of those numbers.
    The name of a `whole` config is no component's.
    """
    if isinstance(top.value, str) and isinstance(base.value, dict) and "name" in base.value:
        return base if base.value["name"].value == top.value else top
    if not isinstance(top.value, dict):
        return top
    # The place of a section is in the file, even when the command line changes something in it.
    where, key_where = (base.where, base.key_where) if top.where == COMMAND_LINE else (top.where, top.key_where)
    if isinstance(base.value, list) and top.value and top.value.keys() <= set(map(str, range(len(base.value)))):
        items = [merge(item, top.value.get(str(number), item)) for number, item in enumerate(base.value)]
        return Node(items, where, key_where)
    if isinstance(base.value, str):
        base = Node({"name": replace(base, key_where=None)}, base.where)
    if not isinstance(base.value, dict):
        return top
    renamed = "name" in top.value and "name" in base.value and top.value["name"].value != base.value["name"].value
    if renamed and not whole:
        return top
    merged = dict(base.value)
    for key, node in top.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, where, key_where)


def override(node: Node, assignments: Iterable[str]) -> Node:
    """Apply `key.path=value` from the command line; values are read by the rules of the file.

    Raises:
        ConfigError: with every assignment that cannot be read.
    """
    problems: list[str] = []
    given: dict[str, str] = {}
    values: dict[str, Node] = {}
    for assignment in assignments:
        written, equals, text = assignment.partition("=")
        key = re.sub(r"\[([0-9]+)\]", r".\1", written)
        if not equals:
            problems.append(f"command line: expected key=value, got {assignment!r}")
        elif not all(key.split(".")):
            problems.append(f"command line: empty key in {assignment!r}")
        elif key.count(".") >= yamlfile.MAX_DEPTH:
            problems.append(f"command line: nested deeper than {yamlfile.MAX_DEPTH}")
        elif given.setdefault(key, text) != text:
            problems.append(f"command line: {written} given twice ({given[key]}, {text})")
        else:
            try:
                values[key] = _value(key, text)
            except ConfigError as error:
                problems.extend(error.problems)
    if problems:
        raise ConfigError(*problems)
    return assign(node, values)


def assign(node: Node, values: Mapping[str, Node]) -> Node:
    """A copy of a config with values at `key.paths`.

    What names a component goes first: in whichever order they come, `optimizer=sgd` keeps `optimizer.lr=0.1`.
    """
    for key in sorted(values, key=lambda key: key.removesuffix(".name").count(".")):
        value = values[key]
        for part in reversed(key.split(".")):
            value = Node({part: value}, COMMAND_LINE, COMMAND_LINE)
        node = merge(node, value, whole=True)
    return node


def _value(key: str, text: str) -> Node:
    if not text.strip():
        raise ConfigError(f"command line: {key}: value is missing")
    try:
        node = yamlfile.parse(text.strip(), COMMAND_LINE)
    except ConfigError as error:
        raise ConfigError(*(problem.replace(":", f": {key}:", 1) for problem in error.problems)) from None
    return Node(text, COMMAND_LINE, COMMAND_LINE, text) if node is None else replace(node, key_where=COMMAND_LINE)


def validate(config_class: type[ConfigT], node: Node) -> ConfigT:
    """Make the config that a node describes.

    Raises:
        ConfigError: one problem for everything that is wrong, in the order of the file.
    """
    try:
        return config_class.from_plain(node.plain())
    except ValidationError as error:
        fitted = _fit(error, node)
        if fitted is not node:
            return validate(config_class, fitted)
        raise ConfigError(*explain(error, config_class, node)) from None


def _fit(error: ValidationError, node: Node) -> Node:
    """Read bare words as the schema wants them: `name: 2024` is text, and the word under `normalize.mean` no name."""
    for detail in error.errors(include_url=False):
        path = _path(detail, node)
        *_, here = _along(path, node)
        if detail["type"] == "string_type" and isinstance(here.value, bool | int | float):
            node = _put(node, path, replace(here, value=here.text))
        elif detail["type"] == "extra_forbidden" and path[-1] == "name" and here.key_where is None:
            node = _put(node, path, None)
    return node


def _put(node: Node, path: Place, value: Node | None) -> Node:
    """A copy of a tree with another node at a path, or with none."""
    children: Any = node.value.copy() if isinstance(node.value, dict | list) else {}
    if len(path) > 1:
        children[path[0]] = _put(children[path[0]], path[1:], value)
    elif value is None:
        del children[path[0]]
    else:
        children[path[0]] = value
    return replace(node, value=children)


def _along(path: Place, node: Node) -> Iterator[Node]:
    """The nodes along a path, as far as there are any; the root is the first."""
    yield node
    for part in path:
        if (below := node.child(part)) is None:
            return
        yield (node := below)


def _path(detail: ErrorDetails, root: Node) -> Place:
    """The place of an error: without the names that pydantic gives to the members of a union."""
    path: Place = ()
    for part in detail["loc"]:
        if root.child(part) or (detail["type"] == "missing" and isinstance(part, str) and part == detail["loc"][-1]):
            path += (part,)
            root = root.child(part) or root
    return (*path, "name") if detail["type"] == "component_name" else path


def explain(error: ValidationError, config_class: type[Config], node: Node) -> list[str]:
    """pydantic's errors as `where: key.path: what is wrong` lines: as the file has them, then the command line's."""
    groups: dict[Place, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        groups.setdefault(_path(detail, node), []).append(detail)
    problems: list[tuple[tuple[bool, bool, str, int, int], str]] = []
    for path, details in groups.items():
        # Of a union's members, the one that got furthest is the one that was meant.
        if len(path) < len(details[0]["loc"]) and any(path == other[: len(path)] != other for other in groups):
            continue
        where, message = _problem(path, details, config_class, node)
        label = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        foreign = where.source not in (node.where.source, COMMAND_LINE.source)
        order = (where == COMMAND_LINE, foreign, where.source, where.line, where.column)
        extended_by = f" (extended by {node.where.source})" if foreign else ""
        problems.append((order, ": ".join(filter(None, (str(where), label, message))) + extended_by))
    return [problem for _, problem in sorted(problems, key=lambda item: item[0])]


_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_pattern_mismatch": "text that matches {pattern}",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "component": "a mapping or a name",
    "literal_error": "{expected}",
    "too_short": "{min_length} or more values",
    "too_long": "{max_length} or fewer values",
}
_BOUNDS = {
    "greater_than": "> {gt}",
    "greater_than_equal": ">= {ge}",
    "less_than": "< {lt}",
    "less_than_equal": "<= {le}",
}


def _problem(path: Place, details: list[ErrorDetails], config_class: type[Config], root: Node) -> tuple[Where, str]:
    *_, node = _along(path, root)
    kinds = [detail["type"] for detail in details]
    if "extra_forbidden" in kinds:
        return node.key_where or node.where, _unknown_key(path, config_class, root)
    if kinds == ["missing"] and details[0]["loc"][-1] == path[-1]:
        return (Where(root.where.source), "section is missing") if len(path) == 1 else (node.where, "value is missing")
    for detail in details:
        if detail["type"] == "component_name":
            return node.where, detail["msg"] + _advice(node, "a mapping")
        if raised := detail.get("ctx", {}).get("error"):
            return node.where, str(raised) + _advice(node, "")
    if node.value is None and not node.text:
        return node.key_where or node.where, "value is missing"
    # Of the missing items of a list only the last: it tells the length.
    details = [detail for detail in details if detail["type"] == "missing"][-1:] or details
    if bounds := [detail for detail in details if detail["type"] in _BOUNDS]:
        details = bounds[:1] + [detail for detail in details if detail["type"] == "literal_error"]
    expected = " or ".join(dict.fromkeys(map(_expected, details)))
    message = f"{'must be' if bounds else 'expected'} {expected}, got {_got(node, expected)}"
    return node.where, message + _advice(node, expected)


def _expected(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return f"{int(detail['loc'][-1]) + 1} values"
    if template := (_EXPECTED | _BOUNDS).get(kind):
        shown = {key: value if isinstance(value, str) else show(value) for key, value in context.items()}
        return template.format(**shown).replace("'", "")
    return re.sub(r"^\w+ should (be |have )?", "", detail["msg"])


def _got(node: Node, expected: str) -> str:
    if isinstance(node.value, list) and expected.endswith("values"):
        return str(len(node.value))
    if isinstance(node.value, str):
        shown = node.value if len(node.value) <= 60 else f"{node.value[:60]}…"
        return f'the text "{shown}"' if _quoted(node.value, expected) else repr(shown)
    return show(node.value) if isinstance(node.value, dict | list) else node.text


def _quoted(text: str, expected: str) -> bool:
    """Whether only the quotes keep a text from being what was expected."""
    return isinstance(yamlfile.resolve(text), bool | int | float) and bool(re.search("number|true", expected))


def _advice(node: Node, expected: str) -> str:
    """What to do about a wrong value; empty where there is no more to say."""
    text = node.value if isinstance(node.value, str) else node.text
    if not text or (not isinstance(node.value, str) and expected != "a list"):
        return ""
    if node.where == COMMAND_LINE and "," in text and "a list" not in expected:
        return "; several values are for trainkit sweep"
    if expected == "a list":
        return f"; write [{text}]"
    if "a mapping" in expected and re.fullmatch(r"\w+:\S+", text):
        return "; a space is missing after ':'"
    if _quoted(text, expected):
        return "; drop the quotes"
    if "number" in expected and (hint := yamlfile.number_hint(text)):
        return hint
    return did_you_mean(text, re.split(", | or ", expected)) if expected else ""


def _unknown_key(path: Place, config_class: type[Config], root: Node) -> str:
    key, owner = str(path[-1]), _owner(config_class, path, root)
    tag = owner.model_fields["name"].default if len(path) > 1 and "name" in owner.model_fields else None
    message = "unknown section" if len(path) == 1 else f"unknown key for {tag!r}" if tag else "unknown key"
    if key in owner.unknown_key_hints:
        return f"{message}; {owner.unknown_key_hints[key]}"
    if key in ("_target_", "class_path", "_component_"):
        return f"{message}; own code comes in through imports"
    known = [name for name in owner.model_fields if not (tag and name == "name")]
    elsewhere = [
        f"{section}.{key}"
        for section, field in config_class.model_fields.items()
        if isinstance(field.default, Config) and key in type(field.default).model_fields
    ]
    return message + (did_you_mean(key, known + elsewhere) or f"; known: {', '.join(known)}")


def _owner(config_class: type[Config], path: Place, node: Node) -> type[Config]:
    """The config class in which the last key of a path was looked for."""
    inside: tuple[Any, ...] = ()
    for part, here in zip(path[:-1], list(_along(path, node))[1:], strict=False):
        if field := config_class.model_fields.get(str(part)):
            inside = (*field.metadata, *_inside(field.annotation))
        if isinstance(here.value, list):
            continue  # the class is that of its items
        configs = [item for item in inside if isinstance(item, type) and issubclass(item, Config)]
        components = [item.config_class(here.plain()) for item in inside if isinstance(item, Component)]
        config_class = next(iter(components + configs), config_class)
    return config_class


def _inside(annotation: Any) -> tuple[Any, ...]:
    """Everything inside an annotation: its members, their members, and what Annotated says of them."""
    inner: tuple[Any, ...] = (annotation,)
    for argument in get_args(annotation):
        inner += _inside(argument)
    return inner


def show(value: object) -> str:
    """A value as the user would write it."""
    if isinstance(value, dict | list | tuple):
        return yamlfile.type_names[list if isinstance(value, tuple) else type(value)]
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)

"""From a tree of nodes to a valid config, or to every problem at once, each with its position."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trainkit.config import registry, yamlfile
from trainkit.config.base import Component, Config
from trainkit.config.yamlfile import COMMAND_LINE, Node, Where, show
from trainkit.core.errors import ConfigError
from trainkit.core.suggestions import did_you_mean, nearest

Place = tuple[str | int, ...]
ConfigT = TypeVar("ConfigT", bound=Config)


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
    details = [(_path(detail, node), detail) for detail in error.errors(include_url=False)]
    out_of_bounds = {path for path, detail in details if detail["type"] in _BOUNDS}
    for path, detail in details:
        *_, here = _along(path, node)
        is_number = isinstance(here.value, bool | int | float) and path not in out_of_bounds
        if detail["type"] == "string_type" and is_number:
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
    unknown = {path for path, details in groups.items() if details[0]["type"] == "extra_forbidden"}
    for path, details in groups.items():
        # A section that is missing because its name is misspelled is told of once.
        if details[0]["type"] == "missing" and any(nearest(str(other[-1]), map(str, path)) for other in unknown):
            continue
        # Of a union's members, the one that got furthest is the one that was meant.
        if len(path) < len(details[0]["loc"]) and any(path == other[: len(path)] != other for other in groups):
            continue
        where, message = _problem(path, details, config_class, node)
        label = "".join(f"[{part}]" if isinstance(part, int) else f".{_short(part)}" for part in path).lstrip(".")
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
            choices = re.match("expected (.*), got", str(raised))
            known = re.split(", | or ", choices[1]) if choices else []
            return node.where, str(raised) + (_advice(node, "") or _of_another_tool(node, known))
    if node.value is None and not node.text:
        return node.key_where or node.where, "value is missing"
    # Of the missing items of a list only the last: it tells the length.
    details = [detail for detail in details if detail["type"] == "missing"][-1:] or details
    if bounds := [detail for detail in details if detail["type"] in _BOUNDS]:
        details = bounds[:1] + [detail for detail in details if detail["type"] == "literal_error"]
    kinds = list(dict.fromkeys(map(_expected, details)))
    expected = " or ".join(kind for kind in kinds if kind != "a whole number" or "a number" not in kinds)
    message = f"{'must be' if bounds else 'expected'} {expected}, got {_got(node, expected)}"
    if expected == "a mapping" and isinstance(node.value, bool | int | float):
        return node.where, message + _such_as(_owner(config_class, (*path, ""), root), node.value)
    return node.where, message + _advice(node, expected)


def _such_as(wanted: type[Config], got: float) -> str:
    """What to write in the place of a switch or a number."""
    key, field = next(iter(wanted.model_fields.items()))
    default = show(field.default) if isinstance(field.default, str | int | float) else "…"
    return "; leave it out" if got is False else f"; write {{{key}: {default}}}"


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
        shown = _short(node.value)
        return f'the text "{shown}"' if _quoted(node.value, expected) else repr(shown)
    return show(node.value) if isinstance(node.value, dict | list) else node.text


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _quoted(text: str, expected: str) -> bool:
    """Whether only the quotes keep a text from being what was expected."""
    return isinstance(yamlfile.resolve(text), bool | int | float) and bool(re.search("number|true", expected))


def _advice(node: Node, expected: str) -> str:
    """What to do about a wrong value; empty where there is no more to say."""
    text = node.value if isinstance(node.value, str) else node.text
    if not text or (not isinstance(node.value, str) and expected != "a list"):
        return _of_another_tool(node, re.split(", | or ", expected))
    if node.where == COMMAND_LINE and "," in text and "a list" not in expected:
        return "; several values are for trainkit sweep"
    if expected == "a list":
        return f"; write [{_short(text.removesuffix('.py'))}]"  # of `imports`
    if "a mapping" in expected and re.fullmatch(r"\w+:\S+", text):
        return "; a space is missing after ':'"
    if _quoted(text, expected):
        return "; drop the quotes"
    if "number" in expected and (hint := yamlfile.number_hint(text)):
        return hint
    known = re.split(", | or ", expected)
    return _of_another_tool(node, known) or did_you_mean(text, known) if expected else ""


def _of_another_tool(node: Node, known: list[str]) -> str:
    from trainkit.config import other_tools  # a table of words that is only needed now

    word = node.text or str(node.value)
    names = [choice for choice in known if re.fullmatch(r"[a-z]\w*", choice)]
    return other_tools.hint_for_value(word, names) if names and ":" not in word else ""


def _unknown_key(path: Place, config_class: type[Config], root: Node) -> str:
    from trainkit.config import other_tools  # a table of words that is only needed now

    key, owner = str(path[-1]), _owner(config_class, path, root)
    tag = owner.model_fields["name"].default if len(path) > 1 and "name" in owner.model_fields else None
    message = "unknown section" if len(path) == 1 else f"unknown key for {tag!r}" if tag else "unknown key"
    if key in owner.unknown_key_hints:
        return f"{message}; {owner.unknown_key_hints[key]}"
    *_, node = _along(path, root)
    family = registry.family_of(owner)
    if hint := other_tools.hint_for_name(key, node.value, registry.names(family) if family else []):
        return message + hint
    if re.fullmatch(r"[0-9]\w*", key) and node.value is None and not node.text:  # {lr: 0,1}
        return f"{message}; decimals follow a point, not a comma"
    *_, parent = _along(path[:-1], root)
    known = [name for name in owner.model_fields if not (tag and name == "name")]
    hinted = [*known, "name"] if tag and not parent.child("name") else known
    elsewhere = [
        f"{section}.{key}"
        for section, field in config_class.model_fields.items()
        if isinstance(field.default, Config) and key in type(field.default).model_fields
    ]
    place = ".".join(part for part in path[:-1] if isinstance(part, str))

    def has(wanted: str) -> bool:
        section, _, last = wanted.partition("=")[0].rpartition(".")
        there = owner if section == place else _owner(config_class, tuple(wanted.split(".")), root)
        return last in there.model_fields

    hint = other_tools.hint_for_key(key, place, has)
    begun = [name for name in hinted if name.startswith(f"{key}_")]
    if not any(f"'{name}'" in hint for name in hinted):  # nearer than what another section calls so
        hint = did_you_mean(key, begun) or hint
    if near := hint or did_you_mean(key, hinted + elsewhere):
        inside = other_tools.known_inside(node.plain()) if hint and not place else {}
        return message + near + "".join(f"; {word} is {ours}" for word, ours in inside.items())
    return message + (other_tools.hint_for_key(key, place, has, loosely=True) or f"; known: {', '.join(known)}")


def _owner(config_class: type[Config], path: Place, node: Node) -> type[Config]:
    """The config class in which the last key of a path is looked for; of what is not there, the default counts."""
    inside: tuple[Any, ...] = ()
    here: Node | None = node
    for part in path[:-1]:
        here = here.child(part) if here else None
        if field := config_class.model_fields.get(str(part)):
            inside = (*field.metadata, *_inside(field.annotation))
        if here and isinstance(here.value, list):
            continue  # the class is that of its items
        configs = [item for item in inside if isinstance(item, type) and issubclass(item, Config)]
        components = [_config_class(item, here) for item in inside if isinstance(item, Component)]
        config_class = next(filter(None, (*components, *configs)), config_class)
    return config_class


def _config_class(component: Component, node: Node | None) -> type[Config] | None:
    with suppress(ValueError):  # another problem is that it names none
        return component.config_class(node.plain()) if node else component.default
    return component.default


def _inside(annotation: Any) -> tuple[Any, ...]:
    """Everything inside an annotation: its members, their members, and what Annotated says of them."""
    inner: tuple[Any, ...] = (annotation,)
    for argument in get_args(annotation):
        inner += _inside(argument)
    return inner

"""From a file, the files that it extends, and the command line to one tree of nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path

from trainkit.config import yamlfile
from trainkit.config.yamlfile import COMMAND_LINE, Node, Where
from trainkit.core.errors import ConfigError


def read(path: Path) -> Node:
    """Read a YAML file and the parents that it extends; sections merge, the child wins. Where none has a `name`, it is
    that of the file.

    Raises:
        ConfigError: a file is missing or not acceptable YAML, or the parents form a circle.
    """
    named = Node(re.sub(r"[^a-zA-Z0-9._-]+", "-", path.stem)[:100], Where(str(path)))
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
    whole = reduce(lambda base, top: merge(base, top, whole=True), reversed(nodes))
    assert isinstance(whole.value, dict)
    return replace(whole, value={"name": named, **whole.value})


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

"""Strict YAML in which every value knows its file, line and column.

Stricter than YAML 1.1 on purpose: no anchors, tags, merge keys, duplicate keys or second documents; `true` and `false`
are the only booleans; `1e-3` is a number; `no`, `010` and `1:30` are text. A YAML file never makes code run.
"""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainkit.errors import ConfigError

type_names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 18  # what fits a signed 64-bit integer

_INT = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Where:
    """A place that a user can go to: a file's line and column, or the command line."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the file; `key_where` is the place of the key that it stands under."""

    value: dict[str, Node] | list[Node] | Scalar
    where: Where
    key_where: Where | None = None
    text: str = ""
    """The scalar as it was written, for messages."""

    def plain(self) -> Any:
        """The value without positions: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, key: str | int) -> Node | None:
        """The node one level down, or None where there is none."""
        if isinstance(self.value, dict):
            return self.value.get(str(key))
        if isinstance(self.value, list) and isinstance(key, int) and key < len(self.value):
            return self.value[key]
        return None


def from_plain(value: Any, where: Where) -> Node:
    """Nodes for plain data that comes from one place, such as the config inside a checkpoint."""
    if isinstance(value, dict):
        return Node({str(key): from_plain(item, where) for key, item in value.items()}, where, where)
    if isinstance(value, list | tuple):
        return Node([from_plain(item, where) for item in value], where, where)
    return Node(value, where, where, str(value))


def read_file(path: Path) -> Node:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8, or not the YAML described above.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "is a directory" if path.is_dir() else "is not a regular file"
            raise ConfigError(f"{path}: {kind}")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES // 1024} KB")
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file{_elsewhere(path)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start} (0x{error.object[error.start]:02x})") from None
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    node = parse(text, source=str(path))
    if node is None:
        raise ConfigError(f"{path}: the file is empty")
    if not isinstance(node.value, dict):
        raise ConfigError(f"{node.where}: expected a mapping, got {type_names.get(type(node.value), 'nothing')}")
    return node


def _elsewhere(path: Path) -> str:
    names = [path.name] if path.suffix else [f"{path.name}.yaml"]
    found = [near for name in names for near in (path.with_name(name), Path("configs", name)) if near.is_file()]
    return f"; did you mean {found[0]}?" if found else ""


def parse(text: str, *, source: str) -> Node | None:
    """Parse one YAML document; None when it is empty.

    Raises:
        ConfigError: with the position, for everything that this module does not accept.
    """
    try:
        return _Reader(text, source).document()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_problem(error, text, source)) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - (before.rfind("\n") + 1) + 1
        raise ConfigError(
            f"{Where(source, line, column)}: control character {ord(str(error.character)):#04x}"
        ) from None


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar. What only looks like a number to YAML 1.1 stays text."""
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INT.fullmatch(text) and len(text.lstrip("+-")) <= MAX_DIGITS:
        return int(text)
    if _FLOAT.fullmatch(text) and not _INT.fullmatch(text) and not _LEADING_ZERO.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def why_not_a_number(text: str) -> str | None:
    """What to say of a text that stands where a number belongs, where there is more to say than `got 'text'`."""
    if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text):
        return f"expected a number, got {text!r}; use a decimal point"
    if _LEADING_ZERO.fullmatch(text):
        return f"leading zero: write {int(text)}, got {text!r}"
    if _INT.fullmatch(text) and len(text.lstrip("+-")) > MAX_DIGITS:
        return f"number has {len(text.lstrip('+-'))} digits (limit {MAX_DIGITS})"
    if re.fullmatch(r"[+-]?\.?(inf|nan)(inity)?", text, re.IGNORECASE) or _FLOAT.fullmatch(text):
        return f"must be finite, got {text!r}"
    return None


def dump(value: Any) -> str:
    """Write plain data as YAML that `parse` reads back to the same data."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)


class _Reader:
    def __init__(self, text: str, source: str) -> None:
        self.source = source
        # The pure-Python loader: the C one overflows its stack on deep nesting.
        self.events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))

    def document(self) -> Node | None:
        next(self.events)  # stream start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        node = self.node(next(self.events), depth=0)
        next(self.events)  # document end
        extra = next(self.events)
        if not isinstance(extra, yaml.StreamEndEvent):
            raise ConfigError(f"{self.where(extra)}: only one YAML document is allowed")
        return None if node.value is None and not node.text else node

    def where(self, event: yaml.Event) -> Where:
        mark = event.start_mark
        return Where(self.source, mark.line + 1, mark.column + 1)

    def node(self, event: yaml.Event, depth: int, key: Where | None = None) -> Node:
        where = self.where(event)
        if depth > MAX_DEPTH:
            raise ConfigError(f"{where}: nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"{where}: anchors and aliases are not supported; use extends")
        if tag := getattr(event, "tag", None):
            raise ConfigError(f"{where}: YAML tags are not allowed ({tag.replace('tag:yaml.org,2002:', '!!')})")
        if isinstance(event, yaml.ScalarEvent):
            value = resolve(event.value) if event.style is None else event.value
            return Node(value, where, key, event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(event, depth + 1))
            return Node(items, where, key)
        return Node(self.mapping(depth), where, key)

    def mapping(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, depth + 1)
            if not isinstance(event, yaml.ScalarEvent):
                raise ConfigError(f"{key.where}: keys must be plain text")
            if key.text == "<<":
                raise ConfigError(f"{key.where}: merge keys (<<) are not supported; use extends")
            if first := entries.get(key.text):
                line = first.key_where.line if first.key_where else first.where.line
                raise ConfigError(f"{key.where}: duplicate key {key.text!r} (first at line {line})")
            entries[key.text] = self.node(next(self.events), depth + 1, key.where)
        return entries


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `resolve` would take for something else (`1e-3` is text to YAML 1.1)."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    quoted = not isinstance(resolve(text), str) or "\n" in text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _represent_text)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, source: str) -> str:
    """PyYAML's complaint in a beginner's words, at the place where the mistake is rather than where it was noticed."""
    mark = error.problem_mark or error.context_mark
    assert mark is not None
    lines = text.splitlines()
    where = Where(source, mark.line + 1, mark.column + 1)
    problem = error.problem or "not valid YAML"
    tab = next((n for n, line in enumerate(lines, 1) if re.match(r" *\t", line)), None)
    if "\\t" in problem or (tab and tab - 1 <= mark.line):
        return f"{Where(source, tab or where.line, 1)}: tab in the indentation; use spaces"
    if "mapping values are not allowed" in problem:
        return f"{where}: ':' inside a value; quote it"
    if "unknown escape character" in problem:
        return f"{where}: unknown escape \\{problem.split(chr(39))[1]} in double quotes; use single quotes"
    opened = error.context_mark
    if opened and (error.context or "").startswith(("while parsing a flow", "while scanning a quoted")):
        kind = "list" if "sequence" in error.context else "mapping" if "mapping" in error.context else "quote"
        return f"{where}: {kind} opened at {opened.line + 1}:{opened.column + 1} is not closed"
    if "could not find expected ':'" in problem and opened:
        begin = Where(source, opened.line + 1, opened.column + 1)
        hint = "a space is missing after ':'" if ":" in lines[opened.line] else "expected 'key: value'"
        return f"{begin}: {hint}"
    return f"{where}: {problem}"

"""Strict YAML in which every value knows its file, line and column.

Stricter than YAML 1.1 on purpose: no anchors, tags, merge keys, duplicate keys or second documents; `true` and `false`
are the only booleans; `1e-3` is a number; `no`, `010` and `1:30` are text. A YAML file never makes code run.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainkit.core.errors import ConfigError, os_error_text
from trainkit.core.suggestions import nearest

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_FLOAT = 3.4e38  # what is larger is infinite to torch
MAX_DIGITS = 20  # those of 2**64: what is larger than a field allows is then told so by its bound

type_names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}

_INT = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Where:
    """A place that a user can go to: a file's line and column, or (without a line) a whole file or the command line."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    def at(self, line: int, column: int) -> Where:
        """The place in a text that begins here; both count from 0, as PyYAML does."""
        return Where(self.source, line + 1, column + 1) if self.line else self


COMMAND_LINE = Where("command line")


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
    return Node(value, where, where, value if isinstance(value, str) else json.dumps(value))


def read_file(path: Path) -> Node:
    """Read a YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, unreadable, not UTF-8, or not the YAML described above.
    """
    node = parse(_text(path), Where(str(path), 1, 1))
    if node is None:
        raise ConfigError(f"{path}: the file is empty")
    if not isinstance(node.value, dict):
        raise ConfigError(f"{node.where}: expected a mapping, got {type_names.get(type(node.value), 'nothing')}")
    return node


def _text(path: Path) -> str:
    try:
        # Asked before opening: a FIFO or an endless device would block.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path}: {'is a directory' if path.is_dir() else 'is not a regular file'}")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES // 1024} KB")
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        there = {file.stem: file for folder in (Path("configs"), path.parent) for file in folder.glob("*.y*ml")}
        near = there.get(path.stem) or there.get(nearest(path.stem, there) or "")
        raise ConfigError(f"{path}: no such file{f'; did you mean {near}?' if near else ''}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start} (0x{error.object[error.start]:02x})") from None
    except OSError as error:
        raise ConfigError(f"{path}: {os_error_text(error)}") from None
    except ValueError as error:  # a path that no system call takes
        raise ConfigError(f"{str(path)!r}: {error}") from None
    return text


def read_plain(path: Path) -> Any:
    """The plain data of a YAML file, as `read_file` reads it, but ten times as fast: for many that trainkit wrote.

    Raises:
        ConfigError: as `read_file`.
    """
    text = _text(path)
    with suppress(AttributeError, yaml.YAMLError, _UnusualError):  # PyYAML may lack libyaml
        events = yaml.parse(text, Loader=yaml.CSafeLoader)
        if isinstance(next(events), yaml.StreamStartEvent) and isinstance(next(events), yaml.DocumentStartEvent):
            found = _plain(next(events), events, depth=0)
            if [type(event) for event in events] == [yaml.DocumentEndEvent, yaml.StreamEndEvent] and isinstance(
                found, dict
            ):
                return found
    return read_file(path).plain()


class _UnusualError(Exception):
    """What `_Reader` has to judge."""


def _plain(event: Any, events: Iterator[yaml.Event], depth: int) -> Any:
    """The data of a node without positions, from libyaml's events: these need no stack, as its nodes do."""
    if depth > MAX_DEPTH or isinstance(event, yaml.AliasEvent) or event.anchor or event.tag:
        raise _UnusualError
    if isinstance(event, yaml.ScalarEvent):
        if "\0" in event.value:
            raise _UnusualError
        return event.value if event.style else resolve(event.value)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_plain(event, events, depth + 1))
        return items
    entries: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        if not isinstance(event, yaml.ScalarEvent) or event.value in entries or re.search("<<|:", event.value):
            raise _UnusualError
        _plain(event, events, depth + 1)
        entries[event.value] = _plain(next(events), events, depth + 1)
    return entries


def parse(text: str, start: Where) -> Node | None:
    """Parse one YAML document that begins at `start`; None when it is empty.

    Raises:
        ConfigError: with the positions, for everything that this module does not accept.
    """
    reader = _Reader(text, start)
    try:
        node = reader.document()
    except yaml.MarkedYAMLError as error:
        reader.problems.append(_syntax_problem(error, text, reader))
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        where = start.at(len(before) - 1, len(before[-1]))
        reader.problems.append(f"{where}: control character {error.character:#04x}")
    if reader.problems:
        raise ConfigError(*reader.problems)
    return node


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
        return number if abs(number) <= MAX_FLOAT else text
    return text


def number_hint(text: str) -> str:
    """What to do about a text that stands where a number belongs; empty where there is no more to say."""
    digits = text.lstrip("+-")
    if re.fullmatch(r"[0-9]+,[0-9]+", digits):
        return "; use a decimal point"
    if _LEADING_ZERO.fullmatch(text):
        return f"; leading zero: write {text.removesuffix(digits)}{digits.lstrip('0') or 0}"
    if _INT.fullmatch(text) and len(digits) > MAX_DIGITS:
        return f"; it has {len(digits)} digits (limit {MAX_DIGITS})"
    if _FLOAT.fullmatch(text):
        return f"; the largest number is {MAX_FLOAT:g}"
    if re.fullmatch(r"\.?(inf|nan|infinity)", digits, re.IGNORECASE):
        return "; it must be finite"
    if re.fullmatch(r"[\d_]+|0[xob]\w+|\d+(:\d+)+", digits):
        return "; write decimal digits only"
    return ""


def dump(value: Any) -> str:
    """Write plain data as YAML that `parse` reads back to the same data."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)


class _Reader:
    """Builds nodes from the event stream, and goes on after a problem, so that all are told at once."""

    def __init__(self, text: str, start: Where) -> None:
        self.start = start
        self.problems: list[str] = []
        self.open: list[str] = []
        """What is around the event at hand; empty texts for what needs no closing."""
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
            self.problems.append(f"{self.where(extra)}: only one YAML document is allowed")
        return None if node.value is None and not node.text else node

    def where(self, event: yaml.Event) -> Where:
        assert event.start_mark is not None
        return self.start.at(event.start_mark.line, event.start_mark.column)

    def node(self, event: yaml.Event, depth: int, key: Where | None = None) -> Node:
        where = self.where(event)
        if depth > MAX_DEPTH:
            raise ConfigError(*self.problems, f"{where}: nested deeper than {MAX_DEPTH}")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self.problems.append(f"{where}: anchors and aliases are not supported; use extends")
        if tag := getattr(event, "tag", None):
            self.problems.append(f"{where}: YAML tags are not allowed ({tag.replace('tag:yaml.org,2002:', '!!')})")
        if isinstance(event, yaml.ScalarEvent):
            if "\0" in event.value:  # written \0 in double quotes; no system call takes it in a path
                self.problems.append(f"{where}: control character 0x00")
            return Node(resolve(event.value) if event.style is None else event.value, where, key, event.value)
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            kind = "list" if isinstance(event, yaml.SequenceStartEvent) else "mapping"
            mark = event.start_mark
            assert mark is not None
            self.open.append(f"{kind} opened at {mark.line + 1}:{mark.column + 1}" if event.flow_style else "")
            value = self.sequence(depth) if kind == "list" else self.mapping(depth)
            self.open.pop()
            return Node(value, where, key)
        return Node(None, where, key, "an alias")

    def sequence(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return items

    def mapping(self, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, depth + 1)
            value = self.node(next(self.events), depth + 1, key.where)
            plain = isinstance(event, yaml.ScalarEvent) and event.style is None
            if not isinstance(event, yaml.ScalarEvent):
                self.problems.append(f"{key.where}: keys must be plain text")
            elif plain and key.text == "<<":
                self.problems.append(f"{key.where}: merge keys (<<) are not supported; use extends")
            elif plain and ":" in key.text and value.value is None and not value.text:
                self.problems.append(f"{key.where}: a space is missing after ':'")
            elif first := entries.get(key.text):
                line = first.key_where.line if first.key_where else 0
                self.problems.append(f"{key.where}: duplicate key {key.text!r} (first at line {line})")
            else:
                entries[key.text] = value
        return entries


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `resolve` would take for something else (`1e-3` is text to YAML 1.1)."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    quoted = not isinstance(resolve(text), str) or not text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _represent_text)


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, reader: _Reader) -> str:
    """PyYAML's complaint in a beginner's words, at the place where the mistake is rather than where it was noticed."""
    mark = error.problem_mark or error.context_mark
    assert mark is not None
    problem, begin = (error.problem or "not valid YAML").replace(r"'\x00'", "the end"), error.context_mark or mark
    lines = [*re.split("\r\n|[\r\n\x85\u2028\u2029]", text), ""]
    where = reader.start.at(mark.line, mark.column)
    above = next((n for n in range(mark.line - 1, -1, -1) if re.match(r"\s*[^\s#]", lines[n])), mark.line)
    for number in (above, mark.line):
        if re.match(r" *\t", lines[number]):
            return f"{reader.start.at(number, 0)}: tab in the indentation; use spaces"
    if "could not find expected ':'" in problem:
        return _no_key(lines[begin.line], reader.start.at(begin.line, begin.column))
    if "mapping values are not allowed" in problem and above < mark.line and ":" not in lines[mark.line][: mark.column]:
        return _no_key(lines[above], reader.start.at(above, len(lines[above]) - len(lines[above].lstrip())))
    if "mapping values are not allowed" in problem or ("got ':'" in problem and begin.line == mark.line):
        comma = "; or a comma is missing before it" if "{" in lines[mark.line][: mark.column] else ""
        return f"{where}: ':' inside a value; quote it{comma}"
    if "unknown escape character" in problem:
        letter = lines[mark.line][mark.column : mark.column + 1]
        return f"{where}: unknown escape \\{letter} in double quotes; use single quotes"
    if (error.context or "").startswith("while scanning a quoted"):
        return f"{where}: quote opened at {begin.line + 1}:{begin.column + 1} is not closed"
    if reader.open and reader.open[-1] and problem.startswith("expected"):
        return f"{where}: {reader.open[-1]} is not closed"
    if problem.startswith("expected <block end>"):
        return f"{where}: does not fit in here; check the indentation, and the quotes and brackets before"
    return f"{where}: {problem}{'; quote it' if 'cannot start any token' in problem else ''}"


def _no_key(line: str, where: Where) -> str:
    """What is wrong with a line that should begin with a key, or that is followed by deeper keys."""
    if re.match(r"[^:]+:\S", line):
        return f"{where}: a space is missing after ':'"
    if ": " in line:
        return f"{where}: has a value, so that the next line may not be indented deeper"
    return f"{where}: expected 'key: value'"


def show(value: object) -> str:
    """A value as the user would write it."""
    if isinstance(value, dict | list | tuple):
        return type_names[list if isinstance(value, tuple) else type(value)]
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)

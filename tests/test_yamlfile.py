from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit import yamlfile
from trainkit.errors import ConfigError
from trainkit.yamlfile import Node, Where

START = Where("cfg.yaml", 1, 1)
fuzz = settings(max_examples=300, deadline=None, database=None, derandomize=True)


def plain(text: str) -> Any:
    node = yamlfile.parse(text, START)
    return node and node.plain()


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        yamlfile.parse(text, START)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E-3", 0.001),
        (".001", 0.001),
        ("+5", 5),
        ("-0", 0),
        ("5.", 5.0),
        ("18446744073709551616", 2**64),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        # What YAML 1.1, or some other reader, would take for something else.
        ("no", "no"),
        ("Yes", "Yes"),
        ("True", "True"),
        ("on", "on"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-13-45", "2024-13-45"),
        ("2024-01-02", "2024-01-02"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e400", "1e400"),
        ("0,1", "0,1"),
        ("١٢", "١٢"),
        ("123456789012345678901", "123456789012345678901"),
        ("${x}", "${x}"),
        ("run #1", "run"),
        ("a#b", "a#b"),
        ("'1e-3'", "1e-3"),
        ('"32"', "32"),
        ("''", ""),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    found = plain(f"key: {text}")["key"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "\n\n"])
def test_nothing_is_none(text: str) -> None:
    assert yamlfile.parse(text, START) is None


def test_every_value_knows_its_place() -> None:
    node = yamlfile.parse("a: 1\nb:\n  c: [x, y]\n", START)
    assert node is not None
    c = (node.child("b") or node).child("c")
    assert c is not None
    assert (str(c.where), str(c.key_where)) == ("cfg.yaml:3:6", "cfg.yaml:3:3")
    assert str((c.child(1) or c).where) == "cfg.yaml:3:10"
    assert c.child(2) is None
    assert c.child("x") is None


def test_a_place_without_a_line_stands_for_all() -> None:
    node = yamlfile.parse("{a: [1]}", Where("command line"))
    assert node is not None
    assert {str(node.where), str((node.child("a") or node).where)} == {"command line"}


TAG = "YAML tags are not allowed"
DEEP = "nested deeper than 32"
ALIAS = "anchors and aliases are not supported; use extends"
HERE = "does not fit in here; check the indentation, and the quotes and brackets before"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n  lr: 1\n  lr: 2\n", ["cfg.yaml:3:3: duplicate key 'lr' (first at line 2)"]),
        ("a: &x 1\nb: *x\n", [f"cfg.yaml:1:4: {ALIAS}", f"cfg.yaml:2:4: {ALIAS}"]),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", [f"cfg.yaml:{at}: {ALIAS}" for at in ("1:4", "2:4", "2:8", "2:12")]),
        ("<<: {a: 1}\n", ["cfg.yaml:1:1: merge keys (<<) are not supported; use extends"]),
        ("a: !!python/object/apply:os.system [ls]\n", [f"cfg.yaml:1:4: {TAG} (!!python/object/apply:os.system)"]),
        ("a: !!int 5\nb: !!binary x\n", [f"cfg.yaml:1:4: {TAG} (!!int)", f"cfg.yaml:2:4: {TAG} (!!binary)"]),
        ("!foo\na: 1\n", [f"cfg.yaml:1:1: {TAG} (!foo)"]),
        ("? [a]\n: x\n", ["cfg.yaml:1:3: keys must be plain text"]),
        ("? {a: b}\n: x\n", ["cfg.yaml:1:3: keys must be plain text"]),
        ("a: 1\n---\nb: 2\n", ["cfg.yaml:2:1: only one YAML document is allowed"]),
        ("a: " + "[" * 1000, [f"cfg.yaml:1:36: {DEEP}"]),
        ("a: " + "[" * 200_000, [f"cfg.yaml:1:36: {DEEP}"]),
        ("a: " + "{a: " * 1000, [f"cfg.yaml:1:129: {DEEP}"]),
        ("- " * 1000 + "a", [f"cfg.yaml:1:67: {DEEP}"]),
        ("a: 1\nb\0: 1\n", ["cfg.yaml:2:2: control character 0x00"]),
        ("a: \x1b[31m\n", ["cfg.yaml:1:4: control character 0x1b"]),
        # All problems at once, those of the syntax last.
        (
            "a: 1\na: 2\nb: !foo 1\nc: [\n",
            [
                "cfg.yaml:2:1: duplicate key 'a' (first at line 1)",
                f"cfg.yaml:3:4: {TAG} (!foo)",
                "cfg.yaml:5:1: list opened at 4:4 is not closed",
            ],
        ),
    ],
)
def test_what_is_refused(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train:\n\tepochs: 1\n", "2:1: tab in the indentation; use spaces"),
        ("train:\n  epochs: 1\n\tlr: 1\n", "3:1: tab in the indentation; use spaces"),
        ("a: b: c\n", "1:5: ':' inside a value; quote it"),
        ("a: {b: c: d}\n", "1:9: ':' inside a value; quote it; or a comma is missing before it"),
        ("a: 1\nlr:0.1\n", "2:1: a space is missing after ':'"),
        ("a:\n  name: adam\n  lr:0.1\n", "3:3: a space is missing after ':'"),
        ("a:\n  lr:0.1\n\n  name: adam\n", "2:3: a space is missing after ':'"),
        ("a: {lr:0.1}\n", "1:5: a space is missing after ':'"),
        ("a: 1\nfoo\n", "2:1: expected 'key: value'"),
        ("foo\nbar: 1\n", "1:1: expected 'key: value'"),
        ("a: 1\n  b: 2\n", "1:1: has a value, so that the next line may not be indented deeper"),
        ("a: {b: [8, 16}\n", "1:14: list opened at 1:8 is not closed"),
        ("a: [x,\nb: 1\n", "3:1: list opened at 1:4 is not closed"),
        ("a: [1, 2\nb: 3\n", "2:2: list opened at 1:4 is not closed"),
        ("a: {b: c\nd: e\n", "2:2: mapping opened at 1:4 is not closed"),
        ("a: [\n", "2:1: list opened at 1:4 is not closed"),
        ('a: "abc\nb: 1\n', "3:1: quote opened at 1:4 is not closed"),
        ("a: 'abc\n", "2:1: quote opened at 1:4 is not closed"),
        ('a: "data\\images"\n', "1:10: unknown escape \\i in double quotes; use single quotes"),
        ("a:\n  b: 1\n c: 2\n", f"3:2: {HERE}"),
        ("a: 'b' c\n", f"1:8: {HERE}"),
        ("a: @b\n", "1:4: found character '@' that cannot start any token; quote it"),
        ("a: ]\n", "1:4: expected the node content, but found ']'"),
    ],
)
def test_mistakes_are_told_in_plain_words(text: str, expected: str) -> None:
    assert problems(text) == [f"cfg.yaml:{expected}"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "cfg.yaml: the file is empty"),
        (b"# nothing\n", "cfg.yaml: the file is empty"),
        (b"- a\n", "cfg.yaml:1:1: expected a mapping, got a list"),
        (b"5\n", "cfg.yaml:1:1: expected a mapping, got a number"),
        (b"hello\n", "cfg.yaml:1:1: expected a mapping, got text"),
        ("name: é".encode("latin-1"), "cfg.yaml: not UTF-8 at byte 6 (0xe9)"),
        ("name: x".encode("utf-16"), "cfg.yaml: not UTF-8 at byte 0 (0xff)"),
        (b"a: 1\n" * 60_000, "cfg.yaml: larger than 256 KB"),
    ],
)
def test_files_that_are_refused(content: bytes, expected: str) -> None:
    Path("cfg.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        yamlfile.read_file(Path("cfg.yaml"))
    assert caught.value.problems == (expected,)


@pytest.mark.parametrize("content", ["\ufeffa: 1\nb: x\n", "a: 1\r\nb: x\r\n"])
def test_byte_order_marks_and_windows_line_ends_are_welcome(content: str) -> None:
    Path("cfg.yaml").write_bytes(content.encode())
    assert yamlfile.read_file(Path("cfg.yaml")).plain() == {"a": 1, "b": "x"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("mnist.yaml", "mnist.yaml: no such file; did you mean configs/mnist.yaml?"),
        ("mnist", "mnist: no such file; did you mean configs/mnist.yaml?"),
        ("configs/mnits.yaml", "configs/mnits.yaml: no such file; did you mean configs/mnist.yaml?"),
        ("qqqqq.yaml", "qqqqq.yaml: no such file"),
        ("configs", "configs: is a directory"),
        ("pipe", "pipe: is not a regular file"),
        ("configs/mnist.yaml/x", "configs/mnist.yaml/x: not a directory"),
        ("a\0b", r"'a\x00b': embedded null byte"),
    ],
)
def test_paths_that_lead_nowhere(path: str, expected: str) -> None:
    Path("configs").mkdir()
    Path("configs/mnist.yaml").write_text("a: 1\n")
    os.mkfifo("pipe")
    with pytest.raises(ConfigError) as caught:
        yamlfile.read_file(Path(path))
    assert caught.value.problems == (expected,)


scalars = st.none() | st.booleans() | st.integers(-(10**19), 10**19) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.sampled_from(
    [
        "1e-3",
        "no",
        "~",
        "null",
        "010",
        "1:30",
        "<<",
        "---",
        "a: b",
        "#",
        " x ",
        "a\nb",
        "*a",
        "!!int 5",
        ".inf",
        "=",
        "é",
    ]
)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@fuzz
@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_what_is_dumped_is_read_back(data: dict[str, Any]) -> None:
    assert plain(yamlfile.dump(data)) == data


def test_equal_lists_are_dumped_without_anchors() -> None:
    shared = [1, 2]
    assert yamlfile.dump({"a": shared, "b": shared}) == "a: [1, 2]\nb: [1, 2]\n"


pieces = st.sampled_from(
    [
        *"ab1:,-[]{}'\"\\#&*!|>%@`? \n\t\r~.=+_<\x85\u2028\udc00\x00\ufeff",
        "a: ",
        "\n  ",
        "!!int ",
        "--- ",
        "{a: ",
        "<<: ",
    ]
)


@fuzz
@given(st.lists(pieces, max_size=30).map("".join) | st.text(max_size=60))
def test_only_config_errors_leave_the_reader(text: str) -> None:
    try:
        node = yamlfile.parse(text, START)
    except ConfigError:
        return
    assert node is None or plain(yamlfile.dump(node.plain())) == node.plain()


def test_plain_data_becomes_nodes_of_one_place() -> None:
    node = yamlfile.from_plain({"a": [True, None, 0.5, "x"]}, Where("last.pt"))
    assert node.plain() == {"a": [True, None, 0.5, "x"]}
    items = (node.child("a") or node).value
    assert isinstance(items, list)
    assert [(item.text, str(item.where)) for item in items if isinstance(item, Node)] == [
        ("true", "last.pt"),
        ("null", "last.pt"),
        ("0.5", "last.pt"),
        ("x", "last.pt"),
    ]

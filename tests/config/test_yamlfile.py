from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainkit.config import yamlfile
from trainkit.config.yamlfile import Node, Where
from trainkit.core.errors import ConfigError

START = Where("cfg.yaml", 1, 1)


def plain(text: str) -> Any:
    node = yamlfile.parse(text, START)
    return node and node.plain()


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
        ("1e39", "1e39"),
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


def test_a_path_that_no_system_call_takes() -> None:
    with pytest.raises(ConfigError, match="embedded null byte"):
        yamlfile.read_file(Path("a\0b"))


scalars = st.none() | st.booleans() | st.integers(-(10**19), 10**19) | st.floats(-3.4e38, 3.4e38)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200) | st.sampled_from(
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


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [1.5, x, ~, true, '1', \"2\"]\nc: {d: {}, 3: [], e: 1e-3}\n",
        "# only a comment\n", "[1, 2]\n", "a: &b 1\nc: *b\n", "a: !!str 1\n", "a: 1\na: 2\n", "? [a]\n: 1\n",
        "<<: {a: 1}\n", "a:1:\n", "a: [1\n", "a: 1\n---\nb: 2\n", "a: \"\\0\"\n", "a: " + "[" * 200,
    ],
)  # fmt: skip
def test_plain_data_is_read_as_with_positions(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(text)

    def outcome(read: Callable[[Path], Any]) -> str:
        try:
            return repr(read(path))
        except ConfigError as error:
            return "\n".join(error.problems)

    assert outcome(yamlfile.read_plain) == outcome(lambda path: yamlfile.read_file(path).plain())


def test_plain_data_is_read_without_libyaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("yaml.CSafeLoader", raising=False)
    path = tmp_path / "any.yaml"
    path.write_text("a: [1, 2]\n")
    assert yamlfile.read_plain(path) == {"a": [1, 2]}

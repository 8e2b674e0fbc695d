"""The house as its imports show it: what no import contract says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainkit

HOUSE = Path(trainkit.__file__).parent
MODULES = sorted(HOUSE.rglob("*.py"))
LONG = 300


def name_of(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def imported(tree: ast.AST) -> Iterator[tuple[ast.ImportFrom, str]]:
    """Our own modules that a file imports, as in `trainkit.data.base`, and what it takes from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("trainkit"):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def test_everything_has_a_wing() -> None:
    assert len([path for path in HOUSE.glob("*.py") if not path.stem.startswith("__")]) <= 8


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module(path: Path) -> None:
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    assert docstring
    # What is longer says in its docstring why it is one thing.
    assert text.count("\n") <= LONG or "\n" in docstring
    wing = path.relative_to(HOUSE).parts[0]
    lines = text.splitlines()
    inside = {
        statement
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in ast.walk(function)
    }
    for statement, name in imported(tree):
        parts = name.split(".")[1:]
        assert parts[0] == wing or not any(part.startswith("_") for part in parts if part != "__version__"), name
        # A command imports what it needs when it runs; elsewhere something heavy is kept out, and named.
        if statement in inside and wing not in ("cli", "__main__.py"):
            around = lines[statement.lineno - 2 : statement.end_lineno]
            assert any("#" in line for line in around), f"{name}: imported inside a function without a reason"

"""Only its own room knows a task: elsewhere nobody asks which task or which kind of input it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_house import HOUSE, MODULES, imported, name_of
from trainkit.config import registry
from trainkit.data.inputs import InputKind
from trainkit.tasks import Task


def below(base: type) -> Iterator[str]:
    """The names of trainkit's classes that are derived from one."""
    derived: list[type] = base.__subclasses__()
    for one in derived:
        if one.__module__.startswith("trainkit."):
            yield one.__name__
        yield from below(one)


NAMED = {*registry.names("task"), *registry.names("input")} - {"numbers"}  # as which a table's column may be read, too
TASKS = {*below(Task)}
KINDS = {*below(InputKind)}

DECLARE = tuple(f"training/{name}.py" for name in ("losses", "metrics", "segmentation_losses", "segmentation_metrics"))
"""Say on which tasks they work, and may ask which of those it is."""
MAKE = ("data/sources/", "data/tables/", "data/images/", "__init__.py")
"""Make a task of what they read, or hand it out as a name of trainkit."""


def compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The texts to which something is compared or matched, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.MatchValue):
            texts = (one for one in ast.walk(node) if isinstance(one, ast.Constant))
            yield from ((text.lineno, text.value) for text in texts if isinstance(text.value, str))


def asked(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names of classes in `isinstance`, `issubclass`, comparisons and patterns, with their lines."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass")) | ast.Compare() | ast.MatchClass():
                for one in ast.walk(node):
                    if isinstance(one, ast.Name | ast.Attribute):
                        yield one.lineno, one.id if isinstance(one, ast.Name) else one.attr


def brought(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names of what is imported of trainkit, with their lines."""
    yield from ((node.lineno, name.rpartition(".")[2]) for node, name in imported(tree))


def known(path: str, tree: ast.AST) -> list[str]:
    """Where a module knows what it is not to know."""
    found: list[tuple[int, str]] = []
    if not path.startswith("tasks/"):
        found += [one for one in compared(tree) if one[1] in NAMED]
        if path not in DECLARE:
            found += [one for one in asked(tree) if one[1] in TASKS]
            found += [one for one in brought(tree) if one[1] in TASKS and not path.startswith(MAKE)]
    if not path.startswith(("data/", "tasks/")):
        found += [one for one in (*asked(tree), *brought(tree)) if one[1] in KINDS]
    return [f"{path}:{line}: {name}" for line, name in found]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_knows_no_task(path: Path) -> None:
    assert known(path.relative_to(HOUSE).as_posix(), ast.parse(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("runs/run.py", "if task.name == 'multilabel':\n    pass", ["1: multilabel"]),
        ("runs/run.py", "x = spec.task.kind in (\n'classification', 'other')", ["2: classification"]),
        ("runs/run.py", "match task.name:\n    case 'regression' | 'a':\n        pass", ["2: regression"]),
        ("training/losses.py", "x = task.name != 'multilabel'", ["1: multilabel"]),
        ("data/base.py", "from trainkit.tasks import Regression, Task", ["1: Regression"]),
        ("data/sources/table.py", "from trainkit.tasks import Regression\nx = Regression(size=1)", []),
        ("data/sources/table.py", "x = isinstance(task, tasks.Regression | A)", ["1: Regression"]),
        ("data/tables/target.py", "x = type(task) is Classification", ["1: Classification"]),
        ("runs/run.py", "match task:\n    case Categorical():\n        pass", ["2: Categorical"]),
        ("training/metrics.py", "from trainkit.tasks import MultiLabel\nx = isinstance(task, MultiLabel)", []),
        ("runs/run.py", "x = issubclass(type(spec.input), Pictures)", ["1: Pictures"]),
        ("models/rnn.py", "def f():\n    from trainkit.data.inputs.sequences import Sequences", ["2: Sequences"]),
        ("data/spec.py", "x = isinstance(self.input, Numbers)", []),
        ("tasks/regression.py", "x = isinstance(task, Regression) and self.name == 'regression'", []),
    ],
)
def test_what_is_found(path: str, text: str, found: list[str]) -> None:
    assert known(path, ast.parse(text)) == [f"{path}:{one}" for one in found]

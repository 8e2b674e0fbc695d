"""Data is never code: what the source may not even contain."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainkit

SOURCE = Path(trainkit.__file__).parent
MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
CALLS = {
    "eval", "exec", "compile", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "torch.jit.load", "torch.hub.load",
    "torch.hub.load_state_dict_from_url", "os.system", "os.popen", "tempfile.mktemp", "logging.config.dictConfig",
    "extractall", "unpack_archive", "fromfile",
}  # fmt: skip
OPTIONS = {"shell": True, "allow_pickle": True, "weights_only": False}
NEEDED = {"torch.load": "weights_only", "np.load": "allow_pickle"}
LOADERS = {"registry.py", "__init__.py"}
"""Where a module may be imported by a name that is not written out: the user's own, and trainkit's public names."""


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def banned(file: str, tree: ast.AST) -> Iterator[str]:
    """What in a source file could turn data into code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names if alias.name.split(".")[0] in MODULES)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield f"from {node.module}"
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in CALLS or name.rpartition(".")[2] in {call for call in CALLS if "." not in call} - {
            "eval", "exec", "compile",  # methods of modules and patterns
        }:  # fmt: skip
            yield name
        options = {word.arg: getattr(word.value, "value", None) for word in node.keywords if word.arg}
        yield from (f"{key}={value}" for key, value in OPTIONS.items() if options.get(key, not value) is value)
        if name in NEEDED and NEEDED[name] not in options:
            yield f"{name} without {NEEDED[name]}"
        if name.endswith("import_module") and file not in LOADERS and not isinstance(node.args[0], ast.Constant):
            yield "import_module of a name from elsewhere"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_in_the_source_runs_data(path: Path) -> None:
    assert list(banned(path.name, ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from joblib import load", "eval(text)", "yaml.load(file)", "torch.load(path)",
        "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)", "run(command, shell=True)",
        "archive.extractall()", "torch.hub.load('x', 'y')", "importlib.import_module(name)",
    ],
)  # fmt: skip
def test_the_gate_sees_what_it_is_for(code: str) -> None:
    assert list(banned("some.py", ast.parse(code)))

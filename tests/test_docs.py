"""What the pages in docs/ name is there: tests, configs, commands, options and messages."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer.main

from tests.command import ROOT
from trainkit.cli.commands import app
from trainkit.config import merging
from trainkit.experiment.loading import load

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

TEST = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")
CONFIG = re.compile(r"\bconfigs/\w+\.yaml")
COMMAND = re.compile(r"^(?:\$ )?((?:\w+=\S+ )*trainkit .*)$")
PREFIX = re.compile(r"(?:error: |warning: )?(?:command line: |\w+\.yaml:\d+:\d+: (?:imports: )?)?")


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def test_there_are_pages() -> None:
    assert {page.name for page in PAGES} >= {"README.md", "pitfalls.md", "coverage.md"}


def test_tests_that_are_named_exist() -> None:
    missing = []
    for page in PAGES:
        for path, name in TEST.findall(page.read_text()):
            if not (ROOT / path).is_file():
                missing.append(path)
            elif name and name not in {node.name for node in tree(path).body if isinstance(node, ast.FunctionDef)}:
                missing.append(f"{path}::{name}")
    assert missing == []


def test_configs_that_are_named_exist() -> None:
    named = {name for page in PAGES for name in CONFIG.findall(page.read_text())}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == ["configs/my.yaml"]  # one that is wrong


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        text = page.read_text()
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if path.startswith("http"):
                continue
            if (path and not (page.parent / path).exists()) or (not path and anchor not in anchors):
                broken.append(f"{page.name}: {target}")
    assert broken == []


def commands() -> list[str]:
    """What the pages tell a user to type: in backticks, or a line of a shell block."""
    found = []
    for page in PAGES:
        text = page.read_text()
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        lines = [" ".join(inline.split()) for inline in re.findall(r"`([^`]+)`", prose)]
        lines += [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
        found += [match[1] for line in lines if (match := COMMAND.match(line))]
    return sorted(set(found))


@pytest.mark.parametrize("line", commands())
def test_commands_and_options_are_real(line: str) -> None:
    """Names alone: nothing is run. Words in capitals, such as RUN, stand for something of the reader's."""
    group = typer.main.get_command(app)
    known: dict[str, set[str]] = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in group.commands.items()  # type: ignore[attr-defined]  # of a group
    }
    words = shlex.split(line.partition("#")[0])
    words = words[words.index("trainkit") + 1 :]
    name = words[0]
    assert name in known, line
    assert [word for word in words if word.startswith("-") and word.partition("=")[0] not in known[name]] == []
    configs = [word for word in words if word.startswith("configs/")]
    overrides = [word for word in words[1:] if re.match(r"[a-z_.]+=", word)]
    if configs and name == "train":
        load(ROOT / configs[0], overrides)
    elif overrides:
        merging.override(merging.read(ROOT / "configs/smoke.yaml"), [word for word in overrides if "," not in word])


def messages() -> list[str]:
    """The lines of ```text blocks; what is indented goes on with the line above."""
    blocks = [block for page in PAGES for block in re.findall(r"```text\n(.*?)```", page.read_text(), re.DOTALL)]
    return [line for block in blocks for line in re.sub(r"\n\s+", " ", block).splitlines()]


def plain(text: str) -> str:
    """Without what differs between a literal, a regular expression and a page: backslashes and spaces."""
    return "".join(text.replace("\\", "").split())


@cache
def literals() -> str:
    """Every string in the tests; adjacent ones are one to Python."""
    found = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        if path != Path(__file__):
            found += [
                node.value
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
    return "\n".join(map(plain, found))


@pytest.mark.parametrize("message", messages())
def test_messages_are_compared_with_the_program(message: str) -> None:
    """Each stands in a string of some test, which compares it with what the program says."""
    shown = message[PREFIX.match(message).end() :]  # type: ignore[union-attr]  # the pattern matches nothing, too
    assert plain(shown) in literals()


def test_every_code_of_a_warning_is_explained() -> None:
    """In the table of what `check` finds, or among what `data` and `doctor` look for."""
    source = "".join(path.read_text() for path in (ROOT / "src/trainkit").rglob("*.py"))
    codes = set(re.findall(r'(?:Diagnostic|warn)\(\s*"([a-z0-9-]+)"', source))
    page = (ROOT / "docs/before_training.md").read_text()
    assert len(codes) > 15
    assert sorted(code for code in codes if f"`{code}`" not in page) == []

"""What the program prints to be typed, taken as a shell takes it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer.main

from tests.command import Ended, warm
from trainkit.cli.commands import app

NAMES = "|".join(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # of a group
COMMAND = re.compile(rf"(?:PYTHONPATH=(?:'[^']*'|[^ '])+ )?\b(?:trainkit (?:{NAMES}) |tensorboard --).*")
SETTING = re.compile(r"(?<![\w.'])(?:'[a-z_]+(?:\.[a-z_]+)*=(?:[^']|'\"'\"')*'|[a-z_]+(?:\.[a-z_]+)*=[^\s';,)]+)")


def commands(said: str) -> list[str]:
    """The whole commands in some output or in the first line of a file: each goes on to the end of its line."""
    return [found[0] for line in said.splitlines() if (found := COMMAND.search(line))]


def settings(said: str) -> list[str]:
    """Every `key=value`, quoted as it stands there."""
    return SETTING.findall(said)


def words(line: str) -> list[str]:
    """What a shell makes of a line, PYTHONPATH in front."""
    catch = 'catch() { printf \'%s\\0\' "${PYTHONPATH-}" "$@"; }; trainkit() { catch trainkit "$@"; }'
    tensorboard = 'tensorboard() { catch tensorboard "$@"; }'
    ended = subprocess.run(
        ["bash", "-c", f"{catch}\n{tensorboard}\n{line}"], capture_output=True, text=True, check=True
    )
    return ended.stdout.split("\0")[:-1]


def run(line: str) -> Ended:
    """Type it."""
    path, program, *rest = words(line)
    if program == "tensorboard":
        assert Path(rest[rest.index("--logdir") + 1]).is_dir(), line
        return Ended(0, "", "", False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        return warm.run(rest)

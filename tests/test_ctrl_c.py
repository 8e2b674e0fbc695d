"""Ctrl-C at any moment: exit code 130, one line, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT, Ended
from tests.golden import golden
from tests.runs.test_exact_resume import JOB, WORKERS, begin, undisturbed

STARTUP = os.pathsep.join([str(ROOT / "tests" / "startup"), str(ROOT)])


def interrupted(ended: Ended) -> str:
    """The one line of a command that Ctrl-C has ended."""
    assert ended.code == 130, ended
    [line] = said(ended)
    return line


def said(ended: Ended) -> list[str]:
    return [line for line in ended.stderr.splitlines() if not line.startswith("warning: train.limit_batches")]


@pytest.mark.parametrize("number", [10, 100, 300, 1000, 3000, 10_000, 20_000, 40_000, 80_000])
def test_anywhere_in_a_run(number: int, tmp_path: Path) -> None:
    line = interrupted(begin(tmp_path / "job", failpoints=f"call=int@{number}"))
    assert line == "error: interrupted" or line.startswith(("stopped by SIGINT at step", "interrupted at step"))


def test_while_the_process_ends(tmp_path: Path) -> None:
    ended = begin(tmp_path / "job", failpoints="exit=int")
    assert interrupted(ended) == "error: interrupted"
    assert golden(tmp_path / "job") == undisturbed()


def test_a_worker_that_has_just_begun_never_hears_of_it(tmp_path: Path) -> None:
    ended = begin(tmp_path / "job", WORKERS, failpoints="child=int")
    assert (ended.code, said(ended)) == (0, [])
    assert golden(tmp_path / "job") == undisturbed()


def in_a_process(*words: str, interrupted_at: str) -> tuple[int, str]:
    """As a user starts it: those in which the other tests run have imported everything already."""
    Path("job.yaml").write_text(JOB)
    environment = {**os.environ, "PYTHONPATH": STARTUP, "FAILPOINTS": f"import=int@{interrupted_at}"}
    ended = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("module", ["trainkit.cli.main", "typer", "yaml", "pydantic_core", "numpy", "torch.nn"])
def test_while_modules_are_imported(module: str) -> None:
    assert in_a_process("-m", "trainkit", "check", "job.yaml", interrupted_at=module) == (130, "error: interrupted\n")


def test_the_installed_command() -> None:
    script = Path(sys.executable).with_name("trainkit")
    assert in_a_process(str(script), "list", interrupted_at="trainkit.cli.main") == (130, "error: interrupted\n")


def test_where_it_is_ignored_it_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert in_a_process("-m", "trainkit", "--version", interrupted_at="typer") == (0, "")
    finally:
        signal.signal(signal.SIGINT, before)

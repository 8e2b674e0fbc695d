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
from tests.test_exact_resume import JOB, WORKERS, begin, undisturbed

STARTUP = os.pathsep.join([str(ROOT / "tests" / "startup"), str(ROOT)])


def interrupted(ended: Ended) -> str:
    """The one line of a command that Ctrl-C has ended."""
    assert ended.code == 130, ended
    [line] = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize("number", [1, 10, 100, 300, 1000, 3000, 10_000, 20_000, 40_000, 80_000])
def test_anywhere_in_a_run(number: int, tmp_path: Path) -> None:
    line = interrupted(begin(tmp_path / "job", failpoints=f"call=int@{number}"))
    assert line == "error: interrupted" or line.startswith("stopped by SIGINT at step")


def test_while_the_process_ends(tmp_path: Path) -> None:
    ended = begin(tmp_path / "job", failpoints="exit=int")
    assert interrupted(ended) == "error: interrupted"
    assert golden(tmp_path / "job") == undisturbed()


def test_a_worker_that_has_just_begun_never_hears_of_it(tmp_path: Path) -> None:
    ended = begin(tmp_path / "job", WORKERS, failpoints="child=int")
    assert (ended.code, ended.stderr) == (0, "")
    assert golden(tmp_path / "job") == undisturbed()


@pytest.mark.parametrize(
    "module", ["trainkit.cli", "typer", "yaml", "pydantic_core", "numpy", "torch.nn", "torch._dynamo"]
)
@pytest.mark.parametrize("program", [["-m", "trainkit"], [str(Path(sys.executable).with_name("trainkit"))]])
def test_while_modules_are_imported(module: str, program: list[str]) -> None:
    """In a process as a user starts it: those in which the other tests run have imported everything already."""
    if len(program) == 1 and module != "trainkit.cli":
        pytest.skip("the same from here on")
    Path("job.yaml").write_text(JOB)
    words = [sys.executable, *program, "train", "job.yaml", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": STARTUP, "FAILPOINTS": f"import=int@{module}"}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, "error: interrupted\n")


def test_where_it_is_ignored_it_stays_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert begin(tmp_path / "job", failpoints="call=int@100").code == 0
    finally:
        signal.signal(signal.SIGINT, before)

"""Signals, terminals that go away, odd environments, little memory: what the world does to a training process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.golden import golden
from tests.runs.test_exact_resume import JOB, begin, go_on, litter, train, undisturbed

TRAIN = (sys.executable, "-m", "trainkit", "train")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "job"


def saved_steps(run: Path) -> list[int]:
    return [
        int(step) for step in re.findall(r"^saved .* at step (\d+)$", (run / "train.log").read_text(), re.MULTILINE)
    ]


def metadata(run: Path) -> dict[str, object]:
    told: dict[str, object] = json.loads((run / "run.json").read_text())
    return told


@pytest.mark.parametrize(("name", "code"), [("term", -15), ("int", 130)])
def test_the_second_signal_ends_a_save_at_once(name: str, code: int, run: Path) -> None:
    assert begin(run, failpoints=f"ckpt.mid_write={name}+{name}@2").code == code
    assert saved_steps(run) == [3]
    assert go_on(run).code == 0
    assert golden(run) == undisturbed()


def test_a_signal_during_a_save_lets_it_finish_and_does_not_repeat_it(run: Path) -> None:
    assert begin(run, failpoints="ckpt.mid_write=term@3").code == 143
    assert saved_steps(run) == [3, 5, 6]
    assert metadata(run)["status"] == "stopped"


def test_a_save_that_takes_longer_than_the_grace_time(run: Path) -> None:
    ended = begin(run, failpoints="grace=0.3;ckpt.mid_write=term+sleep:30@3")
    assert ended.code == 143
    assert ended.stderr.splitlines()[-1] == (
        "stopped by SIGTERM at step 6, which was not saved within 0.3 s; "
        f"last good: step 5 in {run}/checkpoints/last.pt; go on with: trainkit train --resume {run}"
    )
    assert litter(run) == []
    assert metadata(run)["status"] == "stopped"
    assert go_on(run).code == 0
    assert golden(run) == undisturbed()


def test_the_grace_time_is_for_schedulers_and_not_for_ctrl_c(run: Path) -> None:
    assert begin(run, failpoints="grace=0.1;ckpt.mid_write=int+sleep:0.3@2").code == 130
    assert saved_steps(run) == [3, 5]


def test_usr1_asks_for_a_checkpoint(run: Path) -> None:
    assert begin(run, failpoints="step.after_optimizer=usr1@7").code == 0
    assert saved_steps(run)[:5] == [3, 5, 6, 7, 9]
    assert golden(run) == undisturbed()


def test_stopped_for_a_while_and_continued(run: Path) -> None:
    assert begin(run, failpoints="step.after_optimizer=stop@7").code == 0
    assert golden(run) == undisturbed()


def test_a_clock_that_jumps(run: Path) -> None:
    assert begin(run, failpoints="clock=").code == 0
    assert golden(run) == undisturbed()


def test_a_signal_before_the_first_step(run: Path) -> None:
    assert begin(run, failpoints="build.data=term@1").code == -15
    assert not run.exists()
    assert begin(run, failpoints="build.model=int@1").code == 130
    assert not run.exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("delay", [0.0, 0.3, 1.5])
def test_a_signal_while_python_starts(signum: signal.Signals, delay: float, run: Path) -> None:
    config = run.with_suffix(".yaml")
    config.write_text(JOB)
    process = subprocess.Popen([*TRAIN, str(config), "--run-dir", str(run)], stderr=subprocess.PIPE, text=True)
    time.sleep(delay)
    process.send_signal(signum)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode in (-signum, 128 + signum)
    assert "Traceback" not in stderr


@pytest.mark.parametrize("streams", ["", "2>&1"])
def test_a_reader_that_goes_away(streams: str, run: Path) -> None:
    config = run.with_suffix(".yaml")
    config.write_text(JOB)
    command = f"{' '.join(TRAIN)} {config} --run-dir {run} {streams} | head -n 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    assert metadata(run)["status"] == "finished"
    assert golden(run) == undisturbed()


def test_another_environment_gives_the_same_bits(run: Path) -> None:
    config = run.with_suffix(".yaml")
    config.write_text(JOB)
    environment = {
        "PATH": os.environ["PATH"], "PYTHONHASHSEED": "12345", "LC_ALL": "C", "TZ": "Asia/Kathmandu",
        "TMPDIR": "/nonexistent", "PYTHONIOENCODING": "ascii", "COLUMNS": "20", "TERM": "dumb",
        **{name: value for name, value in os.environ.items() if name.startswith(("ATEN_", "OMP_"))},  # the processor
    }  # fmt: skip
    ended = subprocess.run([*TRAIN, config, "--run-dir", run], capture_output=True, env=environment, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert golden(run) == undisturbed()


def test_killed_through_the_unmodified_command(run: Path) -> None:
    """As in the tests of the exact resume, but every process is started as a user starts it."""
    config = run.with_suffix(".yaml")
    config.write_text(JOB)
    path = os.pathsep.join([str(ROOT / "tests" / "startup"), str(ROOT)])
    words = [*TRAIN, str(config), "--run-dir", str(run)]
    for point in ("ckpt.mid_write=kill@2", "ckpt.after_best=kill@2", "step.after_backward=term@3", ""):
        environment = {**os.environ, "PYTHONPATH": path, "FAILPOINTS": point}
        ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
        code = {"kill": -9, "term": 143, "": 0}[point.partition("=")[2][:4]]
        assert ended.returncode == code, ended.stderr
        words = [*TRAIN, "--resume", str(run)]
    assert golden(run) == undisturbed()


def test_foreign_files_are_left_alone(run: Path) -> None:
    begin(run, failpoints="step.after_optimizer=kill@10")
    foreign = ["notes.txt", "checkpoints/mine.pt", "checkpoints/.tmp-mine", "checkpoints/step-1.pt", "tb/events.txt"]
    for name in foreign:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(name)
    assert go_on(run).code == 0
    assert [(run / name).read_text() for name in foreign] == foreign
    assert golden(run) == undisturbed()


@pytest.mark.parametrize("name", ["with spaces", "läuft 🎉", "n" * 200])
def test_odd_names_of_directories(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    run = tmp_path / name / "job"
    assert begin(run, failpoints="step.after_optimizer=kill@4").code == -9
    assert go_on(run).code == 0
    assert golden(run) == undisturbed()


def test_too_little_memory(run: Path) -> None:
    large = ("model.hidden=[100000]", "loader.batch_size=1000", "data.augment=[]", "train.ema=null")
    ended = begin(run, *large, failpoints="memory=300")
    assert ended.code == 8, ended
    assert ended.stderr.splitlines()[-1] == (
        "error: out of memory with loader.batch_size 1000; try loader.batch_size=500"
    )


def test_nothing_that_fails_unexpectedly_is_quiet(run: Path) -> None:
    ended = begin(run, failpoints="step.after_backward=raise@5")
    assert ended.code == 1
    assert "RuntimeError: failed at step.after_backward" in ended.stderr
    assert metadata(run)["status"] == "failed"
    assert train("--resume", str(run)).code == 0
    assert golden(run) == undisturbed()


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("ckpt.mid_write=errno:ENOSPC@3", "last.pt: no space left on device after step 6; last good: step 5 in"),
        ("ckpt.after_fsync=errno:EDQUOT@3", "last.pt: disk quota exceeded after step 6; last good: step 5 in"),
        ("log.before_flush=errno:EIO@2", "input/output error after step 5; last good: step 3 in"),
        ("eval.mid=errno:EMFILE@1", "too many open files after step 5; last good: step 3 in"),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_one_line(point: str, said: str, run: Path) -> None:
    ended = begin(run, failpoints=point)
    assert ended.code == 5
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert said in line
    assert line.endswith(f"; go on with: trainkit train --resume {run}")
    assert go_on(run).code == 0
    assert golden(run) == undisturbed()

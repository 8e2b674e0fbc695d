"""Sweeps whose trials fail, whose driver dies, that are told to stop: in the end they are what they would have been."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT, Ended, warm
from tests.golden import golden
from tests.test_storage import in_small_disk, needs_mount

JOB = """
name: job
data: {name: digits, val: 100}
loader: {batch_size: 32}
model: {name: mlp, hidden: [16], dropout: 0.2}
optimizer: {name: adam, lr: 0.01}
train: {epochs: 2, limit_batches: 4, eval_every: 2}
log: {every: 4, tensorboard: false}
checkpoint: {every: 2}
"""
"""8 steps, saved and evaluated every 2."""
SEEDS = "seed=0,1,2"

Row = dict[str, str]
LossOutput = tuple[list[Row], dict[str, dict[str, str]]]


@pytest.fixture(autouse=True)
def job(own_directory: None) -> Iterator[None]:
    Path("job.yaml").write_text(JOB)
    yield
    for process in alive():  # of a test that has failed
        os.kill(process, signal.SIGKILL)


def sweep(*words: str, failpoints: str = "") -> Ended:
    """The real command with failpoints armed, in its trials, too, which are forked from it."""
    os.environ["FAILPOINTS"] = f"fork=;{failpoints}"
    try:
        return warm.run(["sweep", *words])
    finally:
        del os.environ["FAILPOINTS"]


def go_on(*words: str, failpoints: str = "") -> Ended:
    return sweep("--resume", str(directory()), *words, failpoints=failpoints)


def directory() -> Path:
    [found] = Path("runs/job").glob("*-sweep")
    return found


def table(sweep: Path) -> list[Row]:
    """What results.csv says, without times."""
    return [row | {"seconds": ""} for row in csv.DictReader((sweep / "results.csv").read_text().splitlines())]


def status(trial: str) -> str:
    return next(row["status"] for row in table(directory()) if row["trial"] == trial)


def outcome(sweep: Path) -> LossOutput:
    """What must not depend on what has happened on the way."""
    return table(sweep), {row["trial"]: golden(sweep / row["directory"]) for row in table(sweep)}


def begun(ended: Ended) -> list[str]:
    return re.findall(r"^trial (\d+)  begins", ended.stderr, re.MULTILINE)


def metadata(trial: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((directory() / "trials" / trial / "run.json").read_text())
    return told


def alive() -> list[int]:
    """All processes that this test has started: they work in its directory."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            where = link.readlink()
        except OSError:  # it has ended, or is not ours
            continue
        if where.is_relative_to(Path.cwd()) and int(link.parent.name) != os.getpid():
            found.append(int(link.parent.name))
    return found


def wait_for_the_end_of_all() -> None:
    deadline = time.monotonic() + 10
    while alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive() == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over three seeds that nothing has happened to."""
    home = tmp_path_factory.mktemp("undisturbed")
    (home / "job.yaml").write_text(JOB)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert sweep("job.yaml", SEEDS).code == 0
        return directory().absolute()


def test_what_becomes_of_trials_that_fail(undisturbed: Path) -> None:
    faults = {
        "001": "step.after_optimizer=kill@5",  # one step after the save from which it goes on: once
        "002": "ckpt.mid_write=errno:ENOSPC@3",  # there are two more saves: once
        "003": "step.before_backward=kill@1",  # again and again
        "004": "step.after_backward=raise:MemoryError@2",
        "005": "step.after_backward=raise:DivergedError@2",
        "006": "build.data=raise:DataError",
        "007": "build.model=raise:ConfigError",
    }
    armed = ";".join(f"only={trial};{fault}" for trial, fault in faults.items())
    ended = sweep("job.yaml", "seed=0,1,2,3,4,5,6,7", "--jobs", "2", failpoints=armed)
    assert ended.code == 9
    assert {row["trial"]: row["status"] for row in table(directory())} == {
        "000": "finished",
        "001": "finished",
        "002": "finished",
        "003": "failed (killed by SIGKILL)",
        "004": "failed (out of memory with loader.batch_size 32; try loader.batch_size=16)",
        "005": "diverged",
        "006": "failed (failed at build.data)",
        "007": "failed (failed at build.model)",
    }
    assert [line.split(maxsplit=3)[-1] for line in ended.stdout.splitlines()[4:9]] == [
        status(trial) for trial in ("003", "004", "005", "006", "007")
    ]
    assert Counter(begun(ended)) == Counter({f"00{number}": 1 for number in range(8)}) + Counter(["001", "002", "003"])
    assert "trial 001  killed by SIGKILL" in ended.stderr
    assert re.search(
        r"trial 002  failed \(.*: no space left on device after step 6; last good: step 4 in ", ended.stderr
    )
    assert ended.stderr.splitlines()[-1] == (
        f"error: 5 of 8 trials failed: 003, 004, 005, 006, 007; see {directory()}/logs; "
        f"go on with: trainkit sweep --resume {directory()} --jobs 2"
    )
    for trial in ("001", "002"):
        assert "resumed at step 4" in (directory() / f"logs/{trial}.log").read_text()
        assert golden(directory() / "trials" / trial) == golden(undisturbed / "trials" / trial)
    ended = go_on("--jobs", "2")
    assert ended.code == 9
    assert sorted(begun(ended)) == ["003", "004", "006", "007"]
    assert [row["trial"] for row in table(directory()) if row["status"] != "finished"] == ["005"]


@pytest.mark.parametrize("when", [1, 2, 3])
@pytest.mark.parametrize("point", ["sweep.after_start", "sweep.before_result"])
def test_a_driver_that_is_killed(point: str, when: int, undisturbed: Path) -> None:
    assert sweep("job.yaml", SEEDS, failpoints=f"{point}=kill@{when}").code == -9
    ended = go_on()  # at once: the trial that was left behind ends by itself
    assert ended.code == 0, ended
    finished = when - 1 if point == "sweep.after_start" else when
    assert sorted(begun(ended)) == ["000", "001", "002"][finished:]
    assert outcome(directory()) == outcome(undisturbed)
    assert alive() == []


def test_what_a_killed_driver_leaves_behind_saves_and_ends(undisturbed: Path) -> None:
    armed = "only=001;step.after_optimizer=driver:kill+until_asked@5"
    assert sweep("job.yaml", SEEDS, "loader.num_workers=2", "--jobs", "2", failpoints=armed).code == -9
    wait_for_the_end_of_all()
    assert metadata("001")["reason"].startswith("stopped by SIGTERM at step ")
    ended = go_on("--jobs", "2")
    assert ended.code == 0, ended
    assert "resumed at step " in (directory() / "logs/001.log").read_text()
    assert outcome(directory()) == outcome(undisturbed)


@pytest.mark.parametrize(("name", "code"), [("int", 130), ("term", 143)])
def test_a_signal_lets_every_trial_save_and_end(name: str, code: int, undisturbed: Path) -> None:
    asked = "only=000;step.before_backward=until_asked@4;"
    asked += f"only=001;step.after_optimizer=driver:{name}+until_asked+sleep:0.5@5"
    ended = sweep("job.yaml", SEEDS, "--jobs", "2", failpoints=asked)
    assert ended.code == code
    assert alive() == []
    assert ended.stderr.splitlines()[-1] == (
        f"stopped by SIG{name.upper()}; go on with: trainkit sweep --resume {directory()} --jobs 2"
    )
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["rank", "000", "001", "002"]  # the table so far
    assert metadata("001")["reason"].startswith("stopped by SIGTERM at step 5, saved; ")
    assert [status(trial) for trial in ("000", "001", "002")] == ["stopped", "stopped", "waiting"]
    ended = go_on("--jobs", "2")
    assert ended.code == 0
    assert outcome(directory()) == outcome(undisturbed)


@pytest.mark.parametrize(("name", "trial", "code"), [("int", "deaf+", 130), ("term", "", -15)])
def test_a_second_signal_ends_everything_at_once(name: str, trial: str, code: int) -> None:
    armed = f"patience=60;only=000;step.after_optimizer={trial}driver:{name}+sleep:0.5+driver:{name}+hang@5"
    ended = sweep("job.yaml", SEEDS, "--jobs", "2", failpoints=armed)
    assert ended.code == code
    if name == "int":
        told = f"interrupted; go on with: trainkit sweep --resume {directory()} --jobs 2"
        assert ended.stderr.splitlines()[-1] == told
    wait_for_the_end_of_all()


def test_a_trial_that_does_not_end_is_not_waited_for_for_ever() -> None:
    ended = sweep("job.yaml", SEEDS, failpoints="patience=0.5;only=000;step.after_optimizer=deaf+driver:term+hang@5")
    assert ended.code == 143
    assert alive() == []
    assert status("000") == "killed"


def test_a_trial_that_hangs(undisturbed: Path) -> None:
    armed = "patience=0.5;only=000;step.after_optimizer=deaf+hang@5"
    ended = sweep("job.yaml", SEEDS, "sweep.timeout_minutes=0.1", failpoints=armed)
    assert ended.code == 9
    assert alive() == []
    assert [status(trial) for trial in ("000", "001", "002")] == ["failed (timeout)", "finished", "finished"]
    ended = go_on()
    assert ended.code == 0
    assert begun(ended) == ["000"]
    assert outcome(directory()) == outcome(undisturbed)


METRIC = """
from typing import ClassVar, Literal
import torch
from trainkit import MetricConfig, register
from trainkit.core.seeding import derive

VALUES = {derive(seed, "init"): value for seed, value in enumerate(["nan", "inf", "-1e300", "0.5", "1e400"])}


class Constant:
    def __init__(self, value): self.value = value
    def update(self, outputs, targets): pass
    def compute(self): return torch.tensor(self.value, dtype=torch.float64)
    def reset(self): pass


@register("metric")
class OddConfig(MetricConfig):
    name: Literal["odd"] = "odd"
    kinds: ClassVar = ("classification",)

    def build(self, target, num_outputs, device): return Constant(float(VALUES[torch.initial_seed()]))
"""


def refuse(token: str) -> None:
    raise ValueError(f"not JSON: {token}")


def test_numbers_that_are_none_are_never_the_best() -> None:
    Path("odd.py").write_text(METRIC)
    with open("job.yaml", "a") as file:
        file.write("imports: [odd]\nmetrics: [odd]\n")
    ended = sweep("job.yaml", "seed=0,1,2,3,4", "--jobs", "2")
    assert ended.code == 0, ended
    assert [(row["rank"], row["trial"], row["val/odd"]) for row in table(directory())] == [
        ("1", "003", "0.5"), ("2", "002", "-1e+300"), ("", "000", ""), ("", "001", ""), ("", "004", "")
    ]  # fmt: skip
    assert (directory() / "best").readlink() == Path("trials/003")
    files = list(directory().rglob("*.json*"))
    assert len(files) == 1 + 5 * 3
    for path in files:
        for text in [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines():
            json.loads(text, parse_constant=refuse)
    assert begun(go_on()) == []


def test_directories_made_at_the_same_time() -> None:
    """By processes that wait for each other, with so few names that many of them meet."""
    make = """
import random, secrets, sys
from trainkit.runs import run_directory
secrets.token_hex = lambda count: random.choice("0123456789")
print("ready", flush=True)
input()
for kind in ("run", "sweep"):
    print(run_directory.create("job", kind=kind).path)
"""
    pipe = subprocess.PIPE
    makers = [subprocess.Popen([sys.executable, "-c", make], stdin=pipe, stdout=pipe, text=True) for _ in range(8)]
    for maker in makers:
        assert maker.stdout
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin
        print(file=maker.stdin, flush=True)
    made = [line for maker in makers for line in maker.communicate()[0].splitlines()]
    assert len(made) == len(set(made)) == 16


REAL = (sys.executable, "-m", "trainkit", "sweep")


def real(failpoints: str) -> dict[str, str]:
    """An environment in which every process of the unmodified command arms failpoints."""
    path = os.pathsep.join([str(ROOT / "tests" / "startup"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "FAILPOINTS": failpoints}


def test_killed_through_the_unmodified_command(undisturbed: Path) -> None:
    with open("job.yaml", "a") as file:
        file.write("sweep: {axes: {seed: [0]}}\n")
    words = ["job.yaml"]
    for point, code in (("only=000;step.after_optimizer=driver:kill+until_asked@5", -9), ("", 0)):
        ended = subprocess.run([*REAL, *words], env=real(point), capture_output=True, text=True, timeout=120)
        assert ended.returncode == code, ended
        words = ["--resume", str(directory())]
    assert alive() == []
    assert "resumed at step 5" in (directory() / "logs/000.log").read_text()
    assert golden(directory() / "trials/000") == golden(undisturbed / "trials/000")


def test_the_second_driver_is_told_that_the_first_is_there() -> None:
    with sweeping("job.yaml", "seed=0", failpoints="only=000;step.after_optimizer=until_asked@5"):
        second = subprocess.run([*REAL, "--resume", directory()], capture_output=True, text=True, timeout=120)
        os.kill(int(directory().joinpath(".lock").read_text().split()[1]), signal.SIGTERM)
    assert second.returncode == 6
    assert re.fullmatch(rf"error: {directory()}: run directory busy: pid \d+ on .*\n", second.stderr)


@contextmanager
def sweeping(*words: str, failpoints: str) -> Iterator[Future[Ended]]:
    """While a sweep runs whose first trial has saved; in the end it must have ended."""
    with ThreadPoolExecutor() as thread:
        ended = thread.submit(sweep, *words, failpoints=failpoints)
        while not ended.done() and not list(Path("runs/job").glob("*/trials/000/checkpoints/last.pt")):
            time.sleep(0.02)
        yield ended


@pytest.mark.parametrize("code", [130, 143], ids=["Ctrl-C", "it goes away"])
def test_a_terminal(code: int, undisturbed: Path) -> None:
    person, its = os.openpty()
    armed = f"only=driver;terminal={os.ttyname(its)};only=000;step.after_optimizer=until_asked@5"
    reader = subprocess.Popen(["cat"], stdin=person, stdout=subprocess.DEVNULL, cwd="/")  # else writing would block
    with sweeping("job.yaml", SEEDS, failpoints=armed) as ended:
        if code == 130:
            os.write(person, b"")
        else:
            reader.kill()
            reader.wait()
            os.close(person)
    assert ended.result().code == code
    assert alive() == []
    if code == 130:
        reader.kill()
        reader.wait()
        os.close(person)
    os.close(its)
    assert metadata("000")["reason"].startswith("stopped by SIGTERM at step ")
    assert go_on().code == 0
    assert outcome(directory()) == outcome(undisturbed)


@needs_mount
def test_a_full_disk(undisturbed: Path) -> None:
    shutil.copytree(undisturbed, "sweep", symlinks=True)
    Path("sweep/study.db").unlink()
    resume = f"{' '.join(REAL)} --resume small/sweep -q"
    filled = "cp -r sweep small; dd if=/dev/zero of=small/filler bs=1k 2>/dev/null"
    ended = in_small_disk("2m", f"{filled}; {resume}; echo code $?; rm small/filler; {resume}")
    assert ended.returncode == 0, ended
    assert ended.stdout.startswith("code 5\nrank")
    assert ended.stderr.splitlines() == [
        "warning: small/sweep/study.db: missing or damaged; rebuilt from the trials' directories",
        "error: small/sweep/study.db: database or disk is full; go on with: trainkit sweep --resume small/sweep",
    ]
    assert outcome(Path("left/sweep")) == outcome(undisturbed)


def test_a_disk_that_refuses_the_driver(undisturbed: Path) -> None:
    ended = sweep("job.yaml", SEEDS, "-q", failpoints="only=driver;sweep.before_result=errno:ENOSPC@2")
    assert ended.code == 5
    way_on = f"go on with: trainkit sweep --resume {directory()}"
    assert ended.stderr == f"error: {directory()}: no space left on device; {way_on}\n"
    assert go_on().code == 0
    assert outcome(directory()) == outcome(undisturbed)


def soak(kills: int, seed: int, undisturbed: Path) -> Counter[str]:
    """Sweeps whose driver and trials die at random again and again; gives what happened how often."""
    draw, tally = random.Random(seed), Counter[str]()
    points = ["step.after_optimizer", "ckpt.mid_write", "ckpt.after_rename", "eval.mid", "build.data", "build.model"]
    points += ["resume.before_first_step", "log.before_flush"]
    while tally["kills"] < kills:
        ended, lives = None, 0
        while ended is None or ended.code != 0:
            action = draw.choice(["kill", "kill", "kill", "term", "int"])
            driver = draw.choice([
                f"sweep.after_start={action}@{draw.randint(1, 3)}",
                f"sweep.before_result={action}@{draw.randint(1, 3)}",
                f"time={action}@{draw.uniform(0, 3):.3f}",
            ])  # fmt: skip
            trial = f"{draw.choice(points)}={draw.choice(['kill', 'driver:kill', 'errno:ENOSPC'])}@{draw.randint(1, 4)}"
            armed = f"only=driver;{driver};only=00{draw.randint(0, 2)};{trial}" if lives < 6 else ""
            jobs = str(draw.randint(1, 3))
            if list(Path("runs/job").glob("*/sweep.json")):
                ended = go_on("--jobs", jobs, failpoints=armed)
            else:
                shutil.rmtree("runs", ignore_errors=True)
                ended = sweep("job.yaml", SEEDS, "--jobs", jobs, failpoints=armed)
            assert ended.code in (0, 9, -9, -15, 130, 143), (seed, armed, ended)
            assert "Traceback" not in ended.stderr
            tally[str(ended.code)] += 1
            tally["kills"] += ended.code == -9
            lives += 1
        assert outcome(directory()) == outcome(undisturbed), (seed, tally)
        assert alive() == []
        shutil.rmtree("runs")
        tally["sweeps"] += 1
    return tally


def test_a_few_random_deaths(undisturbed: Path) -> None:
    print(f"\n{dict(soak(2, seed=0, undisturbed=undisturbed))}")


@pytest.mark.soak
def test_dozens_of_random_deaths(undisturbed: Path) -> None:
    seed = int(os.environ.get("SOAK_SEED", random.randrange(10**6)))
    print(f"\nseed {seed}: {dict(soak(int(os.environ.get('SOAK_KILLS', '50')), seed, undisturbed))}")

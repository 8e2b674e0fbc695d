"""Whatever happens to a data worker, the run ends soon, says what it was, and leaves nothing running."""

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

from tests.command import ROOT, Ended, warm
from tests.conftest import equal, records, weights

MY_DATA = '''
import ctypes, os, signal, subprocess, time
from pathlib import Path
import torch
from torch.utils.data import Dataset, get_worker_info
from trainkit import register_dataset


@register_dataset("faulty")
class Faulty(Dataset):
    """Points, one of which cannot be had from a worker until the file `healed` is there."""

    classes = ("below", "above")

    def __init__(self, fault: str = "none", count: int = 100) -> None:
        self.fault = fault
        self.points = torch.randn(count, 1000 if fault == "full" else 4, generator=torch.Generator().manual_seed(0))
        self.targets = (self.points[:, 0] > 0).long()

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, number):
        if get_worker_info():
            Path("workers", str(os.getpid())).touch()
            if number == 40 and self.fault != "none" and not Path("healed").exists():
                getattr(self, self.fault)()
        return self.points[number], int(self.targets[number])

    def kill(self):
        if Path("run/checkpoints/last.pt").exists():  # of the first epoch, so that there are those of val, too
            others = {int(path.name) for path in Path("workers").iterdir()} - {os.getpid()}
            for worker in [*others, os.getpid()]:
                os.kill(worker, signal.SIGKILL)

    def segv(self):
        os.kill(os.getpid(), signal.SIGSEGV)

    def bus(self):
        os.kill(os.getpid(), signal.SIGBUS)

    def exit(self):
        os._exit(3)

    def quit(self):
        raise SystemExit(0)

    def leave(self):
        os._exit(0)

    def hang(self):
        time.sleep(1000)

    def orphan(self):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)

    def fail(self):
        raise ValueError("no such point")

    def fail_oddly(self):
        class Local(Exception):  # of a kind that the run cannot know
            def __init__(self, one, other):
                super().__init__(f"{one} and {other}")

        raise Local("this", "that")

    def missing(self):
        open("points/40.bin")

    def memory(self):
        raise MemoryError

    def full(self):
        assert ctypes.CDLL(None).unshare(0x20000) == 0  # mounts of its own
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", "/dev/shm"], check=True)
'''

JOB = """
imports: [my_data]
data: {name: faulty}
loader: {batch_size: 16, num_workers: 2, timeout: 30}
model: {name: mlp, hidden: [8], dropout: 0.1}
train: {epochs: 3}
log: {tensorboard: false}
"""


@pytest.fixture(autouse=True)
def files() -> None:
    Path("my_data.py").write_text(MY_DATA)
    Path("job.yaml").write_text(JOB)
    Path("workers").mkdir()


def train(*words: str) -> Ended:
    ended = warm.run(["train", *words, "-q"])
    assert any(Path("workers").iterdir())  # there were some
    return ended


def wait_for_the_end_of_the_workers(seconds: float = 10) -> None:
    """What promises end workers is the kernel or the run, not a clock: it only limits how long to look."""
    left = [int(path.name) for path in Path("workers").iterdir()]
    deadline = time.monotonic() + seconds
    while left := [pid for pid in left if is_alive(pid)]:
        assert time.monotonic() < deadline, f"workers {left} are still there"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def said(ended: Ended) -> list[str]:
    """The lines on stderr, but for the one about imports and those of torch's workers."""
    return [line for line in ended.stderr.splitlines() if not line.startswith(("imports my_data (", "ERROR: Unexp"))]


NO_SAVE = r"; after step \d+, nothing was saved yet"
MEMORY = "use loader.num_workers=0, or give it more shared memory, such as docker run --shm-size=8g"


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        (
            "segv",
            10,
            rf"worker killed by signal 11 \(segmentation fault\); loader.num_workers=0 may show where{NO_SAVE}",
        ),
        ("bus", 10, rf"worker killed by signal {signal.SIGBUS:d} \(shared memory full\?\); {MEMORY}{NO_SAVE}"),
        (
            "exit",
            10,
            "worker ended with exit code 3 in the middle of its work; loader.num_workers=0 may show why" + NO_SAVE,
        ),
        ("fail", 3, r"Faulty\[40\]: raised ValueError: no such point \(my_data.py:\d+\)"),
        ("fail_oddly", 3, r"Faulty\[40\]: raised Local: this and that \(my_data.py:\d+\)"),
        ("quit", 1, "your code raised SystemExit: 0; --debug shows the whole traceback"),
        ("missing", 3, r"Faulty\[40\]: points/40.bin: no such file or directory"),
        ("memory", 8, "a data worker ran out of memory; use a smaller loader.num_workers or loader.batch_size"),
    ],
)
def test_what_happened_to_a_worker_is_one_line(fault: str, code: int, line: str) -> None:
    ended = train("job.yaml", f"data.fault={fault}")
    *frames, last = said(ended)
    assert ended.code == code
    assert re.fullmatch(f"error: {line}", last.lstrip("\0"))
    assert ("my_data.py" in "".join(frames)) == (code == 1)
    assert "trainkit/" not in "".join(frames)
    assert not frames or frames[0] == "Traceback (most recent call last):"
    wait_for_the_end_of_the_workers()


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            "hang",
            (
                "no batch has come from a worker for 1 s: it hangs, or reads that slowly; use a larger loader.timeout, "
                "or loader.num_workers=0 to see where"
            ),
        ),
        # Nobody notices that a worker has gone when it says that all is well.
        ("leave", "worker ended in the middle of its work; loader.num_workers=0 may show why"),
    ],
)
def test_no_run_waits_for_ever(fault: str, line: str) -> None:
    ended = train("job.yaml", f"data.fault={fault}", "loader.timeout=1")
    assert ended.code == 10
    [last] = said(ended)
    assert re.fullmatch(f"error: {line}{NO_SAVE}", last)
    wait_for_the_end_of_the_workers()


def test_killed_workers_cost_the_steps_since_the_last_save_and_change_nothing() -> None:
    ended = train("job.yaml", "data.fault=kill", "--run-dir", "run")
    out_of_memory = "worker killed by signal 9 (out of memory?); use a smaller loader.num_workers or loader.batch_size"
    assert ended.code == 10
    [line] = said(ended)
    assert line.startswith(f"error: {out_of_memory}; after step ")
    assert line.endswith("go on with: trainkit train --resume run")
    metadata = json.loads(Path("run/run.json").read_text())
    assert (metadata["status"], metadata["exit_code"]) == ("failed", 10)
    wait_for_the_end_of_the_workers()
    Path("healed").touch()
    assert train("--resume", "run", "loader.num_workers=1").code == 0
    assert train("job.yaml", "data.fault=kill", "--run-dir", "whole").code == 0
    assert records(Path("run")) == records(Path("whole"))
    assert equal(weights(Path("run/checkpoints/last.pt")), weights(Path("whole/checkpoints/last.pt")))
    wait_for_the_end_of_the_workers()


def test_workers_of_a_killed_run_end_even_while_they_hang_and_do_not_block_the_next() -> None:
    Path("healed").touch()
    assert train("job.yaml", "data.fault=orphan", "train.epochs=1", "--run-dir", "run").code == 0
    Path("healed").unlink()
    assert train("--resume", "run", "train.epochs=2").code == -signal.SIGKILL
    Path("healed").touch()
    assert train("--resume", "run", "train.epochs=2").code == 0  # at once
    wait_for_the_end_of_the_workers()


def test_a_full_shared_memory_is_named() -> None:
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if sys.platform != "linux" or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs the right to mount")
    ended = train("job.yaml", "data.fault=full")
    assert ended.code == 10
    [last] = said(ended)
    assert re.fullmatch(f"error: the shared memory is full; {MEMORY}{NO_SAVE}", last)


def test_in_an_evaluation_too() -> None:
    Path("healed").touch()
    assert train("job.yaml", "data.fault=exit", "train.epochs=1", "--run-dir", "run").code == 0
    Path("healed").unlink()
    ended = warm.run(["eval", "--ckpt", "run", "--split", "train"])
    problem = "worker ended with exit code 3 in the middle of its work; loader.num_workers=0 may show why"
    assert (ended.code, said(ended)) == (10, [f"error: {problem}"])


def test_without_workers_code_fails_in_the_same_way() -> None:
    Path("my_data.py").write_text(MY_DATA.replace("if get_worker_info():", "if True:"))
    ended = train("job.yaml", "data.fault=fail", "loader.num_workers=0")
    assert ended.code == 3
    [last] = said(ended)
    assert re.fullmatch(r"error: Faulty\[40\]: raised ValueError: no such point \(my_data.py:\d+\)", last)
    for workers in (0, 2):
        ended = train("job.yaml", "data.fault=fail", f"loader.num_workers={workers}", "--debug")
        assert 'raise ValueError("no such point")' in ended.stderr
    assert train("job.yaml", "data.fault=missing", "loader.num_workers=0").code == 3


HANDING_OVER = """
import os, socket, sys, threading
from multiprocessing import resource_sharer
from trainkit.data import workers

if sys.argv[1:] == ["begin"]:
    workers.begin(0)
address, _ = resource_sharer.DupFd(0)._id
raised, sys.excepthook = threading.Event(), lambda *found, told=sys.excepthook: (told(*found), raised.set())
connection = socket.socket(socket.AF_UNIX)
connection.connect(address)
connection.close()
assert raised.wait(60)
"""


def test_a_worker_says_nothing_when_the_run_ends_while_it_hands_tensors_over() -> None:
    for words, told in ([], True), (["begin"], False):
        command = [sys.executable, "-c", HANDING_OVER, *words]
        ended = subprocess.run(command, capture_output=True, timeout=120, check=True)
        assert (b"Traceback" in ended.stderr) is told


HOWEVER = """
import sys
import torch
from torch import multiprocessing
from tests.data.sources.test_custom import Noisy  # draws from the generators of Python, NumPy and torch
from trainkit.data.base import Split
from trainkit.data.loader import LoaderConfig
from trainkit.data.sources.dataset_source import DatasetSource


def batches(num_workers):
    split = Split(DatasetSource(Noisy(40), None, "stack"), torch.arange(40))
    loader = LoaderConfig(batch_size=16, num_workers=num_workers).train_loader(split, 0, torch.device("cpu"))
    return [[*batch.inputs.tolist(), batch.targets.tolist()] for epoch in range(2) for batch in loader.epoch(epoch)]


if __name__ == "__main__":
    alone = batches(0)
    multiprocessing.set_start_method(sys.argv[1])
    assert batches(1) == alone
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_however_workers_start_their_batches_are_the_same(method: str) -> None:
    Path("however.py").write_text(HOWEVER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "however.py", method], env=environment, timeout=120, check=True)

"""Disks that fill up, fail, vanish, and lose power: every checkpoint is the old one or the new one, whole."""

from __future__ import annotations

import builtins
import errno
import itertools
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import conftest
from tests.command import Ended, warm
from trainkit.core import atomic
from trainkit.core.errors import StorageError
from trainkit.runs import checkpoint
from trainkit.training.progress import Progress

NAMES = ("step-3.pt", "best.pt")
ALL = (*NAMES, "last.pt")


def payload(step: int) -> dict[str, Any]:
    weights = {"weight": torch.full((500,), float(step))}
    return conftest.payload(model=weights, progress=Progress(step=step).state_dict())


class Disk:
    """Records what a save asks of the disk, in order, and may refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.operations: list[tuple[str, ...]] = []
        self.refuses: Callable[[int], bool] = lambda number: False
        self.errno = errno.ENOSPC
        for name in ("replace", "link", "unlink", "fsync"):
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name)))
        monkeypatch.setattr(atomic, "open", self._open, raising=False)

    def note(self, *operation: str) -> None:
        self.operations.append(operation)
        if self.refuses(len(self.operations)):
            raise OSError(self.errno, os.strerror(self.errno))

    def _recorded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            paths = [Path(f"/proc/self/fd/{a}").readlink() if isinstance(a, int) else Path(a) for a in arguments]
            self.note("sync directory" if paths[0].is_dir() else name, *(path.name for path in paths))
            return function(*arguments, **keywords)

        return wrapped

    def _open(self, path: Path, mode: str) -> Any:
        if mode != "xb":
            return builtins.open(path, mode)
        self.note("open", path.name)
        file = builtins.open(path, mode)  # noqa: SIM115
        write = file.write

        def halves(content: Any) -> None:
            for half in (content[: len(content) // 2], content[len(content) // 2 :]):
                self.note("write", path.name)
                write(half)

        file.write = halves  # type: ignore[assignment, method-assign]
        return file


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    checkpoint.save(Path(), payload(3), names=NAMES)
    return Disk(monkeypatch)


def step_of(path: Path) -> int:
    """The step of a checkpoint, which must be whole."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    return int(torch.load(path, weights_only=True)["progress"]["step"])


def steps() -> list[int]:
    return [step_of(Path(name)) for name in ALL]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
def test_whatever_operation_fails(number: int, forever: bool, disk: Disk) -> None:
    disk.errno = number
    for nth in itertools.count(1):
        disk.refuses = lambda _: False
        checkpoint.save(Path(), payload(3), names=NAMES)
        disk.operations.clear()
        disk.refuses = lambda now, nth=nth: now >= nth if forever else now == nth  # type: ignore[misc]
        try:
            checkpoint.save(Path(), payload(4), names=NAMES)
            saved = True
        except StorageError as error:
            saved = False
            assert os.strerror(number).lower() in str(error)  # noqa: PT017
        disk.refuses = lambda _: False
        assert set(steps()) <= ({4} if saved else {3, 4})
        if len(disk.operations) < nth:  # it passed untouched
            break
        unlinked = {name for operation, name, *_ in disk.operations if operation == "unlink"}
        assert {path.name for path in Path().iterdir()} <= {*ALL, *unlinked}
        for left in Path().glob(".tmp-*"):
            left.unlink()
    assert nth > 15
    assert saved


def test_an_error_of_the_disk_gets_a_second_try_with_a_new_file(disk: Disk) -> None:
    first_sync = 4  # after open and two halves
    disk.errno, disk.refuses = errno.EIO, lambda now: now == first_sync
    checkpoint.save(Path(), payload(4), names=NAMES)
    assert steps() == [4, 4, 4]
    synced = [name for operation, name in (op[:2] for op in disk.operations) if operation == "fsync"]
    assert len(synced) == len(set(synced)) == 2  # the same file is never synced again


def test_what_does_not_read_back_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(Path(), payload(3))
    fsync = os.fsync

    def decaying(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", decaying)
        with pytest.raises(StorageError, match="what was read back is not what was written"):
            checkpoint.save(Path(), payload(4))
    assert step_of(Path("last.pt")) == 3
    assert os.listdir() == ["last.pt"]


def crash_states(operations: Sequence[tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """What a power failure after these operations may leave: for each name `old`, `new` or `torn`.

    A file's content is there for sure once it has been synced. What happened to a directory is there for sure once that
    has been synced; of what came later, anything may be there and anything may not.
    """
    contents = {"old": "old"}
    durable: dict[str, str | None] = dict.fromkeys(ALL, "old")
    names = durable.copy()
    pending: list[dict[str, str | None]] = []
    for operation, first, *second in operations:
        match operation:
            case "open":
                contents[first] = "torn"
                change: dict[str, str | None] = {first: first}
            case "fsync":
                contents[str(names[first])] = "new"
                continue
            case "sync directory":
                durable, pending = names.copy(), []
                continue
            case "replace":
                change = {second[0]: names[first], first: None}
            case "link":
                change = {second[0]: names[first]}
            case "unlink":
                change = {first: None}
            case _:
                continue
        names |= change
        pending.append(change)
    for kept in itertools.product((True, False), repeat=len(pending)):
        state = durable.copy()
        for change in itertools.compress(pending, kept):
            state |= change
        yield {name: contents[file] for name, file in state.items() if name in ALL and file}


def violations(operations: Sequence[tuple[str, ...]]) -> list[str]:
    """Where old or new, whole, and saved means saved do not hold."""
    found = []
    for done in range(len(operations) + 1):
        for state in crash_states(operations[:done]):
            if set(state) != set(ALL) or "torn" in state.values():
                found.append(f"after {done} operations: {state}")
            if done == len(operations) and state["last.pt"] != "new":
                found.append(f"saved, but {state}")
    return found


def test_no_power_failure_leaves_half_a_checkpoint(disk: Disk) -> None:
    checkpoint.save(Path(), payload(4), names=NAMES)
    assert [name for name, *_ in disk.operations].count("sync directory") == 3
    assert violations(disk.operations) == []


@pytest.mark.parametrize("left_out", ["fsync", "sync directory"])
def test_a_writer_that_does_not_sync_would_be_found_out(left_out: str, disk: Disk) -> None:
    checkpoint.save(Path(), payload(4), names=NAMES)
    assert violations([operation for operation in disk.operations if operation[0] != left_out])


def test_the_temporary_file_lies_beside_what_it_becomes(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    checkpoint.save(Path(), payload(4))
    assert [op[1].startswith(".tmp-last.pt-") for op in disk.operations if op[0] == "open"] == [True]


def test_without_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any, **keywords: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    checkpoint.save(Path(), payload(3), names=NAMES)
    assert steps() == [3, 3, 3]


def test_files_are_closed() -> None:
    checkpoint.save(Path(), payload(3), names=NAMES)
    before = len(os.listdir("/proc/self/fd"))
    for step in range(100):
        checkpoint.save(Path(), payload(step), names=NAMES)
        step_of(Path("last.pt"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_checkpoint_may_be_read_while_it_is_replaced() -> None:
    checkpoint.save(Path(), payload(0), names=NAMES)
    done = threading.Event()

    def replace_often() -> None:
        for step in range(1, 200):
            checkpoint.save(Path(), payload(step), names=NAMES)
        done.set()

    writer = threading.Thread(target=replace_often)
    writer.start()
    seen = set()
    while not done.is_set():
        with open("last.pt", "rb") as file:  # opened once, as `load` does
            seen.add(torch.load(file, weights_only=True)["progress"]["step"])
    writer.join()
    assert len(seen) > 1


def test_only_our_own_temporary_files_are_removed() -> None:
    ours = ".tmp-last.pt-123-0a1b2c3d"
    others = [".tmp-notes", ".tmp-last.pt-123-0a1b2c3d.txt", "notes.tmp", "last.pt"]
    for name in (ours, *others):
        Path(name).touch()
    Path(".tmp-best.pt-1-00000000").mkdir()
    atomic.remove_stale(Path())
    assert sorted(os.listdir()) == sorted([*others, ".tmp-best.pt-1-00000000"])


JOB = """
name: job
data: {name: synthetic, shape: [1, 8, 8], size: 4, samples: 160, val: 32, test_samples: 32}
loader: {batch_size: 16}
model: {name: mlp, hidden: [HIDDEN]}
train: {epochs: 2, eval_every: 4}
log: {every: 4, tensorboard: false}
checkpoint: {every: 2}
"""
TRAIN = (sys.executable, "-m", "trainkit", "train")


def job(hidden: int = 8) -> str:
    Path("job.yaml").write_text(JOB.replace("HIDDEN", str(hidden)))
    return "job.yaml"


def shell(*command: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **keywords)


def last_step(run: Path) -> int:
    return int(checkpoint.load(run / "checkpoints" / "last.pt")["progress"]["step"])


needs_strace = pytest.mark.skipif(
    not shutil.which("strace") or shell("strace", "-e", "inject=fsync:error=EIO", "true").returncode != 0,
    reason="STRACE IS MISSING: the command has not met failing system calls",
)


def tampered(inject: str = "") -> Ended:
    os.environ["FAILPOINTS"] = f"strace={inject}"
    try:
        return warm.run(["train", job(), "--run-dir", "run", "-q"])
    finally:
        del os.environ["FAILPOINTS"]


def place_of(call: str, pattern: str, nth: int) -> int:
    """Which call of that name it is that works on such a file for the n-th time in an undisturbed run."""
    assert tampered().code == 0
    shutil.rmtree("run")
    calls = re.findall(rf"^{call}\((.*)", Path("trace").read_text(), re.MULTILINE)
    return [number for number, text in enumerate(calls, 1) if re.search(pattern, text)][nth - 1]


@needs_strace
@pytest.mark.parametrize(
    ("call", "pattern", "nth", "before"),
    [
        ("write", r"/\.tmp-last\.pt-\d+-\w+>", 3, 4),  # 2, then 4 and best, then 6
        ("fsync", r"/\.tmp-last\.pt-\d+-\w+>", 3, 4),
        ("rename", r'/last\.pt"', 3, 4),
        ("rename", r'/best\.pt"', 2, 6),
        ("fsync", r"/checkpoints>", 5, 6),
    ],
)
def test_killed_at_a_system_call(call: str, pattern: str, nth: int, before: int) -> None:
    ended = tampered(f"{call}:signal=KILL:when={place_of(call, pattern, nth)}")
    assert ended.code == -9
    assert last_step(Path("run")) in (before, before + 2)
    assert warm.run(["train", "--resume", "run", "-q"]).code == 0
    assert not list(Path("run").rglob(".tmp-*"))


@needs_strace
@pytest.mark.parametrize(("times", "code"), [("", 0), ("+", 5)], ids=["once", "for ever"])
def test_an_error_of_the_real_disk(times: str, code: int) -> None:
    where = place_of("fsync", r"/\.tmp-last\.pt-\d+-\w+>", 2)
    ended = tampered(f"fsync:error=EIO:when={where}{times}")
    assert ended.code == code
    if code:
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
        assert line.startswith("error: run/checkpoints/last.pt: input/output error after step 4; last good: step 2 in")
        assert line.endswith("; go on with: trainkit train --resume run")
        assert last_step(Path("run")) == 2


def in_small_disk(size: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command in a directory `small` that is a disk of its own; afterwards its content is in `left`."""
    script = f"mount -t tmpfs -o size={size} none small && ({command}); code=$?; cp -r small/. left; exit $code"
    Path("small").mkdir()
    Path("left").mkdir()
    return shell("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script)


needs_mount = pytest.mark.skipif(
    not shutil.which("unshare")
    or shell("unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt").returncode != 0,
    reason="NO USER NAMESPACES: the real command has not met a small disk",
)
TRAINKIT = " ".join(TRAIN)


@needs_mount
def test_a_full_disk_is_said_before_it_is_full() -> None:
    ended = in_small_disk("4m", f"{TRAINKIT} {job(1500)} --run-dir small/run -q")  # 1.4 MB a checkpoint
    assert ended.returncode == 5, ended
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    pattern = (
        r"error: small/run/checkpoints: disk full: a checkpoint needs \d\.\d MB, \d\.\d are free after step \d; "
        r"last good: step (\d) in small/run/checkpoints/last\.pt; go on with: trainkit train --resume small/run"
    )
    assert (match := re.fullmatch(pattern, line)), line
    assert last_step(Path("left/run")) == int(match[1])
    assert '"status": "failed"' in Path("left/run/run.json").read_text()


@needs_mount
def test_a_read_only_disk_is_said_before_training() -> None:
    ended = in_small_disk("4m", f"mount -o remount,ro small; {TRAINKIT} {job()} --run-dir small/run -q")
    assert ended.returncode == 5
    assert ended.stderr == f"error: {Path.cwd()}/small: permission denied\n"


def test_a_limit_for_the_size_of_files() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    ended = shell(*TRAIN, job(100), "--run-dir", "run", "-q", preexec_fn=limit)
    assert ended.returncode == 5
    assert ended.stderr == "error: run/checkpoints/last.pt: file too large after step 2; nothing was saved yet\n"
    assert os.listdir("run/checkpoints") == []

"""The run directory: its name, the names inside it, its owner, and what `run.json` says of it."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import struct
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TextIO

from trainkit.config import shell
from trainkit.core import atomic
from trainkit.core.errors import BusyError, CheckpointError, StorageError, os_error_text
from trainkit.core.suggestions import did_you_mean, did_you_mean_path
from trainkit.core.text import plain_json

MOMENT = "%Y%m%d-%H%M%S"


class _Inside:
    """A path inside a run directory, wherever that is."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __get__(self, run_dir: RunDir, owner: type[RunDir]) -> Path:
        return run_dir.path.joinpath(*self.names)


@dataclass(slots=True)
class RunDir:
    """A directory that this process owns until it is closed. Everything in it is relative: it can be moved."""

    path: Path
    metadata: dict[str, Any] = field(default_factory=dict)
    """What stands in `run.json`."""
    saved: tuple[int, Path] | None = None
    """The step of the checkpoint from which the run can go on, and where that is."""
    _lock: TextIO | None = None

    config = _Inside("config.yaml")
    metrics = _Inside("metrics.jsonl")
    tensorboard = _Inside("tb")
    checkpoints = _Inside("checkpoints")
    last = _Inside("checkpoints", "last.pt")
    best = _Inside("checkpoints", "best.pt")
    earlier_best = _Inside("checkpoints", "earlier-best.pt")
    """Where `best.pt` waits while the last checkpoint of a run that is out of time stands in its place."""

    @property
    def chosen(self) -> Path:
        """The checkpoint to use: the best; without a val split, the last."""
        return self.best if self.best.exists() else self.last

    def lend_best(self) -> None:
        """Let `best.pt` be the last checkpoint until the run goes on."""
        if self.best.exists():
            self.best.replace(self.earlier_best)
        atomic.replace(self.best, lambda file: file.write(self.last.read_bytes()))

    def return_best(self, *, known: bool) -> None:
        """Put the best checkpoint of the run itself back; `known` says whether there was one."""
        if self.earlier_best.exists():
            self.earlier_best.replace(self.best)
        elif not known:
            self.best.unlink(missing_ok=True)

    def write_config(self, text: str, *, modules_in: Iterable[Path] = ()) -> None:
        """Store the resolved config, which is itself a config that repeats the run."""
        again = shell.command("trainkit", "train", self.config, modules_in=modules_in)
        atomic.write_text(self.config, f"# {again}\n{text}")

    def update_metadata(self, **news: Any) -> None:
        """Add to `run.json`, atomically."""
        self.metadata.update(news)
        text = json.dumps(plain_json(self.metadata), indent=2, default=str)
        atomic.write_text(self.path / "run.json", text + "\n")

    def close(self) -> None:
        """Let another process own the directory."""
        if self._lock:
            self._lock.close()

    def __enter__(self) -> RunDir:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def create(name: str, at: Path | None = None, *, kind: Literal["run", "sweep", "lr-find"] = "run") -> RunDir:
    """Make a new run directory: `at`, or below `runs/` (or TRAINKIT_RUNS_DIR) with a name that nobody else has.

    A sweep's has a name that ends in `-sweep`, and trials instead of checkpoints in it; those of `lr-find` are alike.

    Raises:
        StorageError: it cannot be made, or `at` is there already.
    """
    suffix, inner = {"run": ("", "checkpoints"), "sweep": ("-sweep", "trials"), "lr-find": ("-lr-find", "tb")}[kind]
    path = at or runs() / name / f"{datetime.now(UTC):{MOMENT}}-{secrets.token_hex(2)}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()  # never an existing one, even when two runs begin in the same second
        (path / inner).mkdir()
    except FileExistsError as error:
        if at is None and path.is_dir():  # of another one that has begun in this second
            return create(name, kind=kind)
        raise StorageError(f"{error.filename}: is there already, and a run needs a directory of its own") from None
    except OSError as error:
        reason = os_error_text(error)
        raise StorageError(f"{path}: cannot be made: {error.filename}: {reason}") from None
    return _own(RunDir(path))


def check_writable(name: str, at: Path | None = None) -> None:
    """Raise StorageError when `create` could not make a directory, without making one."""
    place = at.absolute().parent if at else (runs() / name).absolute()
    if at and at.exists():
        raise StorageError(f"{at}: is there already, and a run needs a directory of its own")
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise StorageError(f"{place}: is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(f"{place}: permission denied")


def runs() -> Path:
    return Path(os.environ.get("TRAINKIT_RUNS_DIR") or "runs")


LAST = "last"
"""The word for the newest of all runs."""


MARKS = {"run": "run.json", "sweep": "sweep.yaml"}
"""The files by which their directories are known."""


def meant(word: Path, *kinds: Literal["run", "sweep"]) -> Path:
    """What a user means: a run that is there; else the newest run (or sweep) of that name or in that folder, or of all
    for `last`.

    Raises:
        CheckpointError: there is neither.
    """
    if word.is_file() or any((word / MARKS[kind]).exists() for kind in kinds):
        return word
    places = [*runs().glob("*")] if str(word) == LAST else [runs() / word, word]
    found = {file.parent for place in places for kind in kinds for file in place.glob(f"*/{MARKS[kind]}")}
    if found:
        return max(found, key=_began)
    if word.exists():
        return word  # whoever reads it says what is wrong
    named = {file.parents[1].name for kind in kinds for file in runs().glob(f"*/*/{MARKS[kind]}")}
    hint = did_you_mean_path(word) or did_you_mean(str(word), named) if str(word) != LAST else f" in {runs()}"
    raise CheckpointError(f"{word}: no such file or {kinds[-1]}{hint}")


def _began(run: Path) -> tuple[str, int]:
    """In order of time: the moment in its name, where it has one."""
    changed = run.stat().st_mtime_ns
    moment = f"{datetime.fromtimestamp(changed / 1e9, UTC):{MOMENT}}"
    named = run.name[: len(moment)]
    return named if re.fullmatch(r"[0-9]{8}-[0-9]{6}", named) else moment, changed


def locate(path: Path) -> tuple[Path, Path]:
    """The run directory and the checkpoint that a user means by either of them.

    Raises:
        CheckpointError: there is no run, or none that has saved anything yet.
    """
    run, checkpoint = (path.parent.parent, path) if path.is_file() else (path, None)
    if not (run / "run.json").is_file() or (checkpoint and path.parent.name != "checkpoints"):
        raise CheckpointError(f"{path}: no run here (expected a run directory or a checkpoint in one)")
    if checkpoint:
        return run, checkpoint
    last = path / "checkpoints" / "last.pt"
    if not last.is_file():
        wait = "wait for the run, which goes on, or " if is_owned(path) else ""
        raise CheckpointError(f"{path}: no checkpoint yet; {wait}start anew: {again('train', path / 'config.yaml')}")
    return path, last


def again(name: str, config: Path) -> str:
    """The command that repeats what a stored config describes: its first line, where it lies as it did then."""
    command = shell.command("trainkit", name, config)
    with suppress(OSError, ValueError), open(config, encoding="utf-8") as file:
        stored = file.readline().removeprefix("# ").rstrip("\n")
        return stored if stored.endswith(command) else command
    return command


def reopen(path: Path) -> RunDir:
    """Own a directory that is there.

    Raises:
        BusyError: another process owns it.
    """
    run_dir = _own(RunDir(path))
    with suppress(OSError, ValueError):
        run_dir.metadata = dict(json.loads((path / "run.json").read_text()))
    for directory in (run_dir.path, run_dir.checkpoints):
        atomic.remove_stale(directory)
    return run_dir


def _own(run_dir: RunDir) -> RunDir:
    """Take the lock, which the kernel frees when its owner dies. lockf: a flock would live on in forked workers."""
    try:
        import fcntl
    except ImportError:  # Windows
        return run_dir
    path = run_dir.path / ".lock"
    try:
        lock = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")  # noqa: SIM115  # closed by RunDir.close
    except OSError as error:
        raise StorageError(f"{path}: {os_error_text(error)}") from None
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = lock.read().strip() or "owner unknown"
        lock.close()
        raise BusyError(f"{run_dir.path}: run directory busy: {owner}") from None
    lock.truncate(0)
    lock.write(f"pid {os.getpid()} on {platform.node()} since {datetime.now():%Y-%m-%d %H:%M:%S}\n")
    lock.flush()
    run_dir._lock = lock
    return run_dir


def is_owned(path: Path) -> bool:
    """Whether a living process owns a run directory: asks for its lock without taking it.

    Not for the owner itself, which would lose its lock as soon as it closes the file a second time.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no lock to ask for
        return True
    try:
        with open(path / ".lock", "rb") as lock:
            # struct flock: type, whence, start, length and owner, which macOS has in another order.
            wanted = (fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            if sys.platform == "darwin":
                asked = struct.pack("qqihh", *wanted[2:], *wanted[:2])
                found = struct.unpack("qqihh", fcntl.fcntl(lock, fcntl.F_GETLK, asked))[3]
            else:
                found = struct.unpack("hhqqi4x", fcntl.fcntl(lock, fcntl.F_GETLK, struct.pack("hhqqi4x", *wanted)))[0]
    except OSError:
        return False
    return bool(found != fcntl.F_UNLCK)


def now() -> str:
    """The time in UTC, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment() -> dict[str, Any]:
    """Versions, hardware and git state: what another person needs to see why their numbers differ."""
    import torch

    packages = {name: version(name) for name in ("trainkit", "torch", "torchvision", "numpy")}
    return {
        "python": platform.python_version(),
        **packages,
        "platform": platform.platform(),
        "cpu": {"count": os.cpu_count(), "capability": torch.backends.cpu.get_cpu_capability()},
        "threads": torch.get_num_threads(),
        "git": _git(),
        "command": " ".join(["trainkit", *sys.argv[1:]]),
    }


def _git() -> dict[str, Any] | None:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None

"""Points in a run where a test makes it die, stop, fail or hang.

Armed by the environment: `FAILPOINTS='ckpt.after_best=kill@2;time=term@0.3'` kills at the second time that the first
point is passed, and asks to end after 0.3 s. `call=int@900` interrupts at the 900th call of a Python function,
`import=int@torch` when that module is looked for, `exit=int` when the process ends, and `child=int` each child that it
forks before it does anything. Other words change the world of the process from its beginning: `strace`, `grace`,
`patience`, `memory`, `clock`, `terminal`, `fork`. In a sweep all processes have the same environment: what
follows `only=driver` or `only=001` is for the driver alone or for that trial. The source knows nothing of this: `arm`
wraps the functions there from outside, in this process and in those that it forks.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import errno
import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial, wraps
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

POINTS = (
    "build.data", "build.model", "resume.before_first_step",
    "step.before_backward", "step.after_backward", "step.after_optimizer", "epoch.end", "eval.mid",
    "log.mid_line", "log.before_flush",
    "ckpt.tmp_open", "ckpt.mid_write", "ckpt.after_write", "ckpt.after_fsync", "ckpt.after_history", "ckpt.after_best",
    "ckpt.after_rename", "ckpt.after_dirsync", "ckpt.after_removal",
    "sweep.after_start", "sweep.before_result",
)  # fmt: skip

_passed: Counter[str] = Counter()
_armed: dict[str, tuple[str, int]] = {}


def arm() -> None:
    """Do what the environment asks for; nothing without it.

    Raises:
        ValueError: it asks for a point or an action that does not exist.
    """
    _passed.clear()
    _armed.clear()
    trial = next((word[-3:] for word in sys.orig_argv if re.search(r"/trials/\d{3}$", word)), "driver")
    here = True
    for asked in filter(None, os.environ.get("FAILPOINTS", "").split(";")):
        point, _, what = asked.partition("=")
        action, _, when = what.partition("@")
        match point:
            case "only":
                here = action == trial
            case _ if not here:
                pass
            case "strace":
                _trace(action)
            case "grace":
                _shorten_grace(float(action))
            case "patience":
                _shorten_patience(float(action))
            case "terminal":
                _sit_down_at(action)
            case "fork":
                _fork_trials()
            case "memory":
                _limit_memory(int(action))
            case "clock":
                _break_clock()
            case "call":
                _at_call(action, int(when))
            case "import":
                sys.meta_path.insert(0, _AtImport(action, when))
            case "exit":
                atexit.register(_act, point, action)
            case "child":
                os.register_at_fork(after_in_child=partial(_act, point, action))
            case "time":
                thread = threading.Timer(float(when), _act, [point, action])
                thread.daemon = True
                thread.start()
            case _ if point in POINTS:
                _armed[point] = action, int(when or 1)
            case _:
                raise ValueError(f"unknown failpoint {point!r}")
    if _armed:
        _wrap_all()


def _at_call(action: str, number: int) -> None:
    calls = itertools.count(1)

    def watch(_frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and next(calls) == number:
            sys.setprofile(None)
            _act("call", action)

    sys.setprofile(watch)


class _AtImport:
    """Finds nothing; is asked before any other finder."""

    def __init__(self, action: str, module: str) -> None:
        self.action, self.module = action, module

    def find_spec(self, name: str, *_: object) -> None:
        if name == self.module:
            sys.meta_path.remove(self)
            _act("import", self.action)


def _trace(inject: str) -> None:
    """Have strace write what this process asks of the disk into `trace`, and tamper with some of it."""
    calls = "trace=fsync,rename,write"
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER: a child may trace its parent, too
    options = ["-y", "-e", calls, *(["-e", f"inject={inject}"] if inject else [])]
    subprocess.Popen(["strace", *options, "-o", "trace", "-p", str(os.getpid())], stderr=subprocess.DEVNULL)
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        time.sleep(0.005)


def pass_by(point: str) -> None:
    """The run has come to a point."""
    _passed[point] += 1
    if point in _armed and _armed[point][1] == _passed[point]:
        _act(point, _armed[point][0])


def _act(point: str, actions: str) -> None:
    for action in actions.split("+"):
        kind, _, what = action.partition(":")
        match kind:
            case "kill" | "term" | "int" | "hup" | "usr1":
                os.kill(os.getpid(), signal.Signals[f"SIG{kind.upper()}"])
            case "stop":
                subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -CONT {os.getpid()}"])
                os.kill(os.getpid(), signal.SIGSTOP)
            case "raise":
                from trainkit.core import errors

                raise (vars(builtins) | vars(errors))[what or "RuntimeError"](f"failed at {point}")
            case "errno":
                number = getattr(errno, what)
                raise OSError(number, os.strerror(number))
            case "sleep":
                time.sleep(float(what))
            case "hang":
                threading.Event().wait()
            case "deaf":
                signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            case "driver":  # of the trial that this is
                os.kill(os.getppid(), signal.Signals[f"SIG{what.upper()}"])
            case "until_asked":  # by SIGTERM, which puts the ordinary handlers back
                while signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                    time.sleep(0.005)
            case _:
                raise ValueError(f"unknown action {action!r}")


def _shorten_grace(seconds: float) -> None:
    from trainkit.core import signals
    from trainkit.runs import failures

    vars(failures)["GRACE_S"] = seconds
    signals.stop_on_signal.__wrapped__.__defaults__ = (seconds,)  # type: ignore[attr-defined]


def _shorten_patience(seconds: float) -> None:
    from trainkit.sweeps import trial

    vars(trial)["PATIENCE_S"] = seconds


def _sit_down_at(terminal: str) -> None:
    """It becomes that of this session, with its Ctrl-C and its end."""
    descriptor = os.open(terminal, os.O_RDWR)
    for stream in range(3):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _fork_trials() -> None:
    """Fork the trials of a sweep from its driver, which has imported already what they need."""
    from tests.forked import Forked
    from trainkit.sweeps import trial

    vars(trial)["subprocess"] = SimpleNamespace(**vars(subprocess) | {"Popen": Forked})


def _limit_memory(megabytes: int) -> None:
    """So much more than there is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + megabytes * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _break_clock() -> None:
    """Let the wall clock jump by years, there and back."""
    now, jumps = time.time, itertools.cycle([0.0, -1.5e9, 1e9])
    time.time = lambda: now() + next(jumps)


def _around(owner: Any, name: str, *, before: str | None = None, after: str | None = None) -> None:
    """Pass by a point whenever a function is called, or has returned."""
    function: Callable[..., Any] = getattr(owner, name)

    @wraps(function)
    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        if before:
            pass_by(before)
        result = function(*arguments, **keywords)
        if after:
            pass_by(after)
        return result

    setattr(owner, name, wrapped)


@cache
def _wrap_all() -> None:
    from trainkit.core.device import Precision
    from trainkit.experiment import building
    from trainkit.runs import checkpoint, run, run_state
    from trainkit.sinks.jsonl import JsonlSink
    from trainkit.training import loop
    from trainkit.training.meter import Meter

    _around(building, "open_data", before="build.data")
    _around(run, "build", before="build.model")
    _around(run_state, "restore", after="resume.before_first_step")
    _around(Precision, "backward", before="step.before_backward", after="step.after_backward")
    _around(Precision, "update", after="step.after_optimizer")
    _around(Meter, "epoch_record", before="epoch.end")
    _around(JsonlSink, "sync", before="log.before_flush")
    JsonlSink.__init__ = _in_halves(JsonlSink.__init__)  # type: ignore[method-assign]
    for module in (loop, run):
        module.evaluate = partial(_watched, module.evaluate)  # type: ignore[attr-defined]
    checkpoint.save = _saving(checkpoint.save)
    if any(point.startswith("sweep.") for point in _armed):
        from trainkit.sweeps import study, sweep
        from trainkit.sweeps.trial import Trial

        _around(Trial, "begin", after="sweep.after_start")
        for owner in (study, sweep):
            _around(owner, "tell_result", before="sweep.before_result")


def _watched(evaluate: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    watch = keywords.pop("watch", lambda batch, outcome: None)

    def watching(batch: Any, outcome: Any) -> None:
        pass_by("eval.mid")
        watch(batch, outcome)

    return evaluate(*arguments, watch=watching, **keywords)


class _Halves:
    """A raw file that takes half of what it is given, so that a line is half there for a moment."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, content: bytes) -> int:
        written: int = self.file.write(content[: max(1, len(content) // 2)])
        pass_by("log.mid_line")
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _in_halves(init: Callable[..., None]) -> Callable[..., None]:
    def wrapped(sink: Any, *arguments: Any, **keywords: Any) -> None:
        init(sink, *arguments, **keywords)
        sink._file._file = _Halves(sink._file._file)

    return wrapped


def _saving(save: Callable[..., None]) -> Callable[..., None]:
    """`checkpoint.save` with the points of its system calls, which mean something only inside it."""

    def replaced(source: Any, target: Any, **keywords: Any) -> None:
        rename(source, target, **keywords)
        name = Path(target).name
        pass_by({"best.pt": "ckpt.after_best", "last.pt": "ckpt.after_rename"}.get(name, "ckpt.after_history"))

    def synced(descriptor: int) -> None:
        is_directory = Path(f"/proc/self/fd/{descriptor}").readlink().is_dir()
        if not is_directory:
            pass_by("ckpt.after_write")
        fsync(descriptor)
        pass_by("ckpt.after_dirsync" if is_directory else "ckpt.after_fsync")

    def unlinked(path: Path, **keywords: Any) -> None:
        unlink(path, **keywords)
        if path.name.startswith("step-"):
            pass_by("ckpt.after_removal")

    def slowly(path: Path, write: Callable[[Any], Any], **keywords: Any) -> None:
        def in_halves(file: Any) -> None:
            pass_by("ckpt.tmp_open")
            write(_HalfWriter(file))

        replace(path, in_halves, **keywords)

    from trainkit.core import atomic

    rename, fsync, unlink, replace = os.replace, os.fsync, Path.unlink, atomic.replace

    @wraps(save)
    def wrapped(*arguments: Any, **keywords: Any) -> None:
        os.replace, os.fsync, atomic.replace = replaced, synced, slowly  # type: ignore[assignment]
        try:
            save(*arguments, **keywords)
        finally:
            os.replace, os.fsync, atomic.replace = rename, fsync, replace

    Path.unlink = unlinked  # type: ignore[assignment, method-assign]
    return wrapped


class _HalfWriter:
    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, content: Any) -> None:
        half = len(content) // 2
        self.file.write(content[:half])
        self.file.flush()
        pass_by("ckpt.mid_write")
        self.file.write(content[half:])

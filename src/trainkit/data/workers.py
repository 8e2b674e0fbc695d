"""Worker processes that load data: what one does in its process, and what a run says when one fails."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import util
from types import FrameType
from typing import Any, TypeVar

from torch.utils.data import Dataset

from trainkit.core import nest
from trainkit.core.errors import OutOfMemoryError, RemoteError, StorageError, TrainkitError, WorkerError

T = TypeVar("T", bound=Iterable[Any])

NOTICED_S = 5.0
"""After so long, the death of a worker has come to notice."""
MAY_SHOW_WHY = "in the middle of its work; loader.num_workers=0 may show why"
TOO_MANY_FILES = "too many open files; use a smaller loader.num_workers, or see ulimit -n"
MOST_TENSORS = 16
"""Each that comes from a worker takes an open file; of more in a batch, all come as one."""
SHARED_MEMORY = "use loader.num_workers=0, or give it more shared memory, such as docker run --shm-size=8g"


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def left_alone() -> Iterator[None]:
    """Processes that are started inside never hear Ctrl-C, which a terminal sends to them as well, from their first
    instruction on: they inherit what is blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else set()
    try:
        yield
    finally:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin(_worker_id: int) -> None:
    """What a worker does first: it ends with its parent, and leaves signals to it.

    In a process group of its own, it does not get the Ctrl-C or SIGTERM that is meant for the run.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # to look through what the run has made would copy it, page by page
    # Python's thread that hands over tensors would show a traceback when the run ends in the middle of it.
    sys.excepthook = lambda *_: None
    # torch's workers look for their parent only between two samples: one that hangs in a sample would live for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


class Guarded(Dataset[T | nest.Packed | Exception]):
    """A dataset in a worker, whose items do not raise: torch's own way loses the frames and hangs on some classes."""

    def __init__(self, dataset: Dataset[T]) -> None:
        self.dataset = dataset
        # Where workers open their sockets: made here, it goes with this process, however the workers end.
        util.get_temp_dir()
        worker_failures.kept = None  # of those before

    def __getitem__(self, key: Any) -> T | nest.Packed | Exception:
        try:
            return _shared(self.dataset[key])
        except TrainkitError as error:
            if error.__cause__ is not None:  # which does not come with it
                error.add_note("".join(traceback.format_exception(error.__cause__)).rstrip())
            return error
        except MemoryError:
            what = "a data worker ran out of memory; use a smaller loader.num_workers or loader.batch_size"
            return OutOfMemoryError(what)
        except (Exception, SystemExit) as error:
            return RemoteError(type(error).__name__, str(error), traceback.extract_tb(error.__traceback__))


def _shared(item: T) -> T | nest.Packed:
    """The same, its tensors in shared memory. torch would put them there in a thread, whose errors nobody hears."""
    try:
        tensors = nest.tensors(item)
        if len(tensors) > MOST_TENSORS:
            return nest.Packed.of(item)
        for tensor in tensors:
            tensor.share_memory_()
    except RuntimeError as error:
        # torch 2.10 has the wrong reason: "unable to allocate shared memory(shm) for file <…>: Success (0)"
        if "No space left on device" in str(error) or "unable to allocate shared memory" in str(error):
            raise WorkerError(f"the shared memory is full; {SHARED_MEMORY}") from None
        if "Too many open files" in str(error):
            raise StorageError(TOO_MANY_FILES) from None
        raise
    return item


class _WorkerFailures:
    """Of workers. torch raises them in a signal handler, wherever the run just is, even in the middle of a save; here
    they are kept until it waits for a batch."""

    def __init__(self) -> None:
        self.kept: RuntimeError | None = None
        self.waiting = False
        self.handler: Callable[[int, FrameType | None], Any] | None = None
        """Torch's own."""

    def watch(self) -> None:
        """Come before torch's handler, which is there once a worker is."""
        if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGCHLD)
        if self.handler is None and callable(handler):
            self.handler = handler
            signal.signal(signal.SIGCHLD, self)

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Afterwards the handler is torch's own again, which stays for ever; but not when something has gone wrong, for
        other workers may die of it yet."""
        yield
        handler = self.handler
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, handler)
            self.handler = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        assert self.handler is not None
        try:
            self.handler(signum, frame)
        except RuntimeError as error:
            if self.waiting:
                raise
            self.kept = error

    @contextmanager
    def raised(self) -> Iterator[None]:
        self.waiting = True
        try:
            if self.kept:
                raise self.kept
            yield
        finally:
            self.waiting = False


worker_failures = _WorkerFailures()


def results(batches: Iterator[T | nest.Packed | Exception]) -> Iterator[T]:
    """What comes from workers that guard it; their errors raised.

    Raises:
        WorkerError: one died or hangs.
        StorageError: too many files are open.
        RemoteError: what a user's code raised.
    """
    worker_failures.watch()
    while True:
        try:
            with worker_failures.raised():
                batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            raise _explained(error) from error
        except (EOFError, ConnectionError, FileNotFoundError):
            raise _exit_reason() from None
        if isinstance(batch, Exception):
            try:
                raise batch
            finally:
                del batch, batches  # else the error would hold this frame, and the frame the workers
        yield batch.unpacked() if isinstance(batch, nest.Packed) else batch


def _exit_reason() -> Exception:
    """How the worker ended that was just about to hand over a batch: soon, torch's handler will know."""
    try:
        with worker_failures.raised():
            time.sleep(NOTICED_S)
    except RuntimeError as error:
        return _explained(error)
    return WorkerError(f"worker ended {MAY_SHOW_WHY}")


def _explained(error: RuntimeError) -> Exception:
    """What torch's error says of a worker that died or hangs; another error as it is."""
    text = f"{error} {error.__cause__}"  # where torch noticed twice, the cause has the details
    if "Too many open files" in text:
        return StorageError(TOO_MANY_FILES)
    if waited := re.search(r"DataLoader timed out after (\S+) seconds", text):
        return WorkerError(
            f"no batch has come from a worker for {float(waited[1]):g} s: it hangs, or reads that slowly; use a larger "
            "loader.timeout, or loader.num_workers=0 to see where"
        )
    if killed := re.search(r"killed by signal: (.*?)\.( |$)", text):
        number = next((number for number in signal.valid_signals() if signal.strsignal(number) == killed[1]), "?")
        if number == signal.SIGKILL:
            why, advice = "out of memory?", "use a smaller loader.num_workers or loader.batch_size"
        elif number == getattr(signal, "SIGBUS", None):
            why, advice = "shared memory full?", SHARED_MEMORY
        else:
            why, advice = killed[1].lower(), "loader.num_workers=0 may show where"
        return WorkerError(f"worker killed by signal {number} ({why}); {advice}")
    if "DataLoader worker" in text:
        code = re.search(r"exit code (\d+)", text)
        return WorkerError(f"worker ended {f'with exit code {code[1]} ' if code else ''}{MAY_SHOW_WHY}")
    return error

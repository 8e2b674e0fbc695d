"""What can go wrong, each kind with the exit code that the command ends with."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from traceback import StackSummary

from trainkit.core.text import printable

NOT_OWN = (str(Path(__file__).parents[1]), "<frozen", *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
"""How the files begin that are not the user's."""


def own_line(error: BaseException) -> str:
    """Where an exception has left the user's own code, such as ` (my_net.py:7)`; empty where it was not in there."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(NOT_OWN)]
    return f" ({short(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""


def short(file: str) -> str:
    """A path as it is typed: below the current directory without that."""
    path = Path(file)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def os_error_text(error: OSError | ValueError) -> str:
    """What the system says, such as `permission denied`."""
    return ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()


def first_line(error: BaseException) -> str:
    """What an exception says, on one line; the name of its type where that is nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


class TrainkitError(Exception):
    """A failure that the user can act on: shown as one `error:` line per problem, without a traceback."""

    exit_code = 1

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = tuple(map(printable, problems))

    def __str__(self) -> str:
        return "\n".join(self.problems)


class ConfigError(TrainkitError):
    """The command line or the YAML file is wrong."""

    exit_code = 2


class DataError(TrainkitError):
    """The data is missing, damaged, or not what the config says."""

    exit_code = 3


class CheckpointError(TrainkitError):
    """A checkpoint is missing, damaged, or belongs to something else."""

    exit_code = 4


class StorageError(TrainkitError):
    """The disk, the device or another part of the machine refuses."""

    exit_code = 5


class BusyError(TrainkitError):
    """Another process owns the run directory."""

    exit_code = 6


class DivergedError(TrainkitError):
    """The loss is no longer a finite number."""

    exit_code = 7


class OutOfMemoryError(TrainkitError):
    """The batch does not fit into memory."""

    exit_code = 8


class SweepError(TrainkitError):
    """The sweep is finished, but some of its trials failed."""

    exit_code = 9


class WorkerError(TrainkitError):
    """A data worker died."""

    exit_code = 10


class RemoteError(Exception):
    """What code in another process raised, where its type may be unknown and its frames are no longer there.

    Args:
        kind: the name of its type.
        frames: where it was raised.
    """

    def __init__(self, kind: str, message: str, frames: StackSummary) -> None:
        super().__init__(kind, message, frames)
        self.kind, self.message, self.frames = kind, message, frames
        self.add_note("".join(frames.format()).rstrip())

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class StoppedError(TrainkitError):
    """A signal asked the run to stop; the exit code is 128 + the signal's number, as shells count."""

    def __init__(self, signum: int, *problems: str) -> None:
        super().__init__(*problems)
        self.exit_code = 128 + signum

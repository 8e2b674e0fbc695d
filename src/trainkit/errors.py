"""What can go wrong, each kind with the exit code that the command ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TrainkitError(Exception):
    """A failure that the user can act on: shown as one `error:` line per problem, without a traceback."""

    exit_code = 1

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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


class StoppedError(TrainkitError):
    """A signal asked the run to stop; the exit code is 128 + the signal's number, as shells count."""

    def __init__(self, signum: int, *problems: str) -> None:
        super().__init__(*problems)
        self.exit_code = 128 + signum


# What beginners spell out, or shorten.
_SYNONYMS = {"learning_rate": "lr", "wd": "weight_decay", "bs": "batch_size"}


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean 'adam'?` when something known is near, else an empty string."""
    near = nearest(wrong, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """What a wrong word may have meant.

    Near is what is spelled alike, what begins with the word (`acc` and `accuracy`), and what ends in the same whole
    words (`num_epochs` and `epochs`, `epochs` and `train.epochs`).
    """
    names = {_plain(name): name for name in known}
    word = _plain(wrong)
    near = [name for name in names if name == _SYNONYMS.get(word)]
    near += difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    near += [name for name in names if word.endswith(f"_{name}") or name.endswith((f"_{word}", f".{word}"))]
    near += [name for name in names if len(word) > 2 and name.startswith(word)]
    return names[near[0]] if near else None


def _plain(word: str) -> str:
    return word.lower().lstrip("-").replace("-", "_")

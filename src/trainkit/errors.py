"""What can go wrong, each kind with the exit code that the command ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from traceback import StackSummary


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


class Suspicion(str):
    """What is allowed but probably not meant: a sentence, with a code by which programs know what kind it is."""

    __slots__ = ("code",)
    code: str

    def __new__(cls, code: str, text: str) -> Suspicion:
        made = super().__new__(cls, text)
        made.code = code
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # str's has no code
        return self.code, str(self)


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


def did_you_mean_path(path: Path) -> str:
    """`; did you mean data/labels.csv?` when a name near to the one that is missing is there, else an empty string."""
    missing = path
    with suppress(OSError):
        if path.exists():
            return ""
        while not missing.parent.exists():
            missing = missing.parent
        there = {each.name for each in islice(missing.parent.iterdir(), 1000)} - {missing.name}
        if near := nearest(missing.name, there):
            whole = missing.with_name(near) / path.relative_to(missing)
            return f"; did you mean {whole if whole.exists() else missing.with_name(near)}?"
    return ""


def and_more(names: Sequence[str]) -> str:
    """The first of several names, and how many there are more."""
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]


def printable(text: str) -> str:
    """A text in one line, without what would move the cursor of a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _plain(word: str) -> str:
    return word.lower().lstrip("-").replace("-", "_")


def counted(count: int, what: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {what}{'s' * int(count != 1)}"

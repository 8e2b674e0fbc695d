"""What every sink is: a config that opens it, what it receives then, and what happens when it fails."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from trainkit.config.base import Config
from trainkit.core.errors import first_line, os_error_text
from trainkit.core.records import Record, Sink

T = TypeVar("T")


class OpenSink(Sink, Protocol):
    """A sink that is closed when the run ends, in whatever way."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkContext:
    """What a sink is told when it is opened."""

    directory: Path
    """The run's, where it may write files of its own."""
    resumed_at: int | None = None
    """The step that a resumed run goes on from: what it had said of later ones no longer counts. None: a new run."""
    earlier: Callable[[], Iterable[Record]] = tuple
    """Gives the numbers that a resumed run has recorded up to there, in their order."""
    log_bytes: int | None = None
    """The length of metrics.jsonl up to there."""
    quiet: bool = False
    """Only warnings and the result are to be printed."""
    warn: Callable[[str], None]
    """Tells the user, and the other sinks."""


class SinkConfig(Config):
    """Base of every sink."""

    name: str

    takes_figures: ClassVar[bool] = True
    """Whether it takes more than numbers and text: a run draws figures only where a sink does."""

    @abstractmethod
    def open(self, context: SinkContext) -> OpenSink:
        """Open the sink, which is then told every record."""


def _opened(config: SinkConfig, context: SinkContext) -> OpenSink:
    if (sink := config.open(context)) is None:
        raise TypeError("open gives None; it must return what has write and close")
    return sink


class Guarded:
    """A sink that may fail: it warns once and is closed, and the run goes on without it."""

    def __init__(self, config: SinkConfig, context: SinkContext) -> None:
        self._name, self._warn = config.name, context.warn
        self._sink: OpenSink | None = None
        self._sink = self._attempt(lambda: _opened(config, context))

    def write(self, record: Record) -> None:
        if sink := self._sink:
            self._attempt(lambda: sink.write(record))

    def close(self) -> None:
        if sink := self._sink:
            self._sink = None
            self._attempt(sink.close)

    def _attempt(self, action: Callable[[], T]) -> T | None:
        try:
            return action()
        except Exception as error:  # of a user's own sink, of a library, of the disk
            sink, self._sink = self._sink, None
            if sink:
                with suppress(Exception):
                    sink.close()
            reason = (os_error_text(error) if isinstance(error, OSError) else "") or first_line(error)
            kind = f"{type(error).__name__}: " * isinstance(error, LookupError | TypeError | AttributeError)
            self._warn(f"sink {self._name}: {kind}{reason}; the run goes on without it")
            return None

"""What a run says, as plain values, and who hears it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class StartRecord:
    """Said once, before the first step."""

    facts: Mapping[str, str]
    """Device, data, model, training, run directory: what the header shows, in its order."""
    config: str
    """The resolved config as YAML."""


@dataclass(frozen=True, slots=True)
class TrainRecord:
    """The steps since the last such record."""

    step: int
    epoch: float
    """Epochs done, with the fraction of the current one."""
    loss: float
    """Mean over the samples."""
    lr: float
    """The rate that the last step used."""
    grad_norm: float
    """Global gradient norm (L2) of the last step, before clipping."""
    samples_per_s: float


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """A finished epoch."""

    step: int
    epoch: int
    loss: float
    """Mean over the samples of the epoch, while the weights changed."""
    samples_per_s: float
    elapsed_s: float
    """Training time, without evaluation and saving."""
    waiting: float
    """The share of it that was spent waiting for data."""


@dataclass(frozen=True, slots=True)
class EvalRecord:
    """One pass over a split without learning."""

    step: int
    epoch: float
    split: Literal["train", "val", "test"]
    metrics: Mapping[str, float]
    """`loss` and the metrics, by their names without the split."""
    best: bool
    """Whether this is the best so far by the monitored metric."""
    elapsed_s: float


NOT_METRICS = ("kind", "split", "step", "epoch", "best", "wall")
"""What else stands beside the metrics in a line of an evaluation, by these names: no metric may have one of them."""


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """A checkpoint that is safely on the disk."""

    step: int
    path: Path
    best: bool


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """Something a person should know."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class EndRecord:
    """Said once, after the last step of a run that reached its end."""

    headline: str
    curves: tuple[str, ...]
    """What the curves of the run say, and what to try."""
    commands: Mapping[str, str]
    """What a user would type next, by purpose."""


Record = StartRecord | TrainRecord | EpochRecord | EvalRecord | CheckpointRecord | NoteRecord | EndRecord


class Sink(Protocol):
    """Hears every record; takes what it can use. It cannot reach the loop."""

    def write(self, record: Record) -> None: ...


@dataclass(frozen=True, slots=True)
class Tee:
    """Passes every record on to several sinks, in order."""

    sinks: tuple[Sink, ...]

    def write(self, record: Record) -> None:
        for sink in self.sinks:
            sink.write(record)

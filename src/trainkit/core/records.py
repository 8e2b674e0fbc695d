"""What a run says, as plain values, and who hears it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class StartRecord:
    """Said once, before the first step."""

    facts: Mapping[str, str]
    """Device, data, model, training, run directory: what the header shows, in its order."""
    config: str
    """The resolved config as YAML."""


class Position(Protocol):
    """How far a run has come."""

    @property
    def step(self) -> int: ...

    @property
    def epoch(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """Said once, right before the first step."""

    position: Position
    """Moves on with the run; may be read at any time."""
    max_steps: int
    steps_per_epoch: int
    eval_every: int
    save_every: int
    eval_in_steps: float
    """About how long an evaluation takes, in steps, as long as none was made."""
    max_s: float
    """The run ends after so many seconds, wherever it is; infinite: never."""


@dataclass(frozen=True, slots=True)
class TrainRecord:
    """The steps since the last such record."""

    step: int
    epoch: float
    """Epochs done, with the fraction of the current one."""
    loss: float
    """Mean over the samples, or what else the loss counts."""
    lr: float
    """The rate that the last step used."""
    grad_norm: float
    """Global gradient norm (L2) of the last step, before clipping."""
    samples_per_s: float
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the loss is made of, by the names that it gives them, each a mean as `loss` is."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """A finished epoch."""

    step: int
    epoch: int
    loss: float
    """Mean over the samples of the epoch, or what else the loss counts, while the weights changed."""
    samples_per_s: float
    elapsed_s: float
    """Training time, without evaluation and saving."""
    waiting: float
    """The share of it that was spent waiting for data."""
    accuracy: float | None = None
    """Of the training samples as they came, each before its step, in training mode and with random transforms; None
    where accuracy is not measured, and where samples are mixed."""


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
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """Something a person should know."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class EndRecord:
    """Said once, after the last step of a run that reached its end."""

    headline: str
    beside: tuple[str, ...]
    """What the results are held against: a table."""
    curves: tuple[str, ...]
    """What the curves of the run say, and what to try."""
    commands: Mapping[str, str]
    """What a user would type next, by purpose."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """Pictures of samples, or a figure such as a confusion matrix."""

    step: int
    name: str
    """Such as `pictures/val`."""
    pixels: NDArray[np.uint8]
    """Shape (height, width, 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class HistogramRecord:
    """The distribution of a weight or of its gradient."""

    step: int
    name: str
    values: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PrCurveRecord:
    """How well a class or label is told from the others, for a curve of precision against recall."""

    step: int
    name: str
    targets: Tensor
    """Whether each sample is of the class, shape (samples,)."""
    probabilities: Tensor
    """That it is, as the model says, shape (samples,)."""


@dataclass(frozen=True, slots=True, eq=False)
class GraphRecord:
    """A copy of the model, for a drawing of its operations."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    """With which it can be called."""


@dataclass(frozen=True, slots=True)
class HparamsRecord:
    """Said last, after the end of a run: what it was and what came of it."""

    step: int
    values: Mapping[str, Any]
    """The sections of the config that make one run differ from another, as plain data."""
    metrics: Mapping[str, float]
    """The final ones, by names with their split."""


Figure = ImageRecord | HistogramRecord | PrCurveRecord | GraphRecord | HparamsRecord
"""What is drawn only where a sink takes it."""
Record = (
    StartRecord
    | ProgressRecord
    | TrainRecord
    | EpochRecord
    | EvalRecord
    | CheckpointRecord
    | NoteRecord
    | EndRecord
    | Figure
)


class Sink(Protocol):
    """Hears every record; takes what it can use. It cannot reach the loop."""

    def write(self, record: Record) -> None: ...


@dataclass(frozen=True, slots=True)
class Tee:
    """Passes every record on to several sinks, in order."""

    sinks: Sequence[Sink]

    def write(self, record: Record) -> None:
        for sink in self.sinks:
            sink.write(record)

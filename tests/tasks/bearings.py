"""A task and an input kind that are like none of trainkit's: from which side a wave comes, by its spectrum.

`test_task_seam.py` puts this module beside a config that imports it, as a user would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from trainkit.config.registry import register
from trainkit.core.errors import DataError
from trainkit.data import Batch, Data, DataConfig, DataSpec, Source, TensorSource
from trainkit.data.base import fingerprint
from trainkit.data.inputs import InputKind
from trainkit.models import register_model
from trainkit.plots.figures import LineChart, Series
from trainkit.tasks import Cell, Details, Findings, Line, Prediction, Table, Task
from trainkit.training.losses import LossConfig, LossFn, supervised
from trainkit.training.metrics import Mean, Metric, MetricConfig

QUADRANTS = ("north", "east", "south", "west")
CLOSE = 8.0
"""Degrees by which a prediction may be off."""


def bearing(outputs: Tensor) -> Tensor:
    """The angle of a vector, shape (n,), from 0 to 360 degrees."""
    return torch.atan2(outputs[:, 1], outputs[:, 0]).rad2deg() % 360


def apart(one: Tensor, other: Tensor) -> Tensor:
    """By how many degrees two angles differ on the circle, shape (n,): 359 and 1 by 2."""
    return ((one - other + 180) % 360 - 180).abs()


def quadrant(angles: Tensor) -> Tensor:
    """Shape (n,), int64."""
    return ((angles + 45) % 360 / 90).long()


class ByQuadrant:
    """How far predictions are off on average, in each quarter of the circle."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, 4, device=device)

    def update(self, outputs: Tensor, targets: Tensor, batch: Batch | None = None) -> None:
        off = apart(bearing(outputs), targets)
        self.sums.index_add_(1, quadrant(targets), torch.stack([torch.ones_like(off), off]))

    def merge(self, other: Self) -> None:
        self.sums += other.sums

    def means(self) -> list[float]:
        return (self.sums[1] / self.sums[0].clamp(min=1)).tolist()

    def to_plain(self) -> dict[str, Any]:
        return {"quadrants": dict(zip(QUADRANTS, self.means(), strict=True))}

    def lines(self) -> list[Line]:
        means = self.means()
        return [
            Line(f"{name:<6} {mean:5.1f}°", mean == max(means)) for name, mean in zip(QUADRANTS, means, strict=True)
        ]


@register("task")
class Bearing(Task):
    """An angle. Targets: degrees, shape (batch,), float32. Outputs: a vector that points there, shape (batch, 2)."""

    name: Literal["bearing"] = "bearing"
    size: int = 1

    noun: ClassVar = ("angle", "angles")
    phrase: ClassVar = "angles"
    default_loss: ClassVar = "circle"
    default_metrics: ClassVar = ("degrees",)
    memorised: ClassVar = "close"

    @classmethod
    def of(cls, targets: Tensor, names: Sequence[str] = ()) -> Self:
        return cls()

    @classmethod
    def as_targets(cls, values: Tensor, size: int | None = None) -> Tensor:
        return values.float().view(len(values)) % 360

    @property
    def num_outputs(self) -> int:
        return 2

    def check(self, targets: Tensor, split: str) -> None:
        if not bool(((targets >= 0) & (targets < 360)).all()):
            raise DataError(f"data: an angle of the {split} split is outside 0 … 360")

    def kept(self, outputs: Tensor) -> Tensor:
        return bearing(outputs.float())

    def words(self, value: Tensor) -> str:
        return f"{float(value):.0f}°"

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return apart(outputs, targets)

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.errors(outputs, targets) > CLOSE

    def details(self, device: torch.device) -> Details:
        return ByQuadrant(device)

    def findings(self, details: Details | None, outputs: Tensor, targets: Tensor, split: str) -> Findings:
        off = self.errors(outputs, targets)
        rows = [(name, f"{int((quadrant(targets) == number).sum())}") for number, name in enumerate(QUADRANTS)]
        series = [Series("off by", targets.tolist(), off.tolist(), "points")]
        return Findings(
            [Table("Where the waves come from", ("quadrant", f"{split} samples"), rows)],
            [LineChart("Errors around the circle", series, "true angle", "degrees off")],
        )

    def predictions(self, inputs: Sequence[str], outputs: Tensor) -> list[Prediction]:
        return [
            Prediction(one, self, (QUADRANTS[int(quadrant(angle))],), {"angle": float(angle)})
            for one, angle in zip(inputs, outputs, strict=True)
        ]

    def plain(self, prediction: Prediction, top: int | None) -> dict[str, Any]:
        return {"from": prediction.answer[0], "angle": prediction.values["angle"]}

    def heads(self, top: int | None, *, every: bool) -> list[str]:
        return ["from", "angle"]

    def cells(self, prediction: Prediction, top: int | None, *, every: bool) -> list[Cell]:
        return [*prediction.answer, prediction.values["angle"]]

    def text(self, number: float) -> str:
        return f"{number:.1f}°"


@register("input")
class Spectrum(InputKind):
    """Complex amplitudes, shape (bins,), complex64. The model sees their real and imaginary parts, shape (2, bins)."""

    name: Literal["spectrum"] = "spectrum"
    loudest: float = Field(1.0, gt=0)
    """Of the training samples, by which all are divided."""

    drawable: ClassVar = True
    array: ClassVar = "an .npy array of complex numbers"

    @property
    def sample_shape(self) -> tuple[int | str, ...]:
        return self.shape[1:]

    def preparation(self, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        return lambda inputs: torch.stack([inputs.real, inputs.imag], 1).to(dtype) / self.loudest

    def pixels(self, inputs: Tensor) -> Tensor:
        """The loudness of every bin as a grey stripe."""
        stripes = (inputs.cpu().square().sum(1).sqrt() * 255).clamp(0, 255).byte()
        return stripes[:, None, None].expand(-1, 1, 8, -1)

    def takes(self, array: NDArray[Any]) -> bool:
        return array.shape == self.shape[1:] and array.dtype.kind == "c"

    def from_array(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array, np.complex64))


class Recordings:
    """A file for each sample."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.targets = Bearing.as_targets(torch.from_numpy(np.load(path / "angles.npy")))

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        spectra = [torch.from_numpy(np.load(self.path / f"{number}.npy")) for number in index.tolist()]
        return Batch(torch.stack(spectra), self.targets[index], index)

    def digest(self) -> str:
        return fingerprint(self.targets)


@register("data")
class RecordingsConfig(DataConfig):
    """A folder of spectra, `0.npy` and so on, with `angles.npy`."""

    name: Literal["recordings"] = "recordings"
    path: str
    in_memory: bool = False

    def build(self, seed: int) -> Data:
        source: Source = Recordings(Path(self.path))
        spectra = source.take(torch.arange(len(source))).inputs
        if self.in_memory:
            source = TensorSource(spectra, source.targets)
        train, val, test = self.train_val_test(source, seed, 0.2, task=Bearing)
        known = Spectrum(shape=(2, spectra.shape[1]), loudest=float(spectra[train.index].abs().max()))
        return Data(DataSpec(input=known, task=Bearing.of(train.targets)), train, val, test)


@register_model("antenna")
class Antenna(nn.Module):
    """Two layers."""

    def __init__(self, in_features: int, num_outputs: int, hidden: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(in_features, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, num_outputs)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


@register("loss")
class CircleConfig(LossConfig):
    """The squared distance from the point of the unit circle."""

    name: Literal["circle"] = "circle"
    works_on: ClassVar = (Bearing,)

    def build(self, task: Task) -> LossFn:
        def distance(outputs: Tensor, targets: Tensor) -> Tensor:
            angles = targets.deg2rad()
            return (outputs.float() - torch.stack([angles.cos(), angles.sin()], 1)).square().sum(1).mean()

        return supervised(distance)


@register("metric")
class DegreesConfig(MetricConfig):
    """The mean error in degrees."""

    name: Literal["degrees"] = "degrees"
    works_on: ClassVar = (Bearing,)
    mode: ClassVar[Literal["min", "max"]] = "min"

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        return Mean(lambda outputs, targets: apart(bearing(outputs), targets), device)


@register("metric")
class CloseConfig(MetricConfig):
    """The share of predictions that are hardly off."""

    name: Literal["close"] = "close"
    works_on: ClassVar = (Bearing,)

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        return Mean(lambda outputs, targets: apart(bearing(outputs), targets) <= CLOSE, device)

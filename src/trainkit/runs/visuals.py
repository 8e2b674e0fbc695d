"""What a run shows besides numbers: pictures, mistakes, a confusion matrix, feature maps, the graph, and more."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from trainkit.core.errors import first_line
from trainkit.core.records import (
    EndRecord,
    EpochRecord,
    EvalRecord,
    GraphRecord,
    HistogramRecord,
    HparamsRecord,
    ImageRecord,
    NoteRecord,
    PrCurveRecord,
    Record,
    Sink,
    StartRecord,
)
from trainkit.core.seeding import generators_restored
from trainkit.core.text import printable
from trainkit.data import Batch
from trainkit.experiment.first_batch import first_batch
from trainkit.plots.figures import Tile
from trainkit.plots.images import sheet, spread
from trainkit.runs import checkpoint
from trainkit.runs.context import RunContext
from trainkit.training.predictions import Predictions, predictions_of

T = TypeVar("T")

SHOWN = 32
"""Pictures on a sheet."""
HYPER = ("seed", "data", "loader", "model", "loss", "optimizer", "scheduler", "train")
"""The sections that make one run differ from another."""


@dataclass(frozen=True, kw_only=True)
class Visuals:
    """Hears the records of a run, and draws for its sinks what is switched on under `log`.

    Whatever cannot be drawn is left out with a warning; the run goes on.

    It looks at the run and changes nothing in it: training sees the same weights and random numbers.
    """

    job: RunContext
    stop: Callable[[], bool]
    """Once true, no pass over the val split is begun or finished."""
    sink: Sink
    """Hears the figures and the warnings."""
    failed: set[str] = field(default_factory=set)
    """What is not tried again."""

    def write(self, record: Record) -> None:
        match record:
            case StartRecord() if self.job.progress.step == 0:
                self._draw("graph", self._graph)
                if self.job.data.spec.input.drawable:
                    self._draw("pictures", self._first_batch)
            case EvalRecord(split="val"):
                self._watch_model()
            case EpochRecord() if self.job.parts.val is None:
                self._watch_model()
            case EndRecord():
                self._end()
            case _:
                pass

    def _draw(self, switch: str, draw: Callable[[], None]) -> None:
        if getattr(self.job.experiment.log, switch) and switch not in self.failed:
            self._attempt(draw, switch)

    def _attempt(self, draw: Callable[[], T], *switches: str) -> T | None:
        """Gives None after a failure, which is a warning and the end of what was tried."""
        try:
            with generators_restored():
                return draw()
        except Exception as error:
            self.failed.update(switches)
            what = ", ".join(f"log.{switch}" for switch in switches)
            self.sink.write(NoteRecord(f"{what}: {first_line(error)}; the run goes on without", "warning"))
            return None

    def _watch_model(self) -> None:
        self._draw("histograms", self._histograms)
        self._draw("feature_maps", self._feature_maps)

    def _end(self) -> None:
        """What is known only now, of the checkpoint that the run ends with. The results are out already."""
        drawings = {"confusion_matrix": self._confusion_matrix, "pr_curves": self._pr_curves}
        if self.job.data.spec.input.drawable and self.job.data.val:
            drawings["pictures"] = self._prediction_sheets
        wanted = [switch for switch in drawings if getattr(self.job.experiment.log, switch)]
        if wanted and (predictions := self._attempt(self._predict, *wanted)):
            for switch in wanted:
                self._draw(switch, partial(drawings[switch], predictions))
        self._draw("hparams", self._hparams)

    def _predict(self) -> Predictions:
        """What the model says of the whole val split, in order: one pass for all that need it."""
        if self.job.parts.val is None:
            raise ValueError("there is no val split")
        self.job.parts.model.load_state_dict(checkpoint.final_weights(checkpoint.load(self.job.directory.chosen)))
        predictions = predictions_of(self.job.parts, self.job.parts.val, self.job.data.spec.task, self.stop)
        if predictions is None:
            raise InterruptedError("stopped")
        return predictions

    def _first_batch(self) -> None:
        self._image("pictures/train", first_batch(self.job.experiment, self.job.data, self.job.parts.device))

    def _prediction_sheets(self, predictions: Predictions) -> None:
        assert self.job.data.val is not None
        count = len(predictions)
        # From everywhere in the split: files often stand in the order of their classes.
        anywhere = torch.linspace(0, count - 1, min(SHOWN, count)).long()
        task = predictions.task
        titles = {
            "val": f"{len(anywhere)} of {count:,} val samples: {task.drawn}",
            "worst": f"The worst mistakes in {count:,} val samples: {task.drawn}",
        }
        for name, indices in ("val", anywhere), ("worst", predictions.worst(SHOWN)):
            if len(indices):
                batch = self.job.parts.prepare(self.job.data.val.take(indices), None)
                tiles = predictions.at(indices).tiles(self.job.data.spec.input.pixels(batch.inputs))
                self._image(f"pictures/{name}", sheet(titles[name], tiles, legend=task.legend))

    def _image(self, tag: str, image: Image.Image) -> None:
        self.sink.write(ImageRecord(self.job.progress.step, tag, np.asarray(image)))

    def _confusion_matrix(self, predictions: Predictions) -> None:
        from trainkit.plots.confusion_matrix import confusion_picture  # matplotlib, only for those who want it

        task = predictions.task
        counts = task.confusion(predictions.details)
        title = f"Val split, {len(predictions):,} samples. Rows: the true class. Columns: the predicted class"
        picture = confusion_picture(title, counts, task.known_names)
        self._image("confusion_matrix/val", picture)

    def _pr_curves(self, predictions: Predictions) -> None:
        for name, positive, probability in predictions.task.curves(predictions.outputs, predictions.targets):
            tag = f"pr_val/{printable(name)}"
            self.sink.write(PrCurveRecord(self.job.progress.step, tag, positive, probability))

    def _histograms(self) -> None:
        for name, parameter in self.job.parts.model.named_parameters():
            self.sink.write(HistogramRecord(self.job.progress.step, f"weights/{name}", parameter.detach().float()))
            if parameter.grad is not None:  # the last step's, until the next one begins
                self.sink.write(HistogramRecord(self.job.progress.step, f"gradients/{name}", parameter.grad.float()))

    def _feature_maps(self) -> None:
        model = deepcopy(self.job.parts.ema.model if self.job.parts.ema else self.job.parts.model).eval()
        convolutions = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d)]
        if not convolutions:
            raise ValueError("the model has no two-dimensional convolution")
        name, first = convolutions[0]
        maps: list[Tensor] = []
        first.register_forward_hook(lambda module, inputs, output: maps.append(output[0].float().cpu()))
        with torch.no_grad(), self.job.parts.precision.autocast():
            self.job.parts.loss_fn(model, self._sample())
        tiles = [Tile(spread(channel)[None], str(number)) for number, channel in enumerate(maps[0])]
        title = f"The {len(tiles)} channels of layer {name} for one val sample, each in shades of its own"
        self._image(f"feature_maps/{name}", sheet(title, tiles))

    def _graph(self) -> None:
        self.sink.write(GraphRecord(deepcopy(self.job.parts.model), self._sample().arguments))

    def _sample(self) -> Batch:
        """A batch of one, as the model sees it in evaluation."""
        return self.job.parts.prepare((self.job.data.val or self.job.data.train).take(torch.tensor([0])), None)

    def _hparams(self) -> None:
        plain = self.job.experiment.to_plain()
        values = {section: plain[section] for section in HYPER}
        self.sink.write(HparamsRecord(self.job.progress.step, values, self.job.directory.metadata["metrics"]))

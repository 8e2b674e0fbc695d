"""Curves, figures and hyperparameters for TensorBoard."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainkit.config.registry import register
from trainkit.core.errors import first_line, os_error_text
from trainkit.core.records import (
    EpochRecord,
    EvalRecord,
    Figure,
    GraphRecord,
    HistogramRecord,
    HparamsRecord,
    ImageRecord,
    PrCurveRecord,
    Record,
    StartRecord,
    TrainRecord,
)
from trainkit.core.text import leaves
from trainkit.sinks.append_file import Appended
from trainkit.sinks.base import SinkConfig, SinkContext

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

HPARAMS = ".hparams"
"""How the name of the event file ends that holds the hyperparameters."""
SWITCHES: dict[type, str] = {
    HistogramRecord: "histograms",
    PrCurveRecord: "pr_curves",
    GraphRecord: "graph",
    HparamsRecord: "hparams",
}
"""Of `log`, for each kind of figure; the name of an image begins with its own."""


class TensorBoardSink:
    """Scalars and figures against the step, the config as text."""

    def __init__(
        self, directory: Path, resumed_at: int | None = None, *, warn: Callable[[str], None] = warnings.warn
    ) -> None:
        """Write a new event file; of a run that goes on, TensorBoard forgets what older ones say of later steps."""
        from torch.utils.tensorboard import SummaryWriter  # takes seconds

        self._directory, self._warn = directory, warn
        self._failed = set[str]()
        if resumed_at is not None:
            for stale in directory.glob(f"*{HPARAMS}"):  # of an end that is none any more
                stale.unlink()
        before = set(directory.glob("*"))
        self.writer = SummaryWriter(str(directory), purge_step=None if resumed_at is None else resumed_at + 1)
        events: Any = self.writer.file_writer  # typed as None
        events.event_writer.close()
        [path] = set(directory.glob("*")) - before
        events.event_writer = _EventFile(path, warn)

    def write(self, record: Record) -> None:
        writer = self.writer
        match record:
            case StartRecord():
                writer.add_text("config", f"```yaml\n{record.config}```")
                facts = "\n".join(f"| {name} | {text} |" for name, text in record.facts.items())
                writer.add_text("run", f"| | |\n|-|-|\n{facts}")
            case TrainRecord():
                for name in ("loss", "grad_norm", "samples_per_s"):
                    writer.add_scalar(f"train/{name}", getattr(record, name), record.step)
                for name, value in record.parts.items():
                    writer.add_scalar(f"train/loss_{name}", value, record.step)
                writer.add_scalar("lr", record.lr, record.step)
            case EpochRecord():
                writer.add_scalar("train/epoch_loss", record.loss, record.step)
                writer.add_scalar("train/waiting", record.waiting, record.step)
                if record.accuracy is not None:
                    writer.add_scalar("train/accuracy", record.accuracy, record.step)
            case EvalRecord():
                for name, value in record.metrics.items():
                    writer.add_scalar(f"{record.split}/{name}", value, record.step)
                writer.flush()
            case ImageRecord() | HistogramRecord() | PrCurveRecord() | GraphRecord() | HparamsRecord():
                self._add_figure(record)
            case _:
                pass

    def close(self) -> None:
        self.writer.close()

    def _add_figure(self, figure: Figure) -> None:
        """Add a figure, if it lets itself be drawn: what fails here costs no curve, and is not tried again."""
        switch = figure.name.partition("/")[0] if isinstance(figure, ImageRecord) else SWITCHES[type(figure)]
        if switch in self._failed:
            return
        try:
            self._draw(figure)
        except Exception as error:
            self._failed.add(switch)
            self._warn(f"log.{switch}: {first_line(error)}; the run goes on without")

    def _draw(self, figure: Figure) -> None:
        writer = self.writer
        match figure:
            case ImageRecord():
                writer.add_image(figure.name, figure.pixels, figure.step, dataformats="HWC")
            case HistogramRecord():
                writer.add_histogram(figure.name, figure.values, figure.step)
            case PrCurveRecord():
                writer.add_pr_curve(figure.name, figure.targets, figure.probabilities, figure.step)
            case GraphRecord():
                # The tracer warns of all that it cannot see, and prints why it fails.
                with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
                    writer.add_graph(figure.model, figure.inputs)
            case HparamsRecord():
                writer.flush()  # TensorBoard reads the files of a run one after the other
                write_hparams(self._directory, figure.values, figure.metrics, figure.step)


class _EventFile:
    """Takes events in the place of TensorBoard's own writer, whose thread would end in a traceback on a full disk."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.path = path
        self._file = Appended(path)
        self._records = RecordWriter(self)
        self._warn: Callable[[str], None] | None = warn

    def get_logdir(self) -> str:
        return str(self.path.parent)

    def add_event(self, event: Event) -> None:
        self._records.write(event.SerializeToString())

    def write(self, record: bytes) -> None:
        """What `RecordWriter` makes of an event."""
        if (error := self._file.write(record)) and self._warn:
            self._warn(f"{self.path}: {os_error_text(error)}; the curves wait, metrics.jsonl has every number, too")
            self._warn = None

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self._file.close()


def write_hparams(directory: Path, values: Mapping[str, Any], metrics: Mapping[str, float], step: int = 0) -> None:
    """A row of TensorBoard's HPARAMS page, in an event file of its own beside the others, to be written last.

    Of its own, because TensorBoard believes the first hyperparameters of a run for ever: the file of a run that goes
    on is deleted. torch's `add_hparams` also writes which columns there are, and TensorBoard believes the first run;
    without that it shows those of all runs, the ones that differ first.

    Args:
        values: plain data, nested mappings included; what is null is left out.
    """
    from torch.utils.tensorboard import FileWriter
    from torch.utils.tensorboard.summary import hparams, scalar

    given = {key: value for key, value in leaves(values).items() if value not in (None, {})}
    flat = {key: value if type(value) in (int, float, str) else json.dumps(value) for key, value in given.items()}
    _columns, begins, ends = hparams(flat, {})
    with closing(FileWriter(str(directory), filename_suffix=HPARAMS)) as writer:
        for summary in (begins, ends, *(scalar(f"final/{name}", value) for name, value in metrics.items())):
            writer.add_summary(summary, step)


@register("sink")
class TensorBoardConfig(SinkConfig):
    """Event files in `tb`: curves, and the figures that are switched on. There unless `tensorboard` is false."""

    name: Literal["tensorboard"] = "tensorboard"

    def open(self, context: SinkContext) -> TensorBoardSink:
        return TensorBoardSink(context.directory / "tb", context.resumed_at, warn=context.warn)

"""Curves for TensorBoard."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter, SummaryWriter
from torch.utils.tensorboard.summary import hparams

from trainkit.core.records import EpochRecord, EvalRecord, Record, StartRecord, TrainRecord
from trainkit.runs.sinks.append_file import Appended

HPARAMS = ".hparams"
"""How the name of the event file ends that holds the hyper-parameters."""


class TensorBoardSink:
    """Scalars against the step, the config as text. `writer` takes whatever else there is to show."""

    def __init__(
        self, directory: Path, purge_step: int | None = None, *, warn: Callable[[str], None] = warnings.warn
    ) -> None:
        """Write a new event file; on resume, TensorBoard forgets what older ones say from `purge_step` on."""
        if purge_step is not None:
            for stale in directory.glob(f"*{HPARAMS}"):  # of an end that is none any more
                stale.unlink()
        self.writer = SummaryWriter(str(directory), purge_step=purge_step)
        events: FileWriter = self.writer._get_file_writer()
        events.event_writer.close()
        events.event_writer = _EventFile(Path(events.event_writer._file_name), warn)

    def write(self, record: Record) -> None:
        match record:
            case StartRecord():
                self.writer.add_text("config", f"```yaml\n{record.config}```")
                facts = "\n".join(f"| {name} | {text} |" for name, text in record.facts.items())
                self.writer.add_text("run", f"| | |\n|-|-|\n{facts}")
            case TrainRecord():
                for name in ("loss", "grad_norm", "samples_per_s"):
                    self.writer.add_scalar(f"train/{name}", getattr(record, name), record.step)
                self.writer.add_scalar("lr", record.lr, record.step)
            case EpochRecord():
                self.writer.add_scalar("train/epoch_loss", record.loss, record.step)
                self.writer.add_scalar("train/waiting", record.waiting, record.step)
            case EvalRecord():
                for name, value in record.metrics.items():
                    self.writer.add_scalar(f"{record.split}/{name}", value, record.step)
                self.writer.flush()
            case _:
                pass

    def close(self) -> None:
        self.writer.close()


class _EventFile:
    """Takes events in the place of TensorBoard's own writer, whose thread would end in a traceback on a full disk."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
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
            reason = (error.strerror or str(error)).lower()
            self._warn(f"{self.path}: {reason}; the curves wait, metrics.jsonl has every number, too")
            self._warn = None

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self._file.close()


def write_hparams(directory: Path, values: Mapping[str, Any], metrics: Mapping[str, float], step: int = 0) -> None:
    """A row of TensorBoard's HPARAMS page, in an event file of its own beside the others, to be written last.

    Of its own, because TensorBoard believes the first hyper-parameters of a run for ever: the file of a run that goes
    on is deleted. torch's `add_hparams` also writes which columns there are, and TensorBoard believes the first run;
    without that it shows those of all runs, the ones that differ first.

    Args:
        values: plain data, nested mappings included; what is null is left out.
    """
    flat = {key: value if type(value) in (int, float, str) else json.dumps(value) for key, value in _leaves(values)}
    _columns, begins, ends = hparams(flat, {})
    with SummaryWriter(str(directory), filename_suffix=HPARAMS) as writer:
        for summary in (begins, ends):
            writer._get_file_writer().add_summary(summary, step)
        for name, value in metrics.items():
            writer.add_scalar(f"final/{name}", value, step)


def _leaves(plain: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in plain.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        elif value is not None:
            yield above + name, value

"""Curves for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from trainkit.records import EpochRecord, EvalRecord, Record, StartRecord, TrainRecord

HPARAMS = ".hparams"
"""How the name of the event file ends that holds the hyper-parameters."""


class TensorBoardSink:
    """Scalars against the step, the config as text. `writer` takes whatever else there is to show."""

    def __init__(self, directory: Path, purge_step: int | None = None) -> None:
        """Write a new event file; on resume, TensorBoard forgets what older ones say from `purge_step` on."""
        if purge_step is not None:
            for stale in directory.glob(f"*{HPARAMS}"):  # of an end that is none any more
                stale.unlink()
        self.writer = SummaryWriter(str(directory), purge_step=purge_step)

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

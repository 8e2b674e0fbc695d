"""Curves for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from trainkit.records import EpochRecord, EvalRecord, Record, StartRecord, TrainRecord


class TensorBoardSink:
    """Scalars against the step, the config as text."""

    def __init__(self, directory: Path, purge_step: int | None = None) -> None:
        """Write a new event file; on resume, TensorBoard forgets what older ones say from `purge_step` on."""
        self._writer = SummaryWriter(str(directory), purge_step=purge_step)

    def write(self, record: Record) -> None:
        match record:
            case StartRecord():
                self._writer.add_text("config", f"```yaml\n{record.config}```")
                facts = "\n".join(f"| {name} | {text} |" for name, text in record.facts.items())
                self._writer.add_text("run", f"| | |\n|-|-|\n{facts}")
            case TrainRecord():
                for name in ("loss", "grad_norm", "samples_per_s"):
                    self._writer.add_scalar(f"train/{name}", getattr(record, name), record.step)
                self._writer.add_scalar("lr", record.lr, record.step)
            case EpochRecord():
                self._writer.add_scalar("train/epoch_loss", record.loss, record.step)
            case EvalRecord():
                for name, value in record.metrics.items():
                    self._writer.add_scalar(f"{record.split}/{name}", value, record.step)
                self._writer.flush()
            case _:
                pass

    def close(self) -> None:
        self._writer.close()

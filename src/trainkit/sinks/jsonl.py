"""Every number of a run, one JSON object a line: `metrics.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from trainkit.config.registry import register
from trainkit.core.records import EpochRecord, EvalRecord, Record, TrainRecord
from trainkit.core.text import plain_json
from trainkit.sinks.append_file import Appended
from trainkit.sinks.base import SinkConfig, SinkContext


class JsonlSink:
    """Writes the records of training and evaluation, and nothing that depends on how often a run was saved or resumed.

    What depends on the clock stands under `wall`, so that two runs can be compared without it.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        """Append to the file, after cutting it to its first `keep` bytes (what a checkpoint knows of)."""
        self._file = Appended(path, keep)

    def write(self, record: Record) -> None:
        line: dict[str, Any]
        match record:
            case TrainRecord():
                line = {
                    "kind": "train",
                    "step": record.step,
                    "epoch": record.epoch,
                    "loss": record.loss,
                    "lr": record.lr,
                    "grad_norm": record.grad_norm,
                    "wall": {"samples_per_s": round(record.samples_per_s, 1)},
                }
            case EpochRecord():
                wall = {
                    "samples_per_s": round(record.samples_per_s, 1),
                    "elapsed_s": round(record.elapsed_s, 3),
                    "waiting": round(record.waiting, 3),
                }
                line = {
                    "kind": "epoch",
                    "step": record.step,
                    "epoch": record.epoch,
                    "loss": record.loss,
                    "wall": wall,
                }
            case EvalRecord():
                line = {
                    "kind": "eval",
                    "split": record.split,
                    "step": record.step,
                    "epoch": record.epoch,
                    **record.metrics,
                    "best": record.best,
                    "wall": {"elapsed_s": round(record.elapsed_s, 3)},
                }
            case _:
                return
        # A full disk may have room again by the next save, which insists.
        self._file.write(json.dumps(plain_json(line)).encode() + b"\n")

    def sync(self) -> int:
        """Make everything written so far survive a power failure; gives the file's length in bytes."""
        return self._file.sync()

    def close(self) -> None:
        self._file.close()


@register("sink")
class JsonlConfig(SinkConfig):
    """Every number, one JSON object a line: `metrics.jsonl`. Every run has it, and goes on from it when resumed."""

    name: Literal["jsonl"] = "jsonl"
    takes_figures: ClassVar[bool] = False

    def open(self, context: SinkContext) -> JsonlSink:
        return JsonlSink(context.directory / "metrics.jsonl", keep=context.log_bytes)

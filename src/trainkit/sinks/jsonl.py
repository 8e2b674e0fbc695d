"""Every number of a run, one JSON object a line: `metrics.jsonl`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Literal

from trainkit.config.registry import register
from trainkit.core.records import EpochRecord, EvalRecord, Record, TrainRecord
from trainkit.core.text import plain_json
from trainkit.sinks.append_file import Appended
from trainkit.sinks.base import SinkConfig, SinkContext

KINDS: dict[type, str] = {TrainRecord: "train", EpochRecord: "epoch", EvalRecord: "eval"}
WALL = {"samples_per_s": 1, "elapsed_s": 3, "waiting": 3}
"""What depends on the clock, with the decimals that are kept."""


class JsonlSink:
    """Writes the records of training and evaluation, and nothing that depends on how often a run was saved or resumed.

    What depends on the clock stands under `wall`, so that two runs can be compared without it.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        """Append to the file, after cutting it to its first `keep` bytes (what a checkpoint knows of)."""
        self._file = Appended(path, keep)

    def write(self, record: Record) -> None:
        if (kind := KINDS.get(type(record))) is None:
            return
        line = asdict(record)
        wall = {name: round(line.pop(name), digits) for name, digits in WALL.items() if name in line}
        if isinstance(record, EvalRecord):
            place = {"split": record.split, "step": record.step, "epoch": record.epoch}
            line = {**place, **record.metrics, "best": record.best}
        if isinstance(record, EpochRecord) and record.accuracy is None:
            del line["accuracy"]
        line |= {f"loss_{name}": value for name, value in line.pop("parts", {}).items()}
        # A full disk may have room again by the next save, which insists.
        self._file.write(json.dumps(plain_json({"kind": kind, **line, "wall": wall})).encode() + b"\n")

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

"""The numbers of a run, read back from its `metrics.jsonl`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainkit.core.errors import StorageError, os_error_text
from trainkit.core.records import NOT_METRICS, EpochRecord, EvalRecord, TrainRecord


@dataclass(frozen=True, slots=True)
class History:
    """Every record of a run, in its order."""

    steps: tuple[TrainRecord, ...]
    epochs: tuple[EpochRecord, ...]
    evals: tuple[EvalRecord, ...]

    def of(self, split: str) -> tuple[EvalRecord, ...]:
        """The evaluations on one split."""
        return tuple(record for record in self.evals if record.split == split)


def read(path: Path) -> History:
    """Read the file that `JsonlSink` writes. What a kill has cut off at its end is left out.

    Raises:
        StorageError: it cannot be read.
    """
    found = records(path)
    return History(
        steps=tuple(record for record in found if isinstance(record, TrainRecord)),
        epochs=tuple(record for record in found if isinstance(record, EpochRecord)),
        evals=tuple(record for record in found if isinstance(record, EvalRecord)),
    )


def records(path: Path) -> list[TrainRecord | EpochRecord | EvalRecord]:
    """The same as one list, in the order of the file. Raises as `read`."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StorageError(f"{path}: {os_error_text(error)}") from None
    found = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            found.append(_record(json.loads(line)))
    return found


def _record(line: Mapping[str, Any]) -> TrainRecord | EpochRecord | EvalRecord:
    # JSON has no NaN: what was none of its numbers is null in the file.
    line = {key: math.nan if value is None else value for key, value in line.items()}
    wall, step = line["wall"], int(line["step"])
    if line["kind"] == "train":
        epoch, loss, lr, grad_norm = (float(line[key]) for key in ("epoch", "loss", "lr", "grad_norm"))
        parts = {key.removeprefix("loss_"): float(line[key]) for key in line if key.startswith("loss_")}
        return TrainRecord(step, epoch, loss, lr, grad_norm, float(wall["samples_per_s"]), parts)
    if line["kind"] == "epoch":
        samples_per_s, elapsed_s, waiting = (float(wall[key]) for key in ("samples_per_s", "elapsed_s", "waiting"))
        epoch, loss, accuracy = int(line["epoch"]), float(line["loss"]), line.get("accuracy")
        return EpochRecord(step, epoch, loss, samples_per_s, elapsed_s, waiting, accuracy)
    metrics = {key: float(value) for key, value in line.items() if key not in NOT_METRICS}
    return EvalRecord(step, float(line["epoch"]), line["split"], metrics, bool(line["best"]), float(wall["elapsed_s"]))

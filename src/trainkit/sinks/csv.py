"""The losses and metrics of a run as a table for spreadsheets and pandas: `metrics.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from trainkit.config.registry import register
from trainkit.core.records import EpochRecord, EvalRecord, Record
from trainkit.core.text import plain_json
from trainkit.sinks.base import SinkConfig, SinkContext


class CsvSink:
    """A row for every epoch and every evaluation, with nothing in it that depends on the clock.

    A cell is empty where there is no such metric, and where it is no finite number.
    """

    def __init__(self, path: Path, earlier: Iterable[Record] = ()) -> None:
        """Write the file anew, beginning with what the run has recorded earlier."""
        self._columns: dict[str, None] = dict.fromkeys(("step", "epoch", "split", "loss"))
        self._rows = [row for record in earlier if (row := _row(record))]
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._begin()

    def write(self, record: Record) -> None:
        if not (row := _row(record)):
            return
        self._rows.append(row)
        if row.keys() <= self._columns.keys():
            self._writer.writerow(row)
            self._file.flush()
        else:
            self._begin()

    def close(self) -> None:
        self._file.close()

    def _begin(self) -> None:
        """Write everything: the header knows a metric only when its first value is there."""
        self._columns |= {column: None for row in self._rows for column in row}
        self._file.seek(0)
        self._file.truncate()
        self._writer = csv.DictWriter(self._file, list(self._columns), lineterminator="\n")
        self._writer.writeheader()
        self._writer.writerows(self._rows)
        self._file.flush()


def _row(record: Record) -> dict[str, Any] | None:
    match record:
        case EpochRecord():
            row: dict[str, Any] = {
                "step": record.step,
                "epoch": float(record.epoch),
                "split": "train",
                "loss": record.loss,
                **({} if record.accuracy is None else {"accuracy": record.accuracy}),
            }
        case EvalRecord():
            row = {"step": record.step, "epoch": record.epoch, "split": record.split, **record.metrics}
        case _:
            return None
    found: dict[str, Any] = plain_json(row)  # as in metrics.jsonl, from which a resumed table begins
    return found


@register("sink")
class CsvConfig(SinkConfig):
    """A row for every epoch and every evaluation: `metrics.csv`."""

    name: Literal["csv"] = "csv"
    takes_figures: ClassVar[bool] = False

    def open(self, context: SinkContext) -> CsvSink:
        return CsvSink(context.directory / "metrics.csv", context.earlier())

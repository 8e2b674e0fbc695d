"""Several runs side by side: what a page shows of them, from their text files alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainkit.core.text import format_duration, format_metric, leaves, printable
from trainkit.plots.charts import wide
from trainkit.plots.figures import Series
from trainkit.plots.svg import Chart, chart
from trainkit.reports.comparing import leaves_of, not_comparable, outcome, unequal
from trainkit.reports.page_data import attempt
from trainkit.runs import history, reader, run_directory
from trainkit.runs.history import History
from trainkit.runs.reader import Plain, Run
from trainkit.tasks import Table


def comparison(paths: Sequence[Path], missing: list[str]) -> dict[str, Any]:
    """What the page shows; `missing` is told what could not be read.

    Raises:
        CheckpointError: there is no run at one of the paths, or it is damaged.
    """
    runs = {path: reader.only_run(path) for path in paths}
    names = [f"{run.metadata.get('name', '')} {path.resolve().name}".strip() for path, run in runs.items()]
    if len(set(names)) < len(names):
        names = list(map(str, runs))
    sections = {
        "Config": [_config(path, missing) for path in runs],
        "Data": [leaves_of(run.metadata, "data") for run in runs.values()],
        "Environment": [leaves_of(run.metadata, "environment") for run in runs.values()],
    }
    return {
        "kind": "comparison",
        "title": f"{len(runs)} runs",
        "results": _results(dict(zip(names, runs.values(), strict=True))),
        "unlike": not_comparable(list(runs.values())),
        "charts": _curves(dict(zip(names, (_history(path, missing) for path in runs), strict=True))),
        "differences": [
            Table(f"{title}: what differs", ("", *names), unequal(several)) for title, several in sections.items()
        ],
    }


def _config(path: Path, missing: list[str]) -> Plain:
    return attempt(lambda: leaves(reader.config_of(path)), f"config of {path}", missing) or {}


def _history(path: Path, missing: list[str]) -> History:
    file = run_directory.RunDir(path).metrics
    return attempt(lambda: history.read(file), f"curves of {path}", missing) or History((), (), ())


def _results(runs: Mapping[str, Run]) -> Table:
    metrics = dict.fromkeys(name for run in runs.values() for name in run.metrics)
    rows = []
    for name, run in runs.items():
        values = [
            format_metric(metric, run.metrics[metric]).removeprefix(f"{metric} ") if metric in run.metrics else "-"
            for metric in metrics
        ]
        rows.append([name, *values, "-" if run.seconds is None else format_duration(run.seconds), outcome(run)])
    return Table("Results", ("run", *metrics, "time", "status"), rows)


def _curves(pasts: Mapping[str, History]) -> list[Chart]:
    """The loss in training and each metric on the val split, with a line for every run, in the same order."""
    vals = {name: past.of("val") for name, past in pasts.items()}
    drawn = {
        "train/loss": [
            Series(name, [record.epoch for record in past.steps], [record.loss for record in past.steps], "faint")
            for name, past in pasts.items()
        ]
    }
    for metric in dict.fromkeys(metric for records in vals.values() for record in records for metric in record.metrics):
        drawn[f"val/{metric}"] = [
            Series(
                name,
                [record.epoch for record in records if metric in record.metrics],
                [record.metrics[metric] for record in records if metric in record.metrics],
                "dotted line",
            )
            for name, records in vals.items()
        ]
    finite = {title: [y for one in series for y in one.y if math.isfinite(y)] for title, series in drawn.items()}
    return [
        chart(printable(title), series, xlabel="epoch", metric=title, log=(False, wide(finite[title])), values=True)
        for title, series in drawn.items()
        if finite[title]
    ]

"""The curves of a run as charts, and in words where there is nothing to draw."""

from __future__ import annotations

import math

from trainkit.core.text import format_metric, printable
from trainkit.plots.charts import wide
from trainkit.plots.figures import Series
from trainkit.plots.svg import Chart, chart
from trainkit.runs.history import History


def curves_of(past: History) -> tuple[list[Chart], list[str]]:
    """Everything in `metrics.jsonl` over the epochs: what changes as charts, what does not as lines of text."""
    steps, vals = past.steps, past.of("val")
    x, val_x = [record.epoch for record in steps], [record.epoch for record in vals]
    names = list(dict.fromkeys(name for record in vals for name in record.metrics))
    metrics = {name: [record.metrics.get(name, math.nan) for record in vals] for name in names}
    losses = [Series("train", x, [record.loss for record in steps], "faint")]
    losses += [Series("val", val_x, metrics.pop("loss"), "dotted line")] if "loss" in metrics else []
    drawn = {"Loss": losses}
    drawn |= {f"val/{name}": [Series(name, val_x, values, "dotted line")] for name, values in metrics.items()}
    drawn["Learning rate"] = [Series("lr", x, [record.lr for record in steps])]
    drawn["Gradient norm, before clipping"] = [Series("norm", x, [record.grad_norm for record in steps], "faint")]
    charts, constant = [], []
    for title, series in drawn.items():
        values = [value for one in series for value in one.y if math.isfinite(value)]
        metric = title if title.startswith("val/") else ""
        if len(set(values)) == 1:
            times = "throughout" if len(values) > 1 else "the only one"
            constant.append(
                printable(f"{title}: {format_metric(metric, values[0]).removeprefix(metric).strip()}, {times}")
            )
        elif values:
            log = title != "Learning rate" and wide(values)  # a schedule is known by its shape
            charts.append(chart(printable(title), series, xlabel="epoch", metric=metric, log=(False, log), values=True))
    return charts, constant

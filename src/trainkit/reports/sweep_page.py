"""A sweep for its page: which point won and by how much, which axis mattered, what failed."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainkit.config import merging, shell
from trainkit.core.errors import CheckpointError
from trainkit.core.text import counted, is_share, leaves, printable
from trainkit.experiment.grid import label, points_of
from trainkit.plots.charts import against, wide
from trainkit.plots.svg import Chart, chart
from trainkit.reports import comparing
from trainkit.reports.comparing import show
from trainkit.runs import reader, results
from trainkit.runs.reader import Run, Sweep
from trainkit.tasks import Table
from trainkit.training.yardstick import without_name

Points = Mapping[Path, Mapping[str, Any]]
"""The values of the axes, by trial."""
LOST = ("failed", "diverged", "killed")


@dataclass(frozen=True, slots=True)
class Point:
    """Trials that differ in nothing but the seed."""

    name: str
    """Their values on the other axes."""
    best: Run
    by_seed: Mapping[str, float]
    """The metric, by seeds; by "" where all have the same."""

    @property
    def mean(self) -> float:
        return statistics.fmean(self.by_seed.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None for a single one."""
        return statistics.stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None


def sweep_page(path: Path) -> dict[str, Any]:
    """What the page shows.

    Raises:
        CheckpointError: the sweep is damaged.
    """
    sweep = reader.read_sweep(path)
    if sweep.status == "damaged":
        raise CheckpointError(f"{path}: damaged: {sweep.reason}")
    base = merging.read(path / "sweep.yaml").plain()
    axes = base.pop("sweep")["axes"]
    values = dict(zip((trial.path for trial in sweep.trials), points_of(axes), strict=False))
    ranked = sweep.ranked
    rest = [trial for trial in sweep.trials if trial not in ranked]
    names = [name for name in dict.fromkeys(name for trial in ranked for name in trial.metrics) if "test/" not in name]
    points = _points(sweep, ranked, values)
    environment = next((comparing.leaves_of(trial.metadata, "environment") for trial in sweep.trials), {})
    return {
        "kind": "sweep",
        "title": f"{sweep.name} {path.resolve().name}",
        "sweep": sweep,
        "outcome": comparing.outcome(sweep),
        "yardstick": results.stored(ranked[0].metadata).get(sweep.monitor) if ranked else None,
        "began": moment(sweep.began),
        "axes": {key: [show(value) for value in of_axis] for key, of_axis in axes.items()},
        "metrics": names,
        "unlike": sweep.unlike,
        "points": points,
        "verdict": verdict(sweep.monitor, sweep.mode, points),
        "again": shell.command("trainkit", "train", points[0].best.path / "config.yaml") if points else "",
        "mattered": mattered(sweep, ranked, values, axes) if ranked else None,
        "ranked": [(trial, list(map(show, values[trial.path].values()))) for trial in ranked],
        "rest": [(trial, list(map(show, values[trial.path].values()))) for trial in rest],
        "lost": list(lost(rest, values)),
        "charts": [_against(key, sweep, ranked, rest, values) for key in axes] if ranked else [],
        "base": {key: show(value) for key, value in leaves(base).items() if not _varied(key, axes)},
        "environment": {key: show(value) for key, value in environment.items() if key != "command"},
    }


def moment(when: datetime | None) -> str:
    """Such as `2026-01-02 03:04 UTC`."""
    return "" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _varied(key: str, axes: Collection[str]) -> bool:
    return any(key == axis or key.startswith(f"{axis}.") or axis.startswith(f"{key}.") for axis in axes)


def _points(sweep: Sweep, ranked: Sequence[Run], values: Points) -> list[Point]:
    """The best mean first."""
    groups: dict[str, list[Run]] = {}
    for trial in ranked:
        others = {key: value for key, value in values[trial.path].items() if key != "seed"}
        groups.setdefault(label(others) or "all", []).append(trial)
    found = [
        Point(
            name,
            several[0],
            {show(values[trial.path].get("seed", "")): trial.metrics[sweep.monitor] for trial in several},
        )
        for name, several in groups.items()
    ]
    sign = 1 if sweep.mode == "min" else -1
    return sorted(found, key=lambda point: sign * point.mean)


def verdict(metric: str, mode: str, points: Sequence[Point]) -> list[str]:
    """By how much the best point is ahead of the next one, and how much of that the seeds alone could make."""
    if len(points) < 2:
        return []
    first, second = points[:2]
    sign = 1 if mode == "max" else -1
    leads = [sign * (value - second.by_seed[seed]) for seed, value in first.by_seed.items() if seed in second.by_seed]
    ahead = f"Ahead of the next, {second.name}, by {_by(metric, statistics.fmean(leads or [first.mean - second.mean]))}"
    if len(leads) < 2:
        return [f"{ahead}, with one seed each. How much of that is chance, an axis seed=0,1,2 would tell."]
    deviation = statistics.stdev(leads)
    judged = "less than the lead" if deviation < statistics.fmean(leads) else "more than the lead: it may be chance"
    return [
        f"{ahead} on average, and better with {sum(lead > 0 for lead in leads)} of {len(leads)} seeds.",
        f"Its standard deviation over the seeds is {_by(metric, deviation)}, {judged}.",
    ]


def _by(metric: str, difference: float) -> str:
    return f"{100 * abs(difference):.2f} percentage points" if is_share(metric) else f"{abs(difference):.4g}"


def mattered(sweep: Sweep, ranked: Sequence[Run], values: Points, axes: Mapping[str, Sequence[Any]]) -> Table:
    """For each axis how far the mean moves from its best to its worst value; the axis that moves it most first."""
    found: list[tuple[float, list[str]]] = []
    for key in axes:
        several: dict[str, list[float]] = {}
        for trial in ranked:
            several.setdefault(show(values[trial.path][key]), []).append(trial.metrics[sweep.monitor])
        means = sorted(
            ((statistics.fmean(some), value) for value, some in several.items()), reverse=sweep.mode == "max"
        )
        gap = abs(means[0][0] - means[-1][0])
        words = ", ".join(f"{value}: {without_name(sweep.monitor, mean)}" for mean, value in means)
        found.append((gap, [key, _by(sweep.monitor, gap) if means[1:] else "-", words]))
    rows = [row for _, row in sorted(found, key=lambda one: -one[0])]
    return Table("", ("axis", "best to worst", f"mean {sweep.monitor} at each value"), rows)


def lost(rest: Sequence[Run], values: Points) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """For each way to end badly how many trials it took and what they have in common; then name and reason of each."""
    for status in LOST:
        trials = [trial for trial in rest if trial.status == status]
        if not trials:
            continue
        here = [values[trial.path] for trial in trials]
        shared = {key: here[0][key] for key in here[0] if all(point[key] == here[0][key] for point in here)}
        shared = {key: value for key, value in shared.items() if any(each[key] != value for each in values.values())}
        words = f"{counted(len(trials), 'trial')} {status}"
        if len(trials) > 1 and shared:
            words += f", all of them with {label(shared)}"
        yield (
            words,
            [
                (f"{trial.path.name} {status} {label(dict(point))}", trial.reason.removeprefix(f"{trial.path}: "))
                for trial, point in zip(trials, here, strict=True)
            ],
        )


def _against(key: str, sweep: Sweep, ranked: Sequence[Run], rest: Sequence[Run], values: Points) -> Chart:
    """The metric that ranks the trials against the values of one axis."""
    words = list(dict.fromkeys(show(point[key]) for point in values.values()))
    numeric = key != "seed" and all(type(point[key]) in (int, float) for point in values.values())

    def place(trial: Run) -> float:
        value = values[trial.path][key]
        return float(value) if numeric else float(words.index(show(value)))

    points_of_trials = [(place(trial), trial.metrics[sweep.monitor]) for trial in ranked]
    series = against(points_of_trials, [place(trial) for trial in rest if trial.status in LOST], means=numeric)
    log = numeric and wide([float(point[key]) for point in values.values()])
    return chart(
        printable(f"{sweep.monitor} against {key}"), series, xlabel=printable(key), ylabel=printable(sweep.monitor),
        metric=sweep.monitor, log=(log, False), ticks=() if numeric else [printable(word)[:16] for word in words],
        values=True,
    )  # fmt: skip

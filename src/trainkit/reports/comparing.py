"""In what runs differ: a table of them, or two side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainkit.core.errors import ConfigError
from trainkit.core.text import aligned, format_duration, format_metric, leaves, printable
from trainkit.experiment.ranking import unlike
from trainkit.runs.reader import Plain, Run, Sweep, config_of, only_run

NOT_COMPARED = ("name", "log", "sweep")
"""Sections that change no result."""
MOST_KEYS = 6
"""Differences shown of one run in a table."""
LONGEST = 60
"""Letters of a reason in a table."""


def differing(configs: Sequence[Mapping[str, Any]]) -> list[Plain]:
    """For each config the keys with values that are not the same in all configs of that name; `optimizer` is short for
    its name.

    That another component has other options goes without saying, and so does that another experiment is another one.
    """
    flat = [leaves({key: config[key] for key in config if key not in NOT_COMPARED}) for config in configs]
    by_name: dict[str, list[Plain]] = {}
    for config, one in zip(configs, flat, strict=True):
        by_name.setdefault(str(config.get("name")), []).append(one)
    keys = {name: _unequal(several) for name, several in by_name.items()}
    return [
        {key.removesuffix(".name"): one[key] for key in one if key in keys[str(config.get("name"))]}
        for config, one in zip(configs, flat, strict=True)
    ]


def _unequal(flat: Sequence[Plain]) -> set[str]:
    values: dict[str, set[str]] = {}
    for one in flat:
        for key, value in one.items():
            values.setdefault(key, set()).add(json.dumps(value))
    differ = {key for key, several in values.items() if len(several) > 1}
    # A section in one, and in another null or a word in its place.
    above = {key for key in values if any(other.startswith(f"{key}.") for other in values)}
    return differ | above | {key for key in values if key.startswith(tuple(f"{one}." for one in above))}


def differences(found: Sequence[Run | Sweep]) -> list[Plain]:
    """For each of several runs what its config has that others have not; nothing for sweeps."""
    configs: list[Plain] = []
    for one in found:
        config: Plain = {}
        if isinstance(one, Run):
            with suppress(ConfigError):
                config = config_of(one.path)
        configs.append(config)
    return differing(configs)


def to_plain(found: Sequence[Run | Sweep]) -> list[Plain]:
    """For JSON."""
    return [one.to_plain() | {"differs": each} for one, each in zip(found, differences(found), strict=True)]


def table(found: Sequence[Run | Sweep], *, tested: bool = True) -> list[str]:
    """One line for each.

    Args:
        tested: show test metrics, by which nobody should choose.
    """
    rows = [["run", "status", "val", *["test"] * tested, "time", "began", "differs in"]]
    for one, differs in zip(found, differences(found), strict=True):
        if isinstance(one, Sweep):
            best = one.ranked[0].metrics[one.monitor] if one.ranked else None
            metrics = {} if best is None else {one.monitor: best}
            seconds: float | None = sum(trial.seconds or 0 for trial in one.trials)
            last = f"{len(one.trials)} trials of {', '.join(one.axes)}" if one.trials else ""
        else:
            metrics, seconds, last = dict(one.metrics), one.seconds, _short(differs)
        val, test = chosen(metrics)
        if isinstance(one, Sweep) and one.unlike:
            val = "not comparable"
        time = "" if seconds is None else format_duration(seconds)
        began = f"{one.began.astimezone():%Y-%m-%d %H:%M}" if one.began else ""
        rows.append([str(one.path), outcome(one), val, *[test] * tested, time, began, last])
    return [*_columns(rows), *not_comparable(found)]


def not_comparable(found: Sequence[Run | Sweep]) -> list[str]:
    """For every name whose runs differ in more than what may be compared, a line that says so."""
    by_name: dict[str, list[Run]] = {}
    for one in found:
        if isinstance(one, Run) and one.status == "finished":
            by_name.setdefault(str(one.metadata.get("name")), []).append(one)
    reasons = {name: unlike(run.judged_by for run in several) for name, several in by_name.items()}
    return [
        printable(f"{name}: val cannot be compared between runs that differ in {', '.join(keys)}")
        for name, keys in reasons.items()
        if keys
    ]


def outcome(one: Run | Sweep) -> str:
    """`finished`, `failed (reason)`, …; of a sweep also how its trials have ended."""
    if isinstance(one, Sweep) and one.trials:
        counts = Counter(trial.status for trial in one.trials)
        trials = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        return "sweep, finished" if counts.keys() == {"finished"} else f"sweep, {one.status}: {trials}"
    reason = one.reason.partition("\n")[0]
    reason = reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}…"
    return f"{one.status} ({reason})" if reason and one.status in ("failed", "damaged") else one.status


def chosen(metrics: Mapping[str, float]) -> tuple[str, str]:
    """The monitored metric on the val split, and the same on the test split, in words."""
    val = next((name for name in metrics if name.startswith("val/")), "")
    tests = [name for name in metrics if name.startswith("test/")]
    others = [name for name in tests if name != "test/loss"] + tests
    same = f"test/{val.removeprefix('val/')}"
    return _words(val, metrics), _words(same if same in tests else next(iter(others), ""), metrics)


def _words(name: str, metrics: Mapping[str, float]) -> str:
    return format_metric(name.partition("/")[2], metrics[name]) if name else ""


def _short(differs: Plain) -> str:
    words = [f"{key}={show(value)}" for key, value in differs.items()]
    more = f" and {len(words) - MOST_KEYS} more" if len(words) > MOST_KEYS else ""
    return " ".join(words[:MOST_KEYS]) + more


def show(value: object) -> str:
    """A value of a config as on the command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    return aligned([[printable(cell) for cell in row] for row in rows])


Pairs = dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Missing:
    """What stands for the value of a key that one of two runs does not have."""

    def __str__(self) -> str:
        return "-"


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs side by side."""

    runs: tuple[Run, Run]
    config: Pairs
    """What differs, by dotted keys."""
    metrics: Pairs
    """All final metrics, also those that are equal."""
    environment: Pairs
    data: Pairs
    """Fingerprints of the splits."""

    def to_plain(self) -> Plain:
        """For JSON; a key that a run does not have is not there."""
        sections = {name: getattr(self, name) for name in ("config", "metrics", "environment", "data")}
        one, other = self.runs
        return {"a": one.to_plain(), "b": other.to_plain()} | {
            section: {
                key: {side: value for side, value in zip("ab", pair, strict=True) if value != Missing()}
                for key, pair in pairs.items()
            }
            for section, pairs in sections.items()
        }

    def lines(self) -> list[str]:
        """As text."""
        heads = [[side, str(run.path), outcome(run)] for side, run in zip("AB", self.runs, strict=True)]
        differ = any(one != other for one, other in self.metrics.values())
        return [
            *_columns(heads),
            *_section("config", self.config),
            *_section("final metrics", self.metrics if differ else {}),
            *_section("environment", self.environment),
            *_section("data", self.data),
        ]


def diff(a: Path, b: Path) -> Difference:
    """Compare two runs.

    Raises:
        CheckpointError: there is no run, or it is damaged.
        ConfigError: the config of one cannot be read.
    """
    runs = only_run(a), only_run(b)
    metadata = [run.metadata for run in runs]
    here, there = (
        leaves_of(one, "environment") | {"device": leaves_of(one, "facts").get("device")} for one in metadata
    )
    return Difference(
        runs,
        config=_differing(*(leaves(config_of(run.path)) for run in runs)),
        metrics=_pairs(*(run.metrics for run in runs)),
        environment={key: pair for key, pair in _differing(here, there).items() if key != "command"},
        data=_differing(*(leaves_of(one, "data") for one in metadata)),
    )


def leaves_of(metadata: Mapping[str, Any], section: str) -> Plain:
    """One section of a run's metadata by dotted keys; empty where there is none."""
    found = metadata.get(section)
    return leaves(found) if isinstance(found, dict) else {}


def unequal(several: Sequence[Plain]) -> list[list[str]]:
    """For each key whose values are not all the same: the key, then each one's value, `-` where it has none."""
    keys = dict.fromkeys(key for one in several for key in one)
    rows = [[key, *(_value(one.get(key, Missing())) for one in several)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> Pairs:
    return {key: (one.get(key, Missing()), other.get(key, Missing())) for key in {**one, **other}}


def _differing(one: Plain, other: Plain) -> Pairs:
    return {key: pair for key, pair in _pairs(one, other).items() if pair[0] != pair[1]}


def _section(title: str, pairs: Pairs) -> list[str]:
    if not pairs:
        return ["", f"{title}: no difference"]
    return ["", *_columns([[title, "A", "B"], *([f"  {key}", *_cells(key, *pair)] for key, pair in pairs.items())])]


def _cells(key: str, *pair: Any) -> tuple[str, ...]:
    """Metrics as they are shown everywhere, unless different ones would look the same."""
    cells = tuple(
        format_metric(key, value).removeprefix(f"{key} ") if "/" in key and isinstance(value, float) else _value(value)
        for value in pair
    )
    return tuple(map(_value, pair)) if cells[0] == cells[1] and pair[0] != pair[1] else cells


def _value(value: object) -> str:
    return str(value) if isinstance(value, Missing) else show(value)

"""The runs and sweeps below a directory, and what makes two runs differ: read from their text files, without torch."""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from trainkit import history, yamlfile
from trainkit.errors import CheckpointError, ConfigError, TrainkitError, did_you_mean_path, printable
from trainkit.records import format_duration, format_metric
from trainkit.rundir import RunDir

NOT_COMPARED = ("name", "log", "sweep")
"""Sections that change no result."""
MOST_KEYS = 6
"""Differences shown of one run in a table."""
LONGEST = 60
"""Letters of a reason in a table."""

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as its directory tells."""

    path: Path
    status: str
    """As in `run.json`; or killed, when that says running and nobody is at it; waiting, of a trial; damaged."""
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """The final ones, by names with their split; where there are none, the best on the val split so far."""
    seconds: float | None = None
    began: datetime | None = None
    story: Mapping[str, Any] = field(default_factory=dict)
    """What stands in `run.json`."""

    def to_plain(self) -> Plain:
        """For JSON."""
        return {
            "path": str(self.path),
            "kind": "run",
            "name": self.story.get("name"),
            "status": self.status,
            "reason": self.reason or None,
            "metrics": dict(self.metrics),
            "seconds": self.seconds,
            "began": self.story.get("started_at"),
        }


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep, as its directory tells."""

    path: Path
    status: str
    """finished, when all trials have ended; running, while somebody is at it; unfinished; damaged."""
    reason: str = ""
    name: str = ""
    monitor: str = ""
    """What ranks the trials, such as `val/accuracy`."""
    mode: Literal["min", "max"] = "max"
    trials: tuple[Run, ...] = ()
    axes: tuple[str, ...] = ()

    @property
    def ranked(self) -> list[Run]:
        """The trials that have ended with a number, the best first."""
        sign = 1 if self.mode == "min" else -1
        finished = [trial for trial in self.trials if trial.status == "finished"]
        finite = [trial for trial in finished if math.isfinite(trial.metrics.get(self.monitor, math.nan))]
        return sorted(finite, key=lambda trial: sign * trial.metrics[self.monitor])

    @property
    def began(self) -> datetime | None:
        return min((trial.began for trial in self.trials if trial.began), default=None)

    def to_plain(self) -> Plain:
        """For JSON."""
        best = next(iter(self.ranked), None)
        return {
            "path": str(self.path),
            "kind": "sweep",
            "name": self.name,
            "status": self.status,
            "reason": self.reason or None,
            "monitor": self.monitor,
            "trials": dict(Counter(trial.status for trial in self.trials)),
            "axes": list(self.axes),
            "best": str(best.path) if best else None,
            "metrics": {self.monitor: best.metrics[self.monitor]} if best else {},
            "seconds": sum(trial.seconds or 0 for trial in self.trials),
            "began": self.began.isoformat() if self.began else None,
        }


def find(directory: Path) -> list[Run | Sweep]:
    """What is below a directory, the oldest first; of a sweep's directory its trials.

    Raises:
        CheckpointError: there is no such directory.
    """
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such directory{did_you_mean_path(directory)}")
    if is_sweep(directory):
        return list(read_sweep(directory).trials)
    found: list[Run | Sweep] = []
    for place, inner, files in os.walk(directory):
        if "run.json" in files:
            found.append(read_run(Path(place)))
        elif is_sweep(Path(place)):
            found.append(read_sweep(Path(place)))
        else:
            continue
        inner.clear()
    return sorted(found, key=lambda one: (one.began.timestamp() if one.began else 0, one.path))


def is_sweep(path: Path) -> bool:
    return (path / "sweep.yaml").is_file()


def read_run(path: Path) -> Run:
    """Read a run; one whose `run.json` cannot be read is damaged."""
    try:
        story = json.loads((path / "run.json").read_text("utf-8"))
        began = _moment(story["started_at"])
        ended = _moment(story["ended_at"]) if story.get("ended_at") else None
        metrics = {name: math.nan if value is None else float(value) for name, value in _final(story).items()}
        status, reason = str(story["status"]), str(story.get("reason") or "")
    except OSError as error:
        return Run(path, "damaged", f"run.json: {(error.strerror or str(error)).lower()}")
    except Exception:  # there are many ways to be damaged
        return Run(path, "damaged", "run.json: not what a run writes")
    if status == "running" and not is_owned(path):
        status = "killed"
    seconds = None if ended is None or story.get("resumed_at") else (ended - began).total_seconds()
    if seconds is None or not metrics:
        with suppress(TrainkitError):
            told = history.read(RunDir(path).metrics)
            metrics = metrics or _best(path, told)
            # Without what lay between an interruption and the resumption.
            at_work = sum(epoch.elapsed_s for epoch in told.epochs) + sum(one.elapsed_s for one in told.evals)
            seconds = at_work if seconds is None else seconds
    return Run(path, status, reason, metrics, seconds, began, story)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _final(story: Plain) -> Plain:
    """The metrics that belong to the end of a run: a resumed one still has those of its last one."""
    return story.get("metrics") or {} if story["status"] == "finished" else {}


def _best(path: Path, told: history.History) -> dict[str, float]:
    best = next((record for record in reversed(told.of("val")) if record.best), None)
    if best is None:
        return {}
    first = next((name for name in best.metrics if name != "loss"), "loss")
    with suppress(ConfigError):
        first = str(leaves(config_of(path)).get("checkpoint.monitor") or first).removeprefix("val/")
    return {f"val/{first}": best.metrics[first]} if first in best.metrics else {}


def read_sweep(path: Path) -> Sweep:
    """Read a sweep; one whose `sweep.json` cannot be read is damaged."""
    owned = is_owned(path)
    try:
        plan = json.loads((path / "sweep.json").read_text("utf-8"))
        name, monitor, mode = (str(plan[key]) for key in ("name", "monitor", "mode"))
        configs = [Path(file) for file in plan["digests"] if Path(file).parent.name == "configs"]
        axes = tuple(yamlfile.read_file(path / "sweep.yaml").plain()["sweep"]["axes"])
    except Exception:  # there are many ways to be damaged
        return Sweep(path, "damaged", "sweep.json or sweep.yaml: not what a sweep writes")
    trials = tuple(_read_trial(path, config.stem, owned) for config in configs)
    over = all(trial.status in ("finished", "diverged", "failed") for trial in trials)
    status = "running" if owned else "finished" if over else "unfinished"
    return Sweep(path, status, "", name, monitor, "min" if mode == "min" else "max", trials, axes)


def _read_trial(sweep: Path, name: str, owned: bool) -> Run:
    """A trial; what has failed before it had a run directory has told why in its log alone."""
    path = sweep / "trials" / name
    if (path / "run.json").is_file():
        return read_run(path)
    said: list[str] = []
    with suppress(OSError):
        lines = (sweep / "logs" / f"{name}.log").read_text("utf-8", errors="replace").splitlines()
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return Run(path, "failed", said[-1]) if said and not owned else Run(path, "waiting")


def is_owned(path: Path) -> bool:
    """Whether a living process owns a run directory: asks for its lock without taking it.

    Not for the owner itself, which would lose its lock as soon as it closes the file a second time.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no lock to ask for
        return True
    try:
        with open(path / ".lock", "rb") as lock:
            # struct flock: type, whence, start, length and owner, which macOS has in another order.
            wanted = (fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            if sys.platform == "darwin":
                asked = struct.pack("qqihh", *wanted[2:], *wanted[:2])
                found = struct.unpack("qqihh", fcntl.fcntl(lock, fcntl.F_GETLK, asked))[3]
            else:
                found = struct.unpack("hhqqi4x", fcntl.fcntl(lock, fcntl.F_GETLK, struct.pack("hhqqi4x", *wanted)))[0]
    except OSError:
        return False
    return bool(found != fcntl.F_UNLCK)


def config_of(path: Path) -> Plain:
    """The resolved config of a run.

    Raises:
        ConfigError: it cannot be read.
    """
    config: Plain = yamlfile.read_file(RunDir(path).config).plain()
    return config


def leaves(plain: Mapping[str, Any], above: str = "") -> Plain:
    """What is no mapping, by dotted keys."""
    found: Plain = {}
    for name, value in plain.items():
        key = f"{above}{name}"
        found |= leaves(value, f"{key}.") if isinstance(value, dict) and value else {key: value}
    return found


def differing(configs: Sequence[Mapping[str, Any]]) -> list[Plain]:
    """For each config the keys with values that are not the same in all of them; `optimizer` is short for its name.

    That another component has other options goes without saying. What differs among experiments of the same name comes
    first.
    """
    flat = [leaves({key: config[key] for key in config if key not in NOT_COMPARED}) for config in configs]
    by_name: dict[str, list[Plain]] = {}
    for config, one in zip(configs, flat, strict=True):
        by_name.setdefault(str(config.get("name")), []).append(one)
    keys, within = _unequal(flat), set().union(*map(_unequal, by_name.values()))
    return [
        {key.removesuffix(".name"): one[key] for key in sorted(one, key=lambda key: key not in within) if key in keys}
        for one in flat
    ]


def _unequal(flat: Sequence[Plain]) -> set[str]:
    values: dict[str, set[str]] = {}
    for one in flat:
        for key, value in one.items():
            values.setdefault(key, set()).add(json.dumps(value))
    return {key for key, several in values.items() if len(several) > 1}


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
        time = "" if seconds is None else format_duration(seconds)
        began = f"{one.began.astimezone():%Y-%m-%d %H:%M}" if one.began else ""
        rows.append([str(one.path), outcome(one), val, *[test] * tested, time, began, last])
    return columns(rows)


def outcome(one: Run | Sweep) -> str:
    """`finished`, `failed (reason)`, …; of a sweep also how its trials have ended."""
    if isinstance(one, Sweep) and one.trials:
        counts = Counter(trial.status for trial in one.trials)
        told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
        return "sweep, finished" if counts.keys() == {"finished"} else f"sweep, {one.status}: {told}"
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


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells as lines of text below each other."""
    safe = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*safe, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in safe]


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
            *columns(heads),
            *_section("config", self.config),
            *_section("final metrics", self.metrics if differ else {}),
            *_section("environment", self.environment),
            *_section("data", self.data),
        ]


def diff(one: Path, other: Path) -> Difference:
    """Compare two runs.

    Raises:
        CheckpointError: there is no run, or it is damaged.
        ConfigError: the config of one cannot be read.
    """
    runs = only_run(one), only_run(other)
    here, there = (_told(run, "environment") for run in runs)
    return Difference(
        runs,
        config=_differing(*(leaves(config_of(run.path)) for run in runs)),
        metrics=_pairs(*(run.metrics for run in runs)),
        environment={key: pair for key, pair in _differing(here, there).items() if key != "command"},
        data=_differing(*(_told(run, "data") for run in runs)),
    )


def _told(run: Run, section: str) -> Plain:
    told = run.story.get(section)
    return leaves(told) if isinstance(told, dict) else {}


def only_run(path: Path) -> Run:
    """The run at a path.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if is_sweep(path):
        raise CheckpointError(f"{path}: is a sweep; name one of its trials, such as {path / 'trials' / '000'}")
    if not (path / "run.json").is_file():
        raise CheckpointError(f"{path}: no run here{did_you_mean_path(path)}")
    run = read_run(path)
    if run.status == "damaged":
        raise CheckpointError(f"{path}: damaged: {run.reason}")
    return run


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> Pairs:
    return {key: (one.get(key, Missing()), other.get(key, Missing())) for key in {**one, **other}}


def _differing(one: Plain, other: Plain) -> Pairs:
    return {key: pair for key, pair in _pairs(one, other).items() if pair[0] != pair[1]}


def _section(title: str, pairs: Pairs) -> list[str]:
    if not pairs:
        return ["", f"{title}: no difference"]
    return ["", *columns([[title, "A", "B"], *([f"  {key}", *_cells(key, *pair)] for key, pair in pairs.items())])]


def _cells(key: str, *pair: Any) -> tuple[str, ...]:
    """Metrics as they are shown everywhere, unless different ones would look the same."""
    cells = tuple(
        format_metric(key, value).removeprefix(f"{key} ") if "/" in key and isinstance(value, float) else _value(value)
        for value in pair
    )
    return tuple(map(_value, pair)) if cells[0] == cells[1] and pair[0] != pair[1] else cells


def _value(value: object) -> str:
    return str(value) if isinstance(value, Missing) else show(value)

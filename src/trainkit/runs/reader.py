"""The runs and sweeps below a directory, and what makes two runs differ: read from their text files, without torch."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from trainkit.config import yamlfile
from trainkit.core.errors import CheckpointError, ConfigError, TrainkitError, os_error_text
from trainkit.core.suggestions import did_you_mean_path
from trainkit.core.text import leaves
from trainkit.experiment import ranking
from trainkit.runs import history, run_directory
from trainkit.runs.run_directory import RunDir

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
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What stands in `run.json`."""

    @property
    def judged_by(self) -> Plain:
        """What its final metric may be compared by; empty where a run does not say."""
        found = self.metadata.get("judged_by")
        return found if isinstance(found, dict) else {}

    def to_plain(self) -> Plain:
        """For JSON."""
        return {
            "path": str(self.path),
            "kind": "run",
            "name": self.metadata.get("name"),
            "status": self.status,
            "reason": self.reason or None,
            "metrics": dict(self.metrics),
            "seconds": self.seconds,
            "began": self.metadata.get("started_at"),
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
        """The trials that have ended with a number, the best first; none where they cannot be compared."""
        return ranking.ranked(self.trials, self.monitor, self.mode)

    @property
    def unlike(self) -> list[str]:
        """The keys for which the trials cannot be compared."""
        return ranking.unlike(trial.judged_by for trial in ranking.comparable(self.trials, self.monitor))

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
            "unlike": self.unlike,
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
        metadata = json.loads((path / "run.json").read_text("utf-8"))
        began = _moment(metadata["started_at"])
        ended = _moment(metadata["ended_at"]) if metadata.get("ended_at") else None
        metrics = {name: math.nan if value is None else float(value) for name, value in _final(metadata).items()}
        status, reason = str(metadata["status"]), str(metadata.get("reason") or "")
    except OSError as error:
        return Run(path, "damaged", f"run.json: {os_error_text(error)}")
    except Exception:  # there are many ways to be damaged
        return Run(path, "damaged", "run.json: not what a run writes")
    if status == "running" and not run_directory.is_owned(path):
        status = "killed"
    seconds = None if ended is None or metadata.get("resumed_at") else (ended - began).total_seconds()
    if seconds is None or not metrics:
        with suppress(TrainkitError):
            recorded = history.read(RunDir(path).metrics)
            metrics = metrics or _best(path, recorded)
            # Without what lay between an interruption and the resumption.
            at_work = sum(epoch.elapsed_s for epoch in recorded.epochs) + sum(one.elapsed_s for one in recorded.evals)
            seconds = at_work if seconds is None else seconds
    return Run(path, status, reason, metrics, seconds, began, metadata)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _final(metadata: Plain) -> Plain:
    """The metrics that belong to the end of a run: a resumed one still has those of its last one."""
    return metadata.get("metrics") or {} if metadata["status"] == "finished" else {}


def _best(path: Path, recorded: history.History) -> dict[str, float]:
    best = next((record for record in reversed(recorded.of("val")) if record.best), None)
    if best is None:
        return {}
    first = next((name for name in best.metrics if name != "loss"), "loss")
    with suppress(ConfigError):
        first = str(leaves(config_of(path)).get("checkpoint.monitor") or first).removeprefix("val/")
    return {f"val/{first}": best.metrics[first]} if first in best.metrics else {}


def read_sweep(path: Path) -> Sweep:
    """Read a sweep; one whose `sweep.json` cannot be read is damaged."""
    owned = run_directory.is_owned(path)
    try:
        plan = json.loads((path / "sweep.json").read_text("utf-8"))
        name, monitor, mode = (str(plan[key]) for key in ("name", "monitor", "mode"))
        configs = [Path(file) for file in plan["digests"] if Path(file).parent.name == "configs"]
        axes = tuple(yamlfile.read_file(path / "sweep.yaml").plain()["sweep"]["axes"])
    except Exception:  # there are many ways to be damaged
        return Sweep(path, "damaged", "sweep.json or sweep.yaml: not what a sweep writes")
    trials = tuple(_read_trial(path, config.stem, owned) for config in configs)
    ended = all(trial.status in ("finished", "diverged", "failed") for trial in trials)
    status = "running" if owned else "finished" if ended else "unfinished"
    return Sweep(path, status, "", name, monitor, "min" if mode == "min" else "max", trials, axes)


def _read_trial(sweep: Path, name: str, owned: bool) -> Run:
    """A trial; what has failed before it had a run directory has told why in its log alone."""
    path = sweep / "trials" / name
    if (path / "run.json").is_file():
        return read_run(path)
    errors: list[str] = []
    with suppress(OSError):
        lines = (sweep / "logs" / f"{name}.log").read_text("utf-8", errors="replace").splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return Run(path, "failed", errors[-1]) if errors and not owned else Run(path, "waiting")


def config_of(path: Path) -> Plain:
    """The resolved config of a run.

    Raises:
        ConfigError: it cannot be read.
    """
    config: Plain = yamlfile.read_plain(RunDir(path).config)
    return config


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

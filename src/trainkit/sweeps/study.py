"""The Optuna study of a sweep, which the driver alone writes: what was asked for, and what came of it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainkit.config.yamlfile import Scalar
from trainkit.core.errors import StorageError
from trainkit.experiment import grid
from trainkit.sweeps.trial import Trial

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, slots=True)
class Plan:
    """What a resumed sweep must know besides its configs; stands in `sweep.json`."""

    name: str
    """Of the experiment."""
    monitor: str
    """The metric that ranks the trials, such as `val/accuracy`."""
    mode: Literal["min", "max"]
    timeout_minutes: float | None
    """For each trial."""
    digests: dict[str, str]
    """Of `sweep.yaml`, from which the numbers of the trials follow, and of the trials' configs."""
    beside: str | None
    """Where the modules named in `imports` are, relative to the sweep; None without any."""
    version: str
    """Of trainkit."""
    commit: str | None
    """Of the git repository in which it was begun."""


@contextmanager
def open_study(path: Path, plan: Plan) -> Iterator[optuna.Study]:
    """The study, which only this process writes; empty when it is new."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError  # where Optuna does not turn it into its own

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    direction = optuna.study.StudyDirection.MINIMIZE if plan.mode == "min" else optuna.study.StudyDirection.MAXIMIZE
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        try:
            yield optuna.create_study(storage=storage, study_name=plan.name, direction=direction, load_if_exists=True)
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        raise StorageError(f"{path}: {error.__cause__ or error}".splitlines()[0]) from None


def is_intact(path: Path, plan: Plan, count: int) -> bool:
    """Whether a study can be read to its end."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path)) as database:
            if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return False
        with open_study(path, plan) as study:
            return {trial.user_attrs["index"] for trial in study.trials} <= set(range(count))
    except Exception:  # sqlite3, SQLAlchemy and Optuna leak many kinds on damaged files
        return False


def enqueue(study: optuna.Study, trials: Sequence[Trial], plan: Plan) -> int:
    """Queue every trial of which the study does not say what its run directory says; gives how many are queued."""
    from optuna.trial import TrialState

    latest = {known.user_attrs["index"]: known for known in study.trials}
    waiting = 0
    for index, trial in enumerate(trials):
        known = latest.get(index)
        state = known.state if known else None
        settled = TrialState.COMPLETE if trial.status == "finished" else TrialState.FAIL
        if known and state is TrialState.RUNNING:  # its driver was stopped or killed
            tell_result(study, known.number, trial, plan)
            state = settled
        if trial.finished and state is settled:
            continue
        waiting += 1
        if state is not TrialState.WAITING:
            params = {key: choice(value) for key, value in trial.values.items()}
            study.enqueue_trial(params, user_attrs={"index": index})
    return waiting


def tell_result(study: optuna.Study, asked: optuna.Trial | int, trial: Trial, plan: Plan) -> None:
    """Say what came of a trial; one without a finite number is the worst."""
    from optuna.trial import TrialState

    if trial.status != "finished":
        study.tell(asked, state=TrialState.FAIL)
        return
    value = trial.metrics.get(plan.monitor, math.nan)
    worst = math.inf if plan.mode == "min" else -math.inf  # Optuna takes no NaN
    study.tell(asked, value if math.isfinite(value) else worst)


def choice(value: Any) -> Scalar:
    """A value that Optuna can store."""
    return grid.show(value) if isinstance(value, list) else value

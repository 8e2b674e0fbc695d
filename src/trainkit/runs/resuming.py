"""From where a run may go on, and what of it may be another when it does."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from trainkit.config import merging, shell, yamlfile
from trainkit.core.errors import CheckpointError, ConfigError
from trainkit.core.text import leaves
from trainkit.experiment.loading import parse
from trainkit.experiment.schema import ExperimentConfig, depends_on_length
from trainkit.runs import checkpoint
from trainkit.runs.checkpoint_schema import Payload
from trainkit.runs.run_directory import RunDir
from trainkit.training.loop import Plan
from trainkit.training.progress import Progress
from trainkit.training.schedulers import PlateauConfig

FREE = (
    *("train.device", "train.max_minutes", "data.cache"),
    *("loader.num_workers", "loader.pin_memory", "loader.timeout", "checkpoint.every", "checkpoint.keep"),
)
"""What may differ when a run is resumed without another result: where it runs, for how long, how often it is saved."""
LENGTH = ("train.epochs", "train.max_steps")
PATIENCE = "train.early_stopping.patience"
EXTENDABLE = (*LENGTH, PATIENCE, *FREE)
"""What may differ when a run is resumed: that, and how far it goes."""


def load(path: Path) -> Payload:
    """Read the checkpoint to resume from.

    Raises:
        CheckpointError: it is damaged; names another one of the run that is whole.
    """
    try:
        return checkpoint.load(path)
    except CheckpointError as error:
        whole = {step: other for other in path.parent.glob("*.pt") if (step := _step(other)) is not None}
        if not whole:
            raise
        step, other = max(whole.items())
        hint = f"{other.name}, of step {step}, is whole: {shell.command('trainkit', 'train', '--resume', other)}"
        raise CheckpointError(*(f"{problem}; {hint}" for problem in error.problems)) from None


def _step(path: Path) -> int | None:
    """Where a checkpoint stands; None when it is damaged."""
    try:
        return int(checkpoint.load(path)["progress"]["step"])
    except CheckpointError:
        return None


def best_notes(directory: RunDir, resumed_from: Path, progress: Progress) -> list[str]:
    """A warning when `best.pt` is not the best that the run remembers. A newer one is: the run had gone further."""
    if not progress.best_step or (directory.best.exists() and directory.best.samefile(resumed_from)):
        return []
    try:
        step = checkpoint.load(directory.best)["progress"]["step"]
    except CheckpointError as error:
        problem = str(error)
    else:
        if step >= progress.best_step:
            return []
        problem = f"{directory.best}: is of step {step}, the best was step {progress.best_step}"
    return [f"{problem}; the next better value writes a new one"]


def extended(stored: ExperimentConfig, overrides: Iterable[str]) -> ExperimentConfig:
    """The stored config with overrides that only extend it."""
    node = yamlfile.from_plain(stored.to_plain(), yamlfile.COMMAND_LINE)
    given = parse(merging.override(node, overrides), beside=None)
    before, after = leaves(stored.to_plain()), leaves(given.to_plain())
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    # Of a component that is another one, only that.
    others = tuple(key.removesuffix("name") for key in differing if key.endswith(".name"))
    differing = [key for key in differing if key.endswith(".name") or not key.startswith(others)]
    refused = [key for key in differing if key not in EXTENDABLE]
    if after.get("data.decode") == "fast" and "data.cache" in differing:
        refused.append("data.cache")  # crops out of what is cached are other ones
    if refused:
        show = yamlfile.show
        raise ConfigError(
            *(
                f"command line: {key} differs (stored {show(before.get(key))}, given {show(after.get(key))}); "
                "start a new run"
                for key in refused
            )
        )
    if PATIENCE in differing and after[PATIENCE] < before[PATIENCE]:
        raise ConfigError(f"command line: {PATIENCE}: was {before[PATIENCE]}, and can only become larger")
    length = [key for key in differing if key in LENGTH]
    if length and given.scheduler.depends_on_total:
        raise ConfigError(
            f"command line: {length[0]}: the whole curve of this scheduler depends on it; start a new run"
        )
    if length and depends_on_length(given.train.eval_every):
        raise ConfigError(
            f"command line: {length[0]}: evaluations ({given.train.eval_every}) would be at other steps; "
            "start a new run"
        )
    return given


def check_extension(experiment: ExperimentConfig, plan: Plan, progress: Progress) -> None:
    """Refuse a new end that the run has passed, and one that would not give the run planned that way from the start."""
    more = longer(experiment, plan, progress)
    way = f"add {shlex.join(more)}" if more else "start a new run"
    if plan.max_steps < progress.step:
        problem = f"the run is at step {progress.step} already, and would end at step {plan.max_steps}"
    elif progress.stopped_early:
        problem = f"the run stopped early at step {progress.step}, and would do so again; {way}"
    elif plan.max_steps == progress.step:
        problem = f"adds nothing: the run ends at step {plan.max_steps}; {way}"
    elif _evaluated_out_of_turn(experiment, plan, progress):
        problem = "the evaluation at the old end would not have been there in a longer run; start a new run"
    else:
        return
    raise ConfigError(f"command line: {problem}")


def longer(experiment: ExperimentConfig, plan: Plan, progress: Progress) -> list[str] | None:
    """Overrides with which a run that has come to its end goes on; None where a longer run would be another one."""
    overrides: list[str] = []
    if progress.step == plan.max_steps:
        another = experiment.scheduler.depends_on_total or depends_on_length(experiment.train.eval_every)
        if another or _evaluated_out_of_turn(experiment, plan, progress):
            return None
        overrides = twice_as_long(experiment, plan)
    if progress.stopped_early:
        overrides.append(f"{PATIENCE}={2 * progress.bad_evals}")
    return overrides


def twice_as_long(experiment: ExperimentConfig, plan: Plan) -> list[str]:
    """Overrides with which a new run makes twice as many steps."""
    train, steps = experiment.train, 2 * plan.max_steps
    epochs = -(-steps // plan.steps_per_epoch)
    overrides = [f"train.epochs={epochs}"] if epochs > train.epochs else []
    return overrides + ([f"train.max_steps={steps}"] if train.max_steps and train.max_steps < steps else [])


def _evaluated_out_of_turn(experiment: ExperimentConfig, plan: Plan, progress: Progress) -> bool:
    """Whether the run has reacted to an evaluation at its end that a longer one would not have made."""
    reacts = plan.patience is not None or isinstance(experiment.scheduler, PlateauConfig)
    return reacts and progress.evaluated == progress.step and progress.step % plan.eval_every != 0

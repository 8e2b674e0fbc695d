"""Measuring a checkpoint: the file and the data are all that is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainkit.core import device as devices
from trainkit.core import seeding
from trainkit.data import Batch
from trainkit.data.workers import worker_failures
from trainkit.inference.restoring import check_overrides, open_checkpoint
from trainkit.runs import checkpoint, results
from trainkit.tasks import Details
from trainkit.tasks.class_scores import ClassScore, Tally
from trainkit.training.loop import evaluate
from trainkit.training.losses import LossOutput
from trainkit.training.yardstick import Yardstick


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one pass over a split has found."""

    metrics: dict[str, float]
    """`loss` and the metrics, by their names without the split."""
    notes: list[str]
    """What a reader of them should know."""
    details: Details | None = None
    """How well each class or label is found, and what else the task counts; None for nothing."""
    beside: Mapping[str, Yardstick] = field(default_factory=dict)
    """What the metrics are held against, by the same names."""

    @property
    def per_class(self) -> tuple[ClassScore, ...]:
        """One for every class or label; empty where there are none."""
        return self.details.scores() if isinstance(self.details, Tally) else ()

    @property
    def confusion(self) -> list[list[int]] | None:
        """Samples of each true class (rows) that the model takes for each class (columns); None without classes."""
        return self.details.confusion() if isinstance(self.details, Tally) else None

    def to_plain(self) -> dict[str, Any]:
        """For JSON, without what there is not."""
        beside = {name: one.to_plain() for name, one in self.beside.items()}
        details = self.details.to_plain() if self.details else {}
        return {"metrics": self.metrics, "notes": self.notes, "yardsticks": beside, **details}


@devices.settings_restored()
@seeding.generators_restored()
@worker_failures.unwatched()
def evaluate_checkpoint(
    path: Path, split: str = "test", *, device: str = "auto", overrides: Iterable[str] = ()
) -> Evaluation:
    """Measure a checkpoint on a split of its data. Needs only the file and the data.

    Args:
        path: a checkpoint, or a run directory for the one to use in it.
        split: `test`, `val` or `train`.
        overrides: for keys of `data` and `loader`, such as `data.root=…` on another machine.

    Raises:
        TrainkitError: the checkpoint or its data cannot be used.
    """
    overrides = list(overrides)
    check_overrides(overrides, "an evaluation")
    restored = open_checkpoint(path, device=device, overrides=overrides)
    payload, spec, data = restored.payload, restored.spec, restored.open_data()
    other = data.digests().get(split) != payload["data"].get(split)
    notes = [note.text for note in data.notes if note.level == "warning"]
    if bad := checkpoint.not_finite(payload):
        notes.append(f"{bad} holds NaN or infinite values")
    notes += [f"these {split} samples are not the ones of the training run"] if other else []
    other_input, own_input = data.spec.input, spec.input
    if own_input.pictures and (other_input.mean, other_input.std) != (own_input.mean, own_input.std):
        notes.append("the normalisation of the training run is used, not the one given")
    samples = data.split(split)
    parts = restored.parts
    loader = restored.experiment.loader.eval_loader(samples, parts.device)
    task, details = spec.task, spec.task.details(parts.device)
    answered = True

    def watch(batch: Batch, outcome: LossOutput) -> None:
        nonlocal answered
        answered = task.predicts(outcome.outputs)
        if answered and details:
            details.update(outcome.outputs, batch.targets, batch)

    metrics = evaluate(parts, loader, watch=watch)
    assert metrics is not None
    if details and not answered:
        notes.append(f"the outputs are not one for each of the {task.noun[1]}: there is nothing to say of each")
    beside = results.of_split(restored.experiment, spec, data, metrics, split, None)
    return Evaluation(metrics, notes, details if answered else None, beside)

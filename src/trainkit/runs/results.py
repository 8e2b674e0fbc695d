"""What the results of a run are held against, measured at its end and kept in `run.json`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from trainkit.core import nest
from trainkit.data import Data, DataSpec
from trainkit.experiment.rules import metrics_of
from trainkit.experiment.schema import ExperimentConfig
from trainkit.training.yardstick import Yardstick, yardsticks

KEY = "yardsticks"


def of_split(
    experiment: ExperimentConfig, spec: DataSpec, data: Data, values: Mapping[str, float], split: str, limit: int | None
) -> dict[str, Yardstick]:
    """What stands beside the metrics of a split: no pass over its samples, only over their targets.

    Args:
        spec: of the training data.
        values: by names without the split.
        limit: so many batches were measured; None for all.
    """
    targets = data.split(split).targets
    if limit and (samples := limit * experiment.loader.eval_batch_size) < nest.num_samples(targets):
        targets = nest.take(targets, torch.arange(samples))
    num_outputs = experiment.loss.num_outputs(spec.task)
    return yardsticks(values, metrics_of(experiment, spec), spec.task, num_outputs, data.train.targets, targets)


def of_run(
    experiment: ExperimentConfig, data: Data, metrics: Mapping[str, float], losses: Mapping[str, float]
) -> dict[str, Yardstick]:
    """What stands beside the final metrics of a run, by their names with the split.

    Args:
        losses: of the best constant prediction, by splits.
    """
    found: dict[str, Yardstick] = {}
    limit = experiment.train.limit_batches
    for split in dict.fromkeys(name.partition("/")[0] for name in metrics):
        values = {name.partition("/")[2]: value for name, value in metrics.items() if name.startswith(f"{split}/")}
        beside = of_split(experiment, data.spec, data, values, split, limit)
        if "loss" in values and split in losses and not limit:
            beside = {"loss": Yardstick(len(data.split(split)), losses[split]), **beside}
        found |= {f"{split}/{name}": one for name, one in beside.items()}
    return {name: found[name] for name in metrics if name in found}


def stored(metadata: Mapping[str, Any]) -> dict[str, Yardstick]:
    """The same out of a `run.json`; empty where it has none, or is damaged."""
    with suppress(AttributeError, TypeError):
        return {name: Yardstick(**one) for name, one in metadata.get(KEY, {}).items()}
    return {}

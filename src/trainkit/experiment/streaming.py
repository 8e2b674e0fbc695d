"""What an experiment on a stream needs, and what it cannot have."""

from __future__ import annotations

import torch

from trainkit.core.errors import ConfigError
from trainkit.data import Data, Split
from trainkit.data.loader import Loader
from trainkit.data.streams import StreamSplit
from trainkit.experiment.schema import ExperimentConfig
from trainkit.tasks import Task


def suited(experiment: ExperimentConfig, data: Data) -> ExperimentConfig:
    """The experiment with what it leaves to its data.

    Raises:
        ConfigError: it is not for such data, a stream or none.
    """
    loader, steps, train = experiment.loader, experiment.train.steps_per_epoch, data.train
    if not train.is_stream:
        if steps is not None:
            way = "train.limit_batches shortens it for a quick try, train.max_steps the run"
            raise ConfigError(
                f"train.steps_per_epoch: is for streams; an epoch is all {len(train):,} samples here; {way}"
            )
        return experiment.suited(data.spec)
    problems = {
        "train.steps_per_epoch: is missing: the data is a stream, and only you can say how long an epoch is; use such "
        "as train.steps_per_epoch=1000": steps is None,
        f"loader.num_workers: {loader.num_workers}, but a stream is read by the run itself; use 0 or auto": (
            loader.num_workers not in ("auto", 0)
        ),
        "loader.sampler: balanced needs all samples at once, and a stream gives one after the other; use shuffle, and "
        "balance in the stream": loader.sampler == "balanced",
    }
    if found := [text for text, wrong in problems.items() if wrong]:
        raise ConfigError(*found)
    return experiment.suited(data.spec)


def train_loader(experiment: ExperimentConfig, split: Split, device: torch.device, task: Task) -> Loader:
    """The training batches, live ones of a stream.

    Raises:
        DataError: as `LoaderConfig.train_loader`.
    """
    loader, train = experiment.loader, experiment.train
    if not isinstance(split, StreamSplit):
        return loader.train_loader(split, experiment.seed, device, train.limit_batches, task)
    batches = (train.steps_per_epoch or 1) * train.accumulate
    pin_memory = loader.pin_memory and device.type == "cuda"
    return split.loader(
        loader.batch_size, min(batches, train.limit_batches or batches), experiment.seed, pin_memory=pin_memory
    )

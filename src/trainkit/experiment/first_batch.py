"""The first training batch, as the model sees it."""

from __future__ import annotations

import torch
from PIL import Image

from trainkit.data import Data
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.transforms.pipeline import Prepare, preparation
from trainkit.experiment.schema import ExperimentConfig
from trainkit.plots.images import sheet

SHOWN = 32
"""Pictures on the sheet."""


def prepared(experiment: ExperimentConfig, data: Data, device: torch.device) -> Prepare:
    """What makes a batch of the data ready for the model, whether there can be one or not."""
    augment = experiment.data.augment if isinstance(experiment.data, ImageDataConfig) else ()
    return preparation(data.spec, augment, experiment.seed, device)


def first_batch(experiment: ExperimentConfig, data: Data, device: torch.device) -> Image.Image:
    """The first training batch as the model sees it: augmented, with its labels. For pictures."""
    loader, task = experiment.loader, data.spec.task
    if task.balance_key(data.train.targets) is None:  # which a sampler may need, but not this
        loader = loader.model_copy(update={"sampler": "shuffle"})
    draw = next(iter(loader.batches(data.train, experiment.seed, task)))
    split, augment = experiment.data.for_training(data.train)
    prepare = preparation(data.spec, augment, experiment.seed, device)
    # By position, not through the loader, whose workers would read ahead for nothing.
    batch = prepare(split[draw.first(SHOWN)], 0)
    tiles = task.labelled(data.spec.input.pixels(batch.inputs), batch.targets)
    return sheet("The first training batch, as the model sees it", tiles, legend=task.legend)

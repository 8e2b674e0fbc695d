"""What a trained model says of new inputs, which are read, prepared and answered batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NoReturn

import torch
from torch import Tensor

from trainkit.core import device as devices
from trainkit.core import nest
from trainkit.core.errors import CheckpointError, DataError
from trainkit.core.nest import Nest
from trainkit.core.seeding import generators_restored
from trainkit.core.tiling import Patch
from trainkit.core.view import View
from trainkit.data import Batch
from trainkit.data.workers import cores
from trainkit.inference.files import Files
from trainkit.inference.inputs import InferenceInputs, Refuse
from trainkit.inference.restoring import Restored, restore
from trainkit.inference.sample import Sample
from trainkit.models.dry_run import evaluating
from trainkit.tasks import Prediction


def _raise(error: DataError) -> NoReturn:
    raise error


@devices.settings_restored()
@generators_restored()
def predict(
    checkpoint: Path | str,
    inputs: Path | str | Iterable[Path | str],
    *,
    device: str = "auto",
    threshold: float | Literal["val"] | None = None,
    refuse: Refuse = _raise,
) -> Iterator[Prediction]:
    """Ask the model of a checkpoint about new inputs, which are treated as those of its training.

    Args:
        checkpoint: the file, or a run directory for the one to use in it.
        inputs: pictures, folders of pictures, CSV files or `.npy` arrays, whichever the model was trained for.
        threshold: of two classes, the probability of the second above which it is predicted; `val` for the one at which
            its F1 was highest on the val split. By default 0.5.
        refuse: is told of every input that cannot be used; by default, the first one ends it all.

    Raises:
        ConfigError: there is no such threshold.
        CheckpointError: it is damaged, or not for this trainkit.
    """
    words = [inputs] if isinstance(inputs, Path | str) else inputs
    restored = restore(Path(checkpoint), device=device)
    if threshold is not None:
        restored = restored.deciding_at(threshold)
    return chain.from_iterable(batches(restored, map(str, words), refuse))


def batches(
    restored: Restored,
    inputs: Iterable[str],
    refuse: Refuse,
    tell: Callable[[str], object] = lambda text: None,
    files: Files | None = None,
    *,
    tiles: bool = False,
    keep: Sequence[str] | Literal["all"] = (),
    texts: Sequence[str] = (),
) -> Iterator[list[Prediction]]:
    """The predictions for all inputs that can be used, in their order and in batches as in an evaluation.

    Args:
        tell: hears what should be known of them.
        files: where to write what the task has written; by default nothing is.
        tiles: cut pictures into overlapping tiles of the size that the model takes, rather than scale them.
        keep: columns of tables whose texts go along with the predictions.
        texts: inputs themselves, before the others.
    """
    task = restored.spec.task
    if not task.answered_by(num_outputs := restored.experiment.loss.num_outputs(task)):
        raise CheckpointError(
            f"{restored.path}: the model gives {num_outputs} outputs for {task.size} {task.noun[1]}: they are no "
            "predictions, and only the loss of its training knows what they mean"
        )
    given = InferenceInputs(restored.path, restored.experiment.data, restored.spec, tell, tiles, keep, texts)
    samples = given.samples(inputs, refuse)
    size = restored.experiment.loader.eval_batch_size if given.overlap is None else 1
    with ThreadPoolExecutor(min(cores(), 8)) as threads:  # Pillow decodes without Python's lock
        while True:
            used: list[Sample] = []
            tensors: list[Tensor] = []
            views: list[View | list[Patch] | None] = []
            while some := list(islice(samples, size - len(used))):  # those refused leave room for others
                for sample, read in zip(some, _read(threads, some, views=bool(task.writes)), strict=True):
                    if isinstance(read, DataError):
                        refuse(read)
                    else:
                        tensor, view = read
                        used.append(sample)
                        tensors.append(tensor)
                        views.append(view)
            if not used:
                return
            outputs = _ask(restored, tensors) if given.overlap is None else _ask_tiles(restored, *tensors)
            found = iter(task.predictions_in([sample.name for sample in used], outputs, views))
            if keep:
                found = (replace(one, kept=sample.kept) for one, sample in zip(found, used, strict=True))
            if kept := list(found if files is None else _written(files, found, used, refuse)):
                yield kept


def _written(
    files: Files, predictions: Iterable[Prediction], samples: Sequence[Sample], refuse: Refuse
) -> Iterator[Prediction]:
    for prediction, sample in zip(predictions, samples, strict=True):
        try:
            yield files.write(prediction, sample)
        except DataError as error:
            refuse(error)


def _read(
    threads: ThreadPoolExecutor, samples: Sequence[Sample], *, views: bool
) -> list[tuple[Tensor, View | list[Patch] | None] | DataError]:
    def read(sample: Sample) -> tuple[Tensor, View | list[Patch] | None] | DataError:
        try:
            return sample.read(), sample.view() if views else None
        except DataError as error:
            return error

    with warnings.catch_warnings():  # the threads change the filters, and each puts back what it has found
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return list(threads.map(read, samples))


def _ask_tiles(restored: Restored, tiles: Tensor) -> Nest:
    """What is kept of the model's outputs for the tiles of one picture: a list of one, which holds (tiles, …)."""
    some = tiles.view(-1, *restored.spec.shape).split(restored.experiment.loader.eval_batch_size)
    return [nest.cat([restored.spec.task.kept(_ask(restored, [*one])) for one in some])]


def _ask(restored: Restored, tensors: list[Tensor]) -> Nest:
    """What the model says of a batch, in the unit of the targets as they were given."""
    parts, spec = restored.parts, restored.spec
    inputs, lengths = spec.input.collate(tensors)
    index = torch.arange(len(tensors))
    with evaluating(parts.model), torch.no_grad():
        batch = parts.prepare(Batch(inputs, None, index, lengths), None)
        with parts.precision.autocast():
            outputs: Nest = parts.model(*batch.arguments)
    return spec.task.untransform(nest.floats(outputs))

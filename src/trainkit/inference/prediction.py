"""What a trained model says of new inputs, which are read, prepared and answered batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainkit.core import device as devices
from trainkit.core.errors import CheckpointError, DataError
from trainkit.core.seeding import generators_restored
from trainkit.data import Batch, Kind
from trainkit.data.target_scale import in_the_users_unit
from trainkit.data.workers import cores
from trainkit.inference.inputs import InferenceInputs, Refuse, Sample
from trainkit.inference.restoring import Restored, restore
from trainkit.models.dry_run import evaluating
from trainkit.training.confusion import class_names, decisions
from trainkit.training.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one input."""

    input: str
    """The file; of several in one file `file:row`, which is a line of CSV, or a place in an array, from 0 on."""
    kind: Kind
    answer: tuple[str, ...]
    """The class, or those of the labels that the model finds; empty for numbers."""
    values: Mapping[str, float]
    """The probability of every class or label, or the numbers, by their names."""

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable classes or labels, and how probable they are."""
        # Where two are equally probable, the decision comes first.
        return sorted(self.values.items(), key=lambda item: (-item[1], item[0] not in self.answer))[:count]

    def to_plain(self, top: int | None = None) -> dict[str, Any]:
        """For JSON; of the probabilities all, or the highest."""
        if self.kind == "regression":
            return {"input": self.input, "values": self.values}
        probabilities = dict(self.top(top)) if top else self.values
        if self.kind == "multilabel":
            return {"input": self.input, "labels": self.answer, "probabilities": probabilities}
        [predicted] = self.answer
        probability = self.values[predicted]
        return {"input": self.input, "class": predicted, "probability": probability, "probabilities": probabilities}


def _raise(error: DataError) -> NoReturn:
    raise error


@devices.settings_restored()
@generators_restored()
def predict(
    checkpoint: Path | str,
    inputs: Path | str | Iterable[Path | str],
    *,
    device: str = "auto",
    refuse: Refuse = _raise,
) -> Iterator[Prediction]:
    """Ask the model of a checkpoint about new inputs, which are treated as those of its training.

    Args:
        checkpoint: the file, or a run directory for the one to use in it.
        inputs: pictures, folders of pictures, CSV files or `.npy` arrays, whichever the model was trained for.
        refuse: is told of every input that cannot be used; by default, the first one ends it all.

    Raises:
        CheckpointError: it is damaged, or not for this trainkit.
    """
    words = [inputs] if isinstance(inputs, Path | str) else inputs
    return chain.from_iterable(batches(restore(Path(checkpoint), device=device), map(str, words), refuse))


def batches(
    restored: Restored, inputs: Iterable[str], refuse: Refuse, tell: Callable[[str], object] = lambda text: None
) -> Iterator[list[Prediction]]:
    """The predictions for all inputs that can be used, in their order and in batches as in an evaluation.

    Args:
        tell: hears what should be known of them.
    """
    target = restored.spec.target
    if not target.answered_by(num_outputs := restored.experiment.loss.num_outputs(target)):
        raise CheckpointError(
            f"{restored.path}: the model gives {num_outputs} outputs for {target.size} {target.plural}: they are no "
            "predictions, and only the loss of its training knows what they mean"
        )
    samples = InferenceInputs(restored.path, restored.experiment.data, restored.spec, tell).samples(inputs, refuse)
    size = restored.experiment.loader.eval_batch_size
    with ThreadPoolExecutor(min(cores(), 8)) as threads:  # Pillow decodes without Python's lock
        while True:
            names: list[str] = []
            tensors: list[Tensor] = []
            while some := list(islice(samples, size - len(names))):  # those refused leave room for others
                for sample, read in zip(some, _read(threads, some), strict=True):
                    if isinstance(read, DataError):
                        refuse(read)
                    else:
                        names.append(sample.name)
                        tensors.append(read)
            if not names:
                return
            yield _predictions(names, _ask(restored, tensors))


def _read(threads: ThreadPoolExecutor, samples: Sequence[Sample]) -> list[Tensor | DataError]:
    def read(sample: Sample) -> Tensor | DataError:
        try:
            return sample.read()
        except DataError as error:
            return error

    with warnings.catch_warnings():  # the threads change the filters, and each puts back what it has found
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return list(threads.map(read, samples))


def _ask(restored: Restored, tensors: list[Tensor]) -> Predictions:
    """What the model says of a batch."""
    parts, spec = restored.parts, restored.spec
    lengths = (torch.tensor([len(tensor) for tensor in tensors]),) if spec.padded else ()
    inputs = pad_sequence(tensors, batch_first=True) if spec.padded else torch.stack(tensors)
    index = torch.arange(len(tensors))  # no targets are known; these go unread
    with evaluating(parts.model), torch.no_grad():
        batch = parts.prepare(Batch(inputs, index, index, *lengths), None)
        with parts.precision.autocast():
            outputs = parts.model(batch.inputs, *lengths)
    return Predictions(in_the_users_unit(outputs.float(), spec.target), batch.targets, spec.target)


def _predictions(names: Sequence[str], predictions: Predictions) -> list[Prediction]:
    target = predictions.target
    known = class_names(target)
    values = (predictions.outputs if target.kind == "regression" else predictions.probabilities()).tolist()
    found: list[tuple[str, ...]] = [()] * len(names)
    if target.kind == "classification":
        found = [(known[number],) for number in decisions(predictions.outputs, target).tolist()]
    elif target.kind == "multilabel":
        rows = decisions(predictions.outputs, target).tolist()
        found = [tuple(label for label, there in zip(known, row, strict=True) if there) for row in rows]
    return [
        Prediction(name, target.kind, answer, dict(zip(known, row, strict=True)))
        for name, answer, row in zip(names, found, values, strict=True)
    ]

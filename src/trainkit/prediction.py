"""What a trained model says of new inputs, which are read, prepared and answered batch by batch."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags
from rich.cells import cell_len
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainkit.answers import Answers
from trainkit.data import Batch, DataConfig, DataSpec, Kind, TargetSpec
from trainkit.data.decoding import PictureSource, UnreadableError, opened
from trainkit.data.paths import no_file, told
from trainkit.data.pictures import ENDINGS, PicturesConfig, find_pictures
from trainkit.data.rows import Row
from trainkit.data.tables import CsvConfig
from trainkit.data.transforms import fitted
from trainkit.data.workers import cores
from trainkit.errors import CheckpointError, DataError, printable
from trainkit.loop import evaluating
from trainkit.metrics import decisions
from trainkit.per_class import class_names
from trainkit.records import plain_json
from trainkit.restoring import Restored, restore

STDIN = "-"
LYING = (5, 6, 7, 8)
"""With these EXIF orientations, a picture's height and width are swapped."""

Refuse = Callable[[DataError], object]
"""Hears of an input that cannot be used; the others go on, unless it raises."""


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
        if self.kind == "number":
            return {"input": self.input, "values": self.values}
        probabilities = dict(self.top(top)) if top else self.values
        if self.kind == "multilabel":
            return {"input": self.input, "labels": self.answer, "probabilities": probabilities}
        [said] = self.answer
        return {"input": self.input, "class": said, "probability": self.values[said], "probabilities": probabilities}


def _raise(error: DataError) -> NoReturn:
    raise error


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


def batches(restored: Restored, inputs: Iterable[str], refuse: Refuse) -> Iterator[list[Prediction]]:
    """The predictions for all inputs that can be used, in their order and in batches as in an evaluation."""
    samples = Inputs(restored.path, restored.experiment.data, restored.spec).samples(inputs, refuse)
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


@dataclass(frozen=True, slots=True)
class Sample:
    """One input that is read when it is its turn."""

    name: str
    read: Callable[[], Tensor]
    """Gives it as a data source would. Raises DataError, with the name."""


def _read(threads: ThreadPoolExecutor, samples: Sequence[Sample]) -> list[Tensor | DataError]:
    def read(sample: Sample) -> Tensor | DataError:
        try:
            return sample.read()
        except DataError as error:
            return error

    with warnings.catch_warnings():  # the threads change the filters, and each puts back what it has found
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return list(threads.map(read, samples))


def _ask(restored: Restored, tensors: list[Tensor]) -> Answers:
    """What the model says of a batch."""
    parts, spec = restored.parts, restored.spec
    lengths = (torch.tensor([len(tensor) for tensor in tensors]),) if spec.padded else ()
    inputs = pad_sequence(tensors, batch_first=True) if spec.padded else torch.stack(tensors)
    index = torch.arange(len(tensors))  # no targets are known; these go unread
    with evaluating(parts.model), torch.inference_mode():
        batch = parts.prepare(Batch(inputs, index, index, *lengths), None)
        with parts.precision.autocast():
            outputs = parts.model(batch.inputs, *lengths)
    return Answers(outputs.float(), batch.targets, spec.target)


def _predictions(names: Sequence[str], answers: Answers) -> list[Prediction]:
    target = answers.target
    known = class_names(target)
    values = (answers.outputs if target.kind == "number" else answers.chances()).tolist()
    found: list[tuple[str, ...]] = [()] * len(names)
    if target.kind == "class":
        found = [(known[number],) for number in decisions(answers.outputs, target).tolist()]
    elif target.kind == "multilabel":
        rows = decisions(answers.outputs, target).tolist()
        found = [tuple(label for label, there in zip(known, row, strict=True) if there) for row in rows]
    return [
        Prediction(name, target.kind, answer, dict(zip(known, row, strict=True)))
        for name, answer, row in zip(names, found, values, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Finds and reads new samples as the training data was read."""

    checkpoint: Path
    config: DataConfig
    spec: DataSpec

    def samples(self, inputs: Iterable[str], refuse: Refuse) -> Iterator[Sample]:
        """All that are in the inputs, in their order.

        Raises:
            CheckpointError: it does not say how a CSV file is to be read.
        """
        for name in self._listed(inputs):
            try:
                yield from self._in(name)
            except DataError as error:
                refuse(error)

    def _listed(self, inputs: Iterable[str]) -> Iterator[str]:
        """The inputs, and for pictures what standard input lists."""
        for name in inputs:
            if name == STDIN and self.spec.image:
                lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
                yield from filter(None, lines)
            else:
                yield name

    def _in(self, name: str) -> Iterator[Sample]:
        ending = Path(name).suffix.lower()
        if ending == ".npy":
            return self._array(name)
        if self.spec.image and ending != ".csv":
            return self._pictures(name)
        if isinstance(self.config, CsvConfig) and ending not in ENDINGS and not _is_folder(name):
            return self._rows(name, self.config)
        raise DataError(f"{name}: {self._expected()}")

    def _expected(self) -> str:
        sizes = ("length", *self.spec.shape[1:]) if self.spec.padded else self.spec.shape
        shape = ", ".join(map(str, sizes))
        one = f"({shape},)" if len(sizes) == 1 else f"({shape})"
        array = f"an .npy array{' of uint8' * self.spec.image} of shape {one} or (n, {shape})"
        if self.spec.image:
            return f"expected a picture, a folder of pictures, or {array}"
        return f"expected a CSV file or {array}" if isinstance(self.config, CsvConfig) else f"expected {array}"

    def _pictures(self, name: str) -> Iterator[Sample]:
        names = [name]
        if _is_folder(name):
            names = [str(Path(name, found)) for found in find_pictures(Path(name))]
            if not names:
                raise DataError(f"{name}: no pictures in it ({', '.join(ENDINGS)})")
        return (Sample(picture, partial(self._picture, picture)) for picture in names)

    def _picture(self, name: str) -> Tensor:
        """A picture in the size and with the channels that the model takes. Shape spec.shape, uint8."""
        try:
            pixels, unreadable = self._source(name).decode([0])
        except UnreadableError as error:
            unreadable = {0: str(error)}
        if unreadable:
            raise DataError(f"{name}: {unreadable[0]}")
        return fitted(pixels, self.spec.shape)[0]

    def _source(self, name: str) -> PictureSource:
        """That picture as training on files decodes it; for a model that was not trained on files, as it is.

        Raises:
            UnreadableError: it cannot be read, or not be brought to the model's channels.
        """
        channels, height, width = self.spec.shape
        file = partial(PictureSource, Path(), [name], torch.zeros(1))
        if isinstance(self.config, PicturesConfig):
            return file(self.config.mode, height, width, self.config.crop_pct)
        with opened(Path(name)) as picture:
            width, height = picture.size
            if picture.getexif().get(ExifTags.Base.Orientation) in LYING:
                width, height = height, width
            is_grey = picture.mode in ("1", "L", "LA", "La") or picture.mode.startswith("I")
        mode: Literal["rgb", "grey"] = "grey" if is_grey else "rgb"
        if mode == "rgb" and channels not in (1, 3):
            raise UnreadableError(f"is in colour, the model was trained on {channels} channels; use .npy arrays")
        return file(mode, height, width)

    def _rows(self, name: str, config: CsvConfig) -> Iterator[Sample]:
        if not self.spec.columns:
            raise CheckpointError(
                f"{self.checkpoint}: from before checkpoints kept what the columns of a CSV file mean; train again, or "
                "give .npy arrays"
            )
        rows = self._from_stdin(config) if name == STDIN else config.new_rows(_file(name), self.spec.columns)
        return (Sample(row.where, partial(config.vector, row, self.spec.columns)) for row in rows)

    def _from_stdin(self, config: CsvConfig) -> list[Row]:
        with TemporaryDirectory() as folder:
            inside = f"{folder}{os.sep}"
            file = Path(folder, STDIN)
            file.write_bytes(sys.stdin.buffer.read())
            try:
                rows = config.new_rows(str(file), self.spec.columns)
            except DataError as error:
                raise DataError(*(problem.removeprefix(inside) for problem in error.problems)) from None
            return [replace(row, where=row.where.removeprefix(inside)) for row in rows]

    def _array(self, name: str) -> Iterator[Sample]:
        try:
            array = np.lib.format.open_memmap(_file(name), mode="r")  # read where it is needed; refuses objects
        except (DataError, MemoryError):
            raise
        except Exception:  # NumPy leaks many kinds on other files
            raise DataError(f"{name}: not an .npy array, or cut short") from None
        shape, axes = array.shape, len(self.spec.shape)
        fits = shape[-axes:][self.spec.padded :] == self.spec.shape[self.spec.padded :] and 0 not in shape
        numbers = array.dtype == np.uint8 if self.spec.image else array.dtype.kind in "biuf"
        if not fits or not numbers or array.ndim not in (axes, axes + 1):
            raise DataError(f"{name}: {array.dtype} of shape {shape}; {self._expected()}")
        if array.ndim == axes:
            return iter([Sample(name, partial(self._item, name, array))])
        rows = range(len(array))
        return (Sample(f"{name}:{row}", partial(self._item, f"{name}:{row}", array, row)) for row in rows)

    def _item(self, name: str, array: NDArray[Any], row: int | None = None) -> Tensor:
        one = array if row is None else array[row]
        if self.spec.image:
            return torch.from_numpy(np.array(one))
        with np.errstate(over="ignore"):  # what float32 has no room for becomes infinite
            tensor = torch.from_numpy(np.array(one, dtype=np.float32))
        if not bool(tensor.isfinite().all()):
            raise DataError(f"{name}: holds a value that is not finite")
        return tensor


def _is_folder(name: str) -> bool:
    with suppress(OSError):  # of names that are too long
        return Path(name).is_dir()
    return False


def _file(name: str) -> str:
    """The name of a file that is there.

    Raises:
        DataError: there is none.
    """
    try:
        why = no_file(Path(name))
    except (OSError, ValueError) as error:
        why = told(error)
    if why:
        raise DataError(f"{name}: {why}")
    return name


def as_json(batches: Iterable[list[Prediction]], top: int | None) -> Iterator[str]:
    """A list of objects, one in a line."""
    begun = False
    for some in batches:
        plain = [json.dumps(plain_json(prediction.to_plain(top))) for prediction in some]
        yield ("," if begun else "[") + "\n,".join(plain)
        begun = True
    yield "]" if begun else "[]"


def as_csv(batches: Iterable[list[Prediction]], target: TargetSpec, top: int | None) -> Iterator[str]:
    """With a header; of labels every one's probability, unless the most probable are asked for."""
    yield _csv([_heads(target, top, every=True)])
    for some in batches:
        yield _csv([_cells(each, top, every=True) for each in some])


def as_table(batches: Iterable[list[Prediction]], target: TargetSpec, top: int | None) -> Iterator[str]:
    """For people, aligned; of labels those that the model finds, unless the most probable are asked for."""
    heads = _heads(target, top, every=False)
    for number, some in enumerate(batches):
        rows = [heads, *(_cells(each, top, every=False) for each in some)]
        texts = [[_text(cell, target.kind) for cell in row] for row in rows]
        yield "\n".join(_aligned(texts, [isinstance(cell, float) for cell in rows[-1]])[number > 0 :])


def _heads(target: TargetSpec, top: int | None, *, every: bool) -> list[str | float]:
    """What stands above `_cells`."""
    if target.kind == "number" or (target.kind == "multilabel" and every and not top):
        return ["input", *class_names(target)]
    if target.kind == "multilabel" and not top:
        return ["input", "labels"]
    first = ["class" if target.kind == "class" else "label", "probability"]
    ranks = range(1, min(top or 1, target.size) + 1)
    return ["input", *(f"{head}_{rank}" if rank > 1 else head for rank in ranks for head in first)]


def _cells(prediction: Prediction, top: int | None, *, every: bool) -> list[str | float]:
    name = prediction.input
    if prediction.kind == "number" or (prediction.kind == "multilabel" and every and not top):
        return [name, *prediction.values.values()]
    if prediction.kind == "multilabel" and not top:
        found = [f"{label} {_percent(prediction.values[label])}" for label in prediction.answer]
        return [name, ", ".join(found) or "none"]
    return [name, *(cell for pair in prediction.top(top or 1) for cell in pair)]


def _text(cell: str | float, kind: Kind) -> str:
    if isinstance(cell, str):
        return printable(cell)
    return f"{cell:.6g}" if kind == "number" else _percent(cell)


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for cell, width, to_the_right in zip(row, widths, right, strict=True):
            room = " " * (width - cell_len(cell))
            cells.append(room + cell if to_the_right else cell + room)
        lines.append("  ".join(cells).rstrip())
    return lines


def _csv(rows: Iterable[Sequence[str | float]]) -> str:
    text = io.StringIO()
    plain = ([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(plain)
    return text.getvalue().rstrip("\n")

"""The interface of a task: what a target is, what a model has to give for it, and how its predictions are judged and
shown.

One file, since it is what the author of a new task reads. The defaults suit a task whose targets and outputs are
`size` numbers for every sample, shape (n, size).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import torch
from PIL import Image
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from trainkit.config.base import Config
from trainkit.core import nest
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import ConfigError
from trainkit.core.nest import Nest
from trainkit.core.tiling import Patch
from trainkit.core.view import View
from trainkit.plots.figures import Legend, Tile
from trainkit.tasks.findings import Details, Findings
from trainkit.tasks.linear_models import Fitted
from trainkit.tasks.prediction import Cell, Prediction

if TYPE_CHECKING:
    from trainkit.data import Batch

MAX_CLASSES = 1_000_000
"""More are not meant: the numbers of something else were taken for classes."""


def in_utf8(name: str) -> str:
    """A folder's name may be in another encoding, which Python keeps in half characters that no JSON takes."""
    return name.encode(errors="backslashreplace").decode()


class TargetError(ValueError):
    """Targets are not what a task takes."""

    def __init__(self, text: str, row: int | None = None) -> None:
        super().__init__(text)
        self.row = row
        """The first sample of which it is so; None where it is so of all."""


Reading = Literal["words", "flags", "numbers"]
"""As what a column of a table is read."""


class Task(Config):
    """Base of every task: what data asks of a model, with what was learned about it from the training samples.

    It stands in checkpoints, so that other data is read and other predictions are decoded as in training.
    """

    name: str = ""
    size: int = Field(ge=1)
    """How many classes, labels or numbers."""
    names: tuple[Annotated[str, AfterValidator(in_utf8)], ...] = ()
    """Of the classes, labels or numbers, in the order of the model's outputs; may be empty."""
    counts: tuple[int, ...] = ()
    """Training samples of each class or with each label, or pixels of each class where each pixel has one; empty while
    they have not been read, and of numbers."""
    samples: int = 0
    """All training samples."""

    @model_validator(mode="after")
    def _one_count_for_each(self) -> Self:
        if len(self.counts) not in (0, self.size):
            raise ValueError("has too many or too few numbers")
        return self

    @property
    def kind(self) -> str:
        """The name, as modules for trainkit 0.1 call it."""
        return self.name

    noun: ClassVar[tuple[str, str]]
    """What one of them is called, and what several are."""
    phrase: ClassVar[str]
    """What the targets are, in full."""
    default_loss: ClassVar[str]
    default_metrics: ClassVar[tuple[str, ...]]
    """The first is monitored."""
    memorised: ClassVar[str] = ""
    """The metric that is 1 where everything is right; empty where the loss has to tell, which is then near 0."""
    logits: ClassVar[bool] = False
    """Whether outputs are logits, so that a softmax or sigmoid at a model's end is a mistake."""
    reading: ClassVar[Reading | None] = "numbers"
    """What a target is in plain values: one of several `words`, `flags` (yes or no) or `numbers`, one or several; None
    where `as_targets` takes no such values."""
    exclusive: ClassVar[bool] = False
    """Whether a sample is of exactly one class, so that their counts say whether one is rare."""
    counted_in: ClassVar[str] = ""
    """What `counts` are of, where these are no samples."""
    mixes: ClassVar[bool] = False
    """Whether there are targets for mixtures of samples (MixUp, CutMix)."""
    can_transform: ClassVar[bool] = False
    """Whether `data.target_transform` means something."""
    model_sees_targets: ClassVar[bool] = False
    """Whether a model is called with the targets as well, after inputs and lengths, wherever they are known: in
    training and evaluation, not for new samples. `forward(inputs, targets=None)` may learn to continue them (teacher
    forcing), or give the losses itself (detection)."""
    ranked: ClassVar[bool] = False
    """Whether a prediction gives a probability for each name, of which the highest can be asked for."""

    writes: ClassVar[str] = ""
    """What `files` are, in a word; empty where there are none."""
    drawn: ClassVar[str] = "label and prediction"
    """What `tiles` show beside pictures."""

    # The targets

    @classmethod
    def of(cls, targets: Tensor, names: Sequence[str] = ()) -> Self:
        """The task that these targets, as batches have them, are for."""
        return cls(size=targets.shape[1], names=tuple(names) if len(names) == targets.shape[1] else ())

    @classmethod
    def as_targets(cls, values: Tensor, size: int | None = None) -> Tensor:
        """Values of samples, shape (n,) or (n, size), as batches have them: shape (n, size), float32.

        Args:
            size: that of the task, once it is known.

        Raises:
            TargetError: they are no targets of this task.
        """
        rows = values.to(torch.float32)
        rows = rows.unsqueeze(1) if rows.ndim == 1 else rows
        if rows.ndim != 2 or size not in (None, rows.shape[1]):
            raise TargetError(f"of shape {tuple(values.shape)}; expected (samples, {size or 'numbers'})")
        if len(bad := (~rows.isfinite().all(1)).nonzero()):
            raise TargetError("a value that is not finite", int(bad[0]))
        return rows

    @classmethod
    def balance_key(cls, targets: Nest) -> Tensor | None:  # noqa: ARG003
        """The class of each sample, by which samples are balanced and stratified, shape (n,), int64; None where there
        is no such thing."""
        return None

    def check(self, targets: Tensor, split: str) -> None:
        """Raise DataError where a loss would read beyond what the task has."""

    def count(self, targets: Tensor) -> tuple[int, ...]:
        """Samples of each class or with each label; empty where there are none such."""
        return ()

    def measured(self, targets: Tensor, index: Tensor, transform: str) -> Self:
        """The same with what is to be learned from the training targets.

        Args:
            targets: of the training samples.
            index: of the training samples in their source, for messages.
            transform: as `data.target_transform` has it.

        Raises:
            DataError: that cannot be done to them.
        """
        return self.model_copy(update={"counts": self.count(targets), "samples": nest.num_samples(targets)})

    def unmeasured(self) -> Self:
        """What is the same for other samples of the same kind."""
        return self.untransformed().model_copy(update={"counts": (), "samples": 0})

    def transformed_like(self, other: Task) -> Self:
        """The same, learned in the way of another."""
        return self

    def untransformed(self) -> Self:
        """The same, learned as it is."""
        return self

    @property
    def transformed(self) -> bool:
        """Whether a model learns something else instead of the targets."""
        return False

    @property
    def described(self) -> str:
        """What is done to the targets, in words; empty where nothing can be."""
        return ""

    def diagnostics(self, targets: Tensor, *, pictures: bool) -> Iterator[Diagnostic]:
        """What is probably a mistake in the training targets."""
        yield from ()

    def mixed(self, targets: Tensor, share: float) -> Tensor:
        """The targets of samples of which a share is left, the rest being of the one before, where the task `mixes`."""
        raise NotImplementedError

    @property
    def mask_fill(self) -> int | None:
        """What a mask holds where a picture ends; None where targets do not move with a picture."""
        return None

    # The outputs

    @property
    def num_outputs(self) -> int:
        """How many numbers per sample a loss asks of the model, unless the loss has its own idea of it."""
        return self.size

    def output_shape(self, num_outputs: int, input_shape: Sequence[int]) -> tuple[int, ...] | None:
        """What a model must give for one sample; None where that is not one tensor of one shape."""
        return (num_outputs,)

    def check_outputs(self, outputs: Nest, batch: Batch, num_outputs: int) -> None:
        """Compare what a model gives in evaluation with what loss and predictions need.

        Args:
            outputs: of the model, or, where that may be anything, what the loss makes of it.
            batch: two samples with which it was called: placeholders without targets, as new samples are; then, where
                `output_shape` tells nothing, training samples.

        Raises:
            ConfigError: it does not fit.
        """
        inputs = tuple(batch.inputs.shape[1:]) if isinstance(batch.inputs, Tensor) else ()
        each = self.output_shape(num_outputs, inputs)
        if each is None:
            if not self.predicts(outputs) or nest.num_samples(outputs) != len(batch.index):
                raise ConfigError(
                    f"model: gives {nest.described(outputs)}, which are no predictions of {self.phrase}; change the "
                    "model's last layer, or the data"
                )
            return
        expected = (len(batch.index), *each)
        if tuple(outputs.shape) != expected:
            lost = "; the samples of a batch are mixed: flatten from dimension 1" * (outputs.shape[:1] != expected[:1])
            raise ConfigError(
                f"model: two samples of shape {inputs} give outputs of shape {tuple(outputs.shape)}, but loss and "
                f"data need {expected}{lost}; change the model's last layer, the loss, or the data"
            )

    def answered_by(self, num_outputs: int) -> bool:
        """Whether so many outputs are predictions."""
        return num_outputs == self.num_outputs

    def main(self, outputs: Nest) -> Nest:
        """Of what a model gives in training, the outputs that count in evaluation: without auxiliary ones."""
        return outputs

    def predicts(self, outputs: Nest) -> bool:
        """Whether a batch of outputs is one of predictions."""
        return isinstance(outputs, Tensor) and outputs.ndim == 2 and self.answered_by(outputs.shape[1])

    def kept(self, outputs: Nest) -> Nest:
        """What is kept of a batch of outputs until a whole split is judged, a nest whose tensors and lists have an
        entry for each sample: `outputs` of the methods below."""
        return nest.floats(outputs)

    def combined(self, outputs: Tensor) -> Tensor:
        """The outputs of an ensemble, shape (batch, num_outputs), from those of its members, (members, batch, …)."""
        return outputs.mean(0)

    def untransform(self, outputs: Tensor) -> Tensor:
        """Outputs of a model in the unit of the targets as they were given."""
        return outputs

    def constant(self, targets: Tensor, num_outputs: int) -> Tensor:
        """Where the search for the best constant outputs begins, shape (num_outputs,)."""
        return torch.zeros(num_outputs)

    def constants(self, targets: Nest, num_outputs: int) -> Mapping[str, Tensor]:
        """Predictions that look at no input, against which a model is held: outputs in the unit of the targets, shape
        (num_outputs,), by what they say, such as `always 'cat'`. None by default.

        Args:
            targets: of the training samples.
        """
        return {}

    def linear(self, inputs: Tensor, targets: Nest) -> Fitted | None:
        """A linear model of rows of numbers, against which a model of tables is held; None where there is none.

        Args:
            inputs: shape (n, numbers), float64, each with mean 0 and deviation 1.
            targets: of these rows.
        """
        return None

    def repeated(self, constant: Tensor, targets: Tensor) -> Tensor:
        """A batch of outputs that are the same wherever there is a target.

        Args:
            constant: shape (num_outputs,).

        Raises:
            ValueError: outputs of this task are not one tensor.
        """
        if self.output_shape(len(constant), ()) is None:
            raise ValueError("has no constant outputs")
        return constant.expand(len(targets), -1)

    def thinned(self, targets: Tensor) -> Tensor:
        """As much of the targets as is enough to find the best constant outputs."""
        return targets

    @property
    def knows_nothing_at_0(self) -> bool:
        """Whether outputs of 0, as those of a fresh network nearly are, say nothing, so that their loss is expected."""
        return True

    @property
    def binary(self) -> bool:
        """Whether it is decided between two, for the second from some probability on."""
        return False

    def best_threshold(self, outputs: Nest, targets: Nest) -> float | None:
        """That probability, where the task is `binary` and these samples tell one."""
        return None

    @property
    def chosen_threshold(self) -> float | None:
        """The same as it was found at the end of a run, on its val split."""
        return None

    def deciding_at(self, threshold: float) -> Task:
        """A `binary` task that decides for the second above this probability."""
        raise NotImplementedError

    # What a prediction is, and how good

    def words(self, value: Nest) -> str:
        """A target, or what is kept of an output, as a person would write it."""
        return ", ".join(f"{number:.4g}" for number in value.tolist())

    @abstractmethod
    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How wrong the model is, one number for each sample, shape (n,), float32."""

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Which predictions are not right, shape (n,), bool. No number is ever quite right."""
        return torch.ones_like(self.errors(outputs, targets), dtype=torch.bool)

    @property
    def legend(self) -> Legend:
        """What the colours of tiles mean, where they have a meaning."""
        return ()

    def labelled(self, pictures: Tensor, targets: Tensor) -> list[Tile]:
        """Samples as a person sees them, with the truth. Arguments as of `tiles`."""
        return [Tile(*each) for each in zip(pictures, map(self.words, nest.samples(targets)), strict=True)]

    def tiles(self, pictures: Tensor, outputs: Tensor, targets: Tensor) -> list[Tile]:
        """Samples as a person sees them, with truth and prediction.

        Args:
            pictures: uint8, shape (n, 1 or 3, height, width).
        """
        labels, predicted = (map(self.words, nest.samples(each)) for each in (targets, outputs))
        return [Tile(*each) for each in zip(pictures, labels, predicted, strict=True)]

    def details(self, device: torch.device) -> Details | None:
        """What is to be counted of a split beside its metrics; None for nothing."""
        return None

    def findings(self, details: Details | None, outputs: Tensor, targets: Tensor, split: str) -> Findings:
        """What the predictions of a whole split show.

        Args:
            details: of `details`, with all batches counted in.
        """
        return Findings()

    def confusion(self, details: Details | None) -> list[list[int]]:
        """Samples by true class (rows) and predicted class (columns), as they were counted batch by batch.

        Raises:
            ValueError: there are no classes.
        """
        raise ValueError("needs classes")

    def curves(self, outputs: Tensor, targets: Tensor) -> Iterable[tuple[str, Tensor, Tensor]]:
        """For curves of precision against recall: a name, which samples are of it, and the probability that they are.

        Raises:
            ValueError: there is nothing that a sample may be or not be.
        """
        raise ValueError("needs classes or labels of whole samples")

    # Predictions of new samples

    def predictions(self, inputs: Sequence[str], outputs: Tensor) -> list[Prediction]:
        """What the model says of each input.

        Args:
            inputs: their names.
            outputs: as they are kept, in the unit of the targets as they were given.
        """
        return [
            Prediction(one, self, (), dict(zip(self.known_names, row, strict=True)))
            for one, row in zip(inputs, outputs.tolist(), strict=True)
        ]

    def predictions_in(
        self, inputs: Sequence[str], outputs: Tensor, views: Sequence[View | list[Patch] | None]
    ) -> Sequence[Prediction]:
        """The same where it matters which part of a picture the model has seen.

        Args:
            outputs: as a model gives them, in the unit of the targets as they were given; of a picture in tiles, what
                is kept of them for each.
            views: of each input, or its tiles; None where it is no picture, where it was made for the model, and where
                the task writes nothing.
        """
        return self.predictions(inputs, self.kept(outputs))

    def files(self, prediction: Prediction, picture: Image.Image | None) -> Mapping[str, Image.Image | bytes]:
        """What is to be written beside a prediction, where the task `writes`: pictures, or the content of files, by
        the endings of their names. The first is what the prediction names as its file.

        Args:
            picture: the input at its own size, RGB, where predictions are to be drawn over it.
        """
        return {}

    def plain(self, prediction: Prediction, top: int | None) -> dict[str, Any]:
        """For JSON."""
        return {"values": prediction.values}

    def heads(self, top: int | None, *, every: bool) -> list[str]:
        """What stands above `cells`."""
        return list(self.known_names)

    def cells(self, prediction: Prediction, top: int | None, *, every: bool) -> list[Cell]:
        """A row of a table.

        Args:
            top: how many of the most probable; None for what the model decides for.
            every: whether there is room for all values, as in CSV.
        """
        return list(prediction.values.values())

    def text(self, number: float) -> str:
        """A number of `cells` for a person."""
        return f"{number:.6g}"

    @property
    def known_names(self) -> tuple[str, ...]:
        """Of the classes, labels or numbers; their places where they have no names."""
        return self.names or tuple(map(str, range(self.size)))

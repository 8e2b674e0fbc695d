"""A task as translation is: a sequence for a sequence, learned by teacher forcing. Here, the words backwards.

Targets are a dict of tensors. `test_targets_in_the_model.py` puts this module beside a config that imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.core.nest import Nest
from trainkit.core.seeding import generator
from trainkit.data import Batch, Data, DataConfig, DataSpec
from trainkit.data.inputs import Sequences
from trainkit.data.sequences import SequenceSource
from trainkit.models import register_model
from trainkit.tasks import Cell, Prediction, Task
from trainkit.training.losses import LossConfig, LossFn, LossOutput
from trainkit.training.metrics import Mean, Metric, MetricConfig

END = 0
"""Of the words; also what a sequence begins with, and is padded with."""
LONGEST = 4


@register("task")
class Translation(Task):
    """A sequence of words. Targets: a dict of `words`, shape (batch, LONGEST + 1), int64, and `lengths`, (batch,).
    Outputs: logits (batch, LONGEST + 1, size) of what follows the true words; of new inputs, the words."""

    name: Literal["translation"] = "translation"

    noun: ClassVar = ("word", "words")
    phrase: ClassVar = "sequences of words"
    default_loss: ClassVar = "next_word"
    default_metrics: ClassVar = ("right_words",)
    reading: ClassVar = None
    model_sees_targets: ClassVar = True

    def output_shape(self, num_outputs: int, input_shape: Sequence[int]) -> None:
        return None

    def predicts(self, outputs: Nest) -> bool:
        return isinstance(outputs, Tensor) and outputs.shape[1] == LONGEST + 1

    def kept(self, outputs: Nest) -> Nest:
        return outputs.argmax(2) if outputs.ndim == 3 else outputs

    def errors(self, outputs: Tensor, targets: Nest) -> Tensor:
        wrong: Tensor = outputs != targets["words"]
        return wrong.float().mean(1)

    def words(self, value: Nest) -> str:
        words = value["words"] if isinstance(value, dict) else value
        return " ".join(str(word) for word in words.tolist() if word != END)

    def predictions(self, inputs: Sequence[str], outputs: Tensor) -> list[Prediction]:
        return [Prediction(one, self, (self.words(row),), {}) for one, row in zip(inputs, outputs, strict=True)]

    def plain(self, prediction: Prediction, top: int | None) -> dict[str, Any]:
        return {"words": prediction.answer[0]}

    def heads(self, top: int | None, *, every: bool) -> list[str]:
        return ["words"]

    def cells(self, prediction: Prediction, top: int | None, *, every: bool) -> list[Cell]:
        return [*prediction.answer]


@register("data")
class SentencesConfig(DataConfig):
    """Random sequences of words, and the same backwards."""

    name: Literal["sentences"] = "sentences"
    words: int = 6
    """How many there are, END among them."""
    samples: int = 400

    def build(self, seed: int) -> Data:
        random = generator(seed, "sentences")
        lengths = torch.randint(1, LONGEST + 1, (self.samples,), generator=random)
        sentences = [torch.randint(1, self.words, (length, 1), generator=random) for length in lengths.tolist()]
        backwards = torch.zeros(self.samples, LONGEST + 1, dtype=torch.int64)
        for row, sentence in zip(backwards, sentences, strict=True):
            row[: len(sentence)] = sentence.flip(0)[:, 0]
        source = SequenceSource.of(sentences, {"words": backwards, "lengths": lengths + 1})  # with its END
        task = Translation(size=self.words)
        kind = Sequences(shape=(LONGEST, 1), whole=True)
        return Data(DataSpec(input=kind, task=task), *self.train_val_test(source, seed, 0.2, task=task))


@register_model("translator")
class Translator(nn.Module):
    """An encoder and a decoder."""

    def __init__(self, num_outputs: int, hidden: int = 48) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_outputs, hidden)
        self.encoder = nn.GRU(hidden, hidden, batch_first=True)
        self.decoder = nn.GRU(hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, num_outputs)

    def forward(self, inputs: Tensor, lengths: Tensor, targets: dict[str, Tensor] | None = None) -> Tensor:
        steps, _ = self.encoder(self.embedding(inputs[..., 0]))
        last = (lengths - 1).to(inputs.device)
        state = steps[torch.arange(len(inputs), device=inputs.device), last][None]
        begin = inputs.new_full((len(inputs), 1), END)
        if targets is not None:  # teacher forcing: each word is told by the true ones before it
            before = torch.cat([begin, targets["words"][:, :-1]], 1)
            logits: Tensor = self.head(self.decoder(self.embedding(before), state)[0])
            return logits
        words = [begin]
        for _ in range(LONGEST + 1):
            step, state = self.decoder(self.embedding(words[-1]), state)
            words.append(self.head(step).argmax(2))
        return torch.cat(words[1:], 1)


@register("loss")
class NextWordConfig(LossConfig):
    """Cross-entropy of the next word, the mean over the words."""

    name: Literal["next_word"] = "next_word"
    works_on: ClassVar = (Translation,)

    def build(self, task: Task) -> LossFn:
        def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
            logits, words = model(*batch.arguments), batch.targets["words"]
            each = functional.cross_entropy(logits.flatten(0, 1).float(), words.flatten(), reduction="none")
            counts = real(batch.targets).flatten()
            return LossOutput.of_sum((each * counts).sum(), counts.sum(), logits)

        return loss_fn


def real(targets: dict[str, Tensor]) -> Tensor:
    """Which words are no padding, shape (batch, LONGEST + 1), bool."""
    return torch.arange(LONGEST + 1, device=targets["lengths"].device) < targets["lengths"][:, None]


@register("metric")
class RightWordsConfig(MetricConfig):
    """The share of the words that are right, given the true ones before them; the mean over samples."""

    name: Literal["right_words"] = "right_words"
    works_on: ClassVar = (Translation,)

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        def share(logits: Tensor, targets: dict[str, Tensor]) -> Tensor:
            right = (logits.argmax(2) == targets["words"]) & real(targets)
            return right.sum(1) / targets["lengths"]

        return Mean(share, device)

"""Vectors for the tokens of texts, and the mean of them as a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.data.paths import expanded
from trainkit.models.base import Dropout, ModelConfig, Width
from trainkit.models.vectors import read_vectors

PAIR_FACTOR = 1_000_003
"""By which the first of two neighbours is multiplied before both are hashed to one number."""


def token_embedding(model: str, spec: DataSpec, dim: int) -> tuple[nn.Module, int]:
    """What makes vectors of a sequence's steps, and how many numbers they have: an embedding of tokens, with vectors of
    length about 1; nothing where the steps are vectors already.

    Raises:
        ConfigError: the data is neither texts nor sequences.
    """
    if (vocab_size := spec.input.vocab_size) is None:
        if len(spec.shape) != 2:
            raise ConfigError(
                f"model: {model} needs sequences (length, features) or texts, the data has shape {spec.shape}"
            )
        return nn.Identity(), spec.shape[1]
    embedding = nn.Embedding(vocab_size, dim)
    nn.init.normal_(embedding.weight, std=dim**-0.5)
    return embedding, dim


def is_real(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Which places of sequences (batch, length, …) are not padding; shape (batch, length), bool."""
    lengths = lengths.to(inputs.device, non_blocking=True).unsqueeze(1)
    return torch.arange(inputs.shape[1], device=inputs.device) < lengths


class EmbeddingConfig(ModelConfig):
    """Base of the models that give each token of a text a vector."""

    embedding_dim: Width = 128
    """Of texts: length of the vector for each token."""
    vectors: str = ""
    """Of texts: a file with vectors of words to begin with, as those of GloVe or fastText; `embedding_dim` numbers
    each."""

    def create(self, spec: DataSpec, num_outputs: int) -> tuple[nn.Module, list[str]]:
        model, notes = super().create(spec, num_outputs)
        if not self.vectors:
            return model, notes
        if not spec.input.vocabulary:
            raise ConfigError("model.vectors: is for texts")
        rows = {token: row for row, token in enumerate(spec.input.vocabulary)}
        embedding = model.get_submodule("embedding")
        assert isinstance(embedding, nn.Embedding)
        return model, [*notes, read_vectors(expanded(self.vectors), rows, embedding.weight)]

    def restored(self) -> Self:
        return super().restored().model_copy(update={"vectors": ""})


class BagClassifier(nn.Module):
    """The mean of the vectors of a text's tokens, and of its pairs of neighbours, then a linear layer."""

    def __init__(self, vocab_size: int, buckets: int, dim: int, num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.vocab_size, self.buckets = vocab_size, buckets
        self.embedding = nn.Embedding(vocab_size + buckets, dim)
        nn.init.uniform_(self.embedding.weight, -1 / dim, 1 / dim)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, num_outputs)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Turn tokens (batch, length), int64, into (batch, num_outputs).

        Args:
            lengths: how many of each are real, shape (batch,).
        """
        real = is_real(inputs, lengths)
        tokens = inputs
        if self.buckets:
            pairs = (inputs[:, :-1] * PAIR_FACTOR + inputs[:, 1:]) % self.buckets + self.vocab_size
            tokens, real = torch.cat([inputs, pairs], 1), torch.cat([real, real[:, 1:]], 1)
        vectors = self.embedding(tokens).masked_fill(~real.unsqueeze(2), 0)
        outputs: Tensor = self.head(self.dropout(vectors.sum(1) / real.sum(1, keepdim=True)))
        return outputs


@register("model")
class EmbeddingBagConfig(EmbeddingConfig):
    """The mean of the vectors of a text's tokens, and a linear layer (Joulin et al., 2016, arXiv:1607.01759): quick,
    and hard to beat by much. It is what learns from texts where the config names no model, with settings of its own."""

    name: Literal["embedding_bag"] = "embedding_bag"
    embedding_dim: Width = 32
    """Length of the vectors."""
    buckets: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Vectors that the pairs of neighbours share among them, by a hash, such as 100000 for long texts; 0: the order of
    tokens does not count."""
    dropout: Dropout = 0.5
    """Share of the mean set to zero in training."""

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "loader": {"batch_size": 32},
        "optimizer": {"name": "adamw", "lr": 0.003},
        "scheduler": {"name": "one_cycle"},
        "train": {"epochs": 5, "min_steps": 500},
    }

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        if (vocab_size := spec.input.vocab_size) is None:
            raise ConfigError("model: embedding_bag needs texts")
        return BagClassifier(vocab_size, self.buckets, self.embedding_dim, num_outputs, self.dropout)

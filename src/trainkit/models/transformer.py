"""The transformer encoder as a classifier of sequences and texts."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from trainkit.config.registry import register
from trainkit.core.errors import DataError
from trainkit.data import DataSpec
from trainkit.models.base import Dropout, ModelConfig, Width
from trainkit.models.embedding import is_real, token_embedding

LEARNED_STD = 0.02
"""Of learned positions at the beginning, as in BERT (Devlin et al., 2019, arXiv:1810.04805)."""


def sinusoids(length: int, dim: int) -> Tensor:
    """Fixed positions, shape (length, dim): waves of growing length (Vaswani et al., 2017, arXiv:1706.03762)."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000) / dim))
    angles = torch.arange(length).unsqueeze(1) * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim]


class TransformerClassifier(nn.Module):
    """Embedding, positions, encoder, mean over the sequence, linear head."""

    positions: Tensor

    def __init__(
        self, embedding: nn.Module, positions: Tensor, encoder: nn.TransformerEncoder, num_outputs: int, dropout: float
    ) -> None:
        super().__init__()
        dim = positions.shape[1]
        self.embedding = embedding
        if isinstance(positions, nn.Parameter):
            self.positions = positions
        else:
            self.register_buffer("positions", positions, persistent=False)  # a formula needs no place in checkpoints
        self.dropout = nn.Dropout(dropout)
        self.encoder = encoder
        self.head = nn.Linear(dim, num_outputs)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Turn sequences of shape (batch, length, features), or tokens (batch, length), into (batch, num_outputs).

        Args:
            lengths: how much of each sequence is real, shape (batch,); by default all. What follows is not attended to.

        Raises:
            DataError: the sequences are longer than any that the model was made for.
        """
        length = inputs.shape[1]
        if length > len(self.positions):
            raise DataError(
                f"data: a sequence of {length} steps is longer than the {len(self.positions)} for which the model was "
                "built; it has no positions for the rest"
            )
        hidden = self.dropout(self.embedding(inputs) + self.positions[:length])
        outputs: Tensor = self.head(self._mean(hidden, lengths))
        return outputs

    def _mean(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        """What the encoder makes of the sequences, averaged over their real places: (batch, dim)."""
        if lengths is None:
            mean: Tensor = self.encoder(hidden).mean(1)
            return mean
        padding = ~is_real(hidden, lengths)
        encoded: Tensor = self.encoder(hidden, src_key_padding_mask=padding)
        lengths = lengths.to(hidden.device, non_blocking=True).unsqueeze(1)
        return encoded.masked_fill(padding.unsqueeze(2), 0).sum(1) / lengths


@register("model")
class TransformerConfig(ModelConfig):
    """A transformer encoder for sequences (Vaswani et al., 2017, arXiv:1706.03762), averaged over their length."""

    name: Literal["transformer"] = "transformer"
    d_model: Width = 128
    """Length of the vector at each place of the sequence; a multiple of `nhead`."""
    nhead: Width = 4
    """Attention heads, which share `d_model` among them."""
    num_layers: Annotated[int, Field(ge=1, le=1000)] = 2
    """Encoder layers."""
    dim_feedforward: Width = 512
    """Width of the two-layer network that follows each attention."""
    dropout: Dropout = 0.1
    """Share of the values set to zero in training, after the embedding and inside every layer."""
    activation: Literal["relu", "gelu"] = "relu"
    """Inside the two-layer networks."""
    norm_first: bool = True
    """Normalise before attention and network instead of after: trains without warm-up (Xiong et al., 2020,
    arXiv:2002.04745)."""
    positions: Literal["learned", "sinusoidal"] = "learned"
    """How a place in the sequence is told: by a learned vector, or by fixed waves."""

    @model_validator(mode="after")
    def _heads_share_evenly(self) -> Self:
        if self.d_model % self.nhead:
            raise ValueError(f"d_model must be a multiple of nhead, got {self.d_model} and {self.nhead}")
        return self

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        embedding, features = token_embedding(self.name, spec, self.d_model)
        if spec.input.vocab_size is None:
            embedding = nn.Linear(features, self.d_model)
        length = spec.shape[0]
        learned = self.positions == "learned"
        positions = (
            nn.Parameter(LEARNED_STD * torch.randn(length, self.d_model))
            if learned
            else sinusoids(length, self.d_model)
        )
        norm = nn.LayerNorm(self.d_model) if self.norm_first else None
        # Nested tensors do not go with norm_first; the mask alone keeps padding out.
        encoder = nn.TransformerEncoder(self._layer(), self.num_layers, norm, enable_nested_tensor=False)
        # torch copies the layer that it is given: all would start with the same weights.
        encoder.layers = nn.ModuleList(self._layer() for _ in range(self.num_layers))
        return TransformerClassifier(embedding, positions, encoder, num_outputs, self.dropout)

    def _layer(self) -> nn.TransformerEncoderLayer:
        return nn.TransformerEncoderLayer(
            d_model=self.d_model,
            nhead=self.nhead,
            dim_feedforward=self.dim_feedforward,
            dropout=self.dropout,
            activation=self.activation,
            norm_first=self.norm_first,
            batch_first=True,
        )

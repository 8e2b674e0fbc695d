"""Recurrent networks that read a sequence and predict at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from trainkit.config.registry import register
from trainkit.data import DataSpec
from trainkit.models.base import Dropout, Width
from trainkit.models.embedding import EmbeddingConfig, token_embedding

Cell = nn.RNN | nn.GRU | nn.LSTM


class RecurrentClassifier(nn.Module):
    """A recurrent network, and a linear layer on the last state of its top layer in every direction."""

    def __init__(self, embedding: nn.Module, rnn: nn.RNNBase, num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.embedding = embedding
        self.directions = 2 if rnn.bidirectional else 1
        self.rnn = rnn
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.directions * rnn.hidden_size, num_outputs)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Turn sequences of shape (batch, length, features), or tokens (batch, length), into (batch, num_outputs).

        Args:
            lengths: how much of each sequence is real, shape (batch,), on the CPU; by default all. What follows is
                never read.
        """
        inputs = self.dropout(self.embedding(inputs)) if inputs.ndim == 2 else inputs
        if lengths is None:
            _, state = self.rnn(inputs)
        else:
            _, state = self.rnn(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
        hidden: Tensor = state[0] if isinstance(state, tuple) else state  # an LSTM has a cell state besides
        # (layers * directions, batch, hidden_size): the top layer comes last, and backward after forward.
        last = hidden[-self.directions :].transpose(0, 1).flatten(1)
        outputs: Tensor = self.head(self.dropout(last))
        return outputs


class RecurrentConfig(EmbeddingConfig):
    """Base of the recurrent networks, which differ in their cells."""

    hidden_size: Width = 128
    """Length of the state in each layer and direction."""
    num_layers: Annotated[int, Field(ge=1, le=100)] = 1
    """Layers, each reading what the one below says."""
    bidirectional: bool = False
    """Read from the end as well; both last states count."""
    dropout: Dropout = 0.0
    """Share of the values set to zero in training, between layers and before the output."""

    torch_class: ClassVar[type[Cell]]
    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "cell": "the cell is the name of the model: rnn, gru or lstm",
    }

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        embedding, features = token_embedding(self.name, spec, self.embedding_dim)
        rnn = self.torch_class(
            input_size=features,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout if self.num_layers > 1 else 0.0,
            batch_first=True,
        )
        return RecurrentClassifier(embedding, rnn, num_outputs, self.dropout)


@register("model")
class LstmConfig(RecurrentConfig):
    """A recurrent network for sequences that can remember for long (Hochreiter and Schmidhuber, 1997)."""

    name: Literal["lstm"] = "lstm"
    torch_class: ClassVar[type[Cell]] = nn.LSTM


@register("model")
class GruConfig(RecurrentConfig):
    """A recurrent network for sequences, simpler than an LSTM (Cho et al., 2014, arXiv:1406.1078)."""

    name: Literal["gru"] = "gru"
    torch_class: ClassVar[type[Cell]] = nn.GRU


@register("model")
class RnnConfig(RecurrentConfig):
    """The plain recurrent network for sequences, which soon forgets (Elman, 1990)."""

    name: Literal["rnn"] = "rnn"
    torch_class: ClassVar[type[Cell]] = nn.RNN

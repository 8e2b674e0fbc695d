"""Recurrent networks that read a sequence and answer at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from trainkit.data import DataSpec
from trainkit.errors import ConfigError
from trainkit.models.base import Dropout, ModelConfig, Width
from trainkit.registry import register

cells: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentClassifier(nn.Module):
    """A recurrent network, and a linear layer on the last state of its top layer in every direction."""

    def __init__(self, rnn: nn.RNNBase, num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.directions = 2 if rnn.bidirectional else 1
        self.rnn = rnn
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.directions * rnn.hidden_size, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn sequences of shape (batch, length, features) into (batch, num_outputs)."""
        _, state = self.rnn(inputs)
        hidden: Tensor = state[0] if isinstance(state, tuple) else state  # an LSTM has a cell state besides
        # (layers * directions, batch, hidden_size): the top layer comes last, and backward after forward.
        last = hidden[-self.directions :].transpose(0, 1).flatten(1)
        outputs: Tensor = self.head(self.dropout(last))
        return outputs


@register("model")
class RnnConfig(ModelConfig):
    """A recurrent network for sequences: LSTM (Hochreiter and Schmidhuber, 1997), GRU or plain."""

    name: Literal["rnn"] = "rnn"
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    """`lstm`, `gru` (Cho et al., 2014, arXiv:1406.1078), or `rnn`, which soon forgets (Elman, 1990)."""
    hidden_size: Width = 128
    """Length of the state in each layer and direction."""
    num_layers: Annotated[int, Field(ge=1, le=100)] = 1
    """Layers, each reading what the one below says."""
    bidirectional: bool = False
    """Read from the end as well; both last states count."""
    dropout: Dropout = 0.0
    """Share of the values set to zero in training, between layers and before the output."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        if len(spec.shape) != 2:
            raise ConfigError(f"model: rnn needs sequences (length, features), the data has shape {spec.shape}")
        rnn = cells[self.cell](
            input_size=spec.shape[1],
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout if self.num_layers > 1 else 0.0,
            batch_first=True,
        )
        return RecurrentClassifier(rnn, num_outputs, self.dropout)

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.data.inputs import Numbers, Texts
from trainkit.data.texts.tokenizer import Tokenizer
from trainkit.models import ModelConfig
from trainkit.tasks import Classification

TOKENIZER = Tokenizer(kind="word", lower=True, tokens=tuple(f"w{number}" for number in range(50)))
SPEC = DataSpec(input=Texts(shape=(12,), tokenizer=TOKENIZER), task=Classification(size=3))
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("embedding_bag", {}),
    ("embedding_bag", {"buckets": 1000}),
    ("rnn", {"hidden_size": 8}),
    ("gru", {"hidden_size": 8, "bidirectional": True, "num_layers": 2}),
    ("lstm", {"hidden_size": 8, "bidirectional": True}),
    ("transformer", {"d_model": 8, "dim_feedforward": 16}),
    ("transformer", {"d_model": 8, "dim_feedforward": 16, "norm_first": False, "positions": "sinusoidal"}),
]


def build(name: str, options: dict[str, Any], spec: DataSpec = SPEC) -> torch.nn.Module:
    torch.manual_seed(0)
    config_class = registry.find("model", name)
    assert issubclass(config_class, ModelConfig)
    return config_class(**options).build(spec, 3)


@pytest.mark.parametrize(("name", "options"), MODELS)
@pytest.mark.parametrize("training", [False, True])
def test_a_text_gives_the_same_alone_and_in_any_batch(name: str, options: dict[str, Any], training: bool) -> None:
    model = build(name, options | {"dropout": 0}).train(training)
    lengths = torch.tensor([12, 1, 5, 2])
    inputs = torch.randint(0, 50, (4, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = model(inputs, lengths)
        assert together.shape == (4, 3)
        for row, length in enumerate(lengths.tolist()):
            alone = model(inputs[row : row + 1, :length], torch.tensor([length]))
            torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-5)


def test_pairs_make_the_order_count() -> None:
    inputs, lengths = torch.tensor([[1, 2, 3], [3, 2, 1]]), torch.tensor([3, 3])
    one, other = build("embedding_bag", {"dropout": 0})(inputs, lengths)
    torch.testing.assert_close(one, other)
    one, other = build("embedding_bag", {"dropout": 0, "buckets": 1000})(inputs, lengths)
    assert not torch.allclose(one, other)


def test_other_data_is_refused() -> None:
    numbers = DataSpec(input=Numbers(shape=(12,)), task=Classification(size=3))
    with pytest.raises(ConfigError, match=r"^model: embedding_bag needs texts$"):
        build("embedding_bag", {}, numbers)
    with pytest.raises(ConfigError, match=r"^model: lstm needs sequences"):
        build("lstm", {}, numbers)

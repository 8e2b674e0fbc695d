from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.data.inputs import Numbers, Texts
from trainkit.data.texts.tokenizer import Tokenizer
from trainkit.models import ModelConfig
from trainkit.models.rnn import GruConfig
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


def test_vectors_come_from_a_file_and_not_again_from_a_checkpoint() -> None:
    Path("vectors.txt").write_text("2 3\nw7 1 2 3\nelse 4 5 6\nw9 -1 0 0.5\n")
    config = GruConfig(embedding_dim=3, hidden_size=4, vectors="vectors.txt")
    model, notes = config.create(SPEC, 3)
    weight = model.get_submodule("embedding").weight
    assert isinstance(weight, torch.Tensor)
    assert weight[7].tolist() == [1, 2, 3]
    assert weight[9].tolist() == [-1, 0, 0.5]
    assert notes == ["model.vectors: 2 of 50 tokens have a vector in vectors.txt, the others begin at random"]
    Path("vectors.txt").unlink()
    config.restored().create(SPEC, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w7 1 2\n", "vectors.txt:1: 2 numbers, expected 3; model.embedding_dim=2 would fit"),
        ("w7 1 2 3\nw8 1 2\n", "vectors.txt:2: 2 numbers, expected 3"),
        ("w7 1 2 x\n", "vectors.txt:1: 'w7': no numbers"),
        ("else 1 2 3\n", "vectors.txt: none of the 50 tokens of the data is in it"),
        (None, "vectors.txt: no such file or directory"),
    ],
)
def test_vectors_that_do_not_fit(text: str | None, message: str) -> None:
    if text is not None:
        Path("vectors.txt").write_text(text)
    with pytest.raises(ConfigError) as caught:
        GruConfig(embedding_dim=3, vectors="vectors.txt").create(SPEC, 3)
    assert str(caught.value) == f"model.vectors: {message}"

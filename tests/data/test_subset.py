from __future__ import annotations

import torch

from trainkit.data import Batch, Data, DataSpec, Split, TensorSource
from trainkit.data.inputs import Numbers
from trainkit.data.sources.synthetic import SyntheticConfig
from trainkit.data.subset import in_memory, train_subset
from trainkit.tasks import Classification


class Read:
    """A source that has to be read, and says how often."""

    def __init__(self) -> None:
        self.targets = torch.arange(600) % 3
        self.reads = 0

    def __len__(self) -> int:
        return 600

    def take(self, index: torch.Tensor, draw: int = 0, repeat: torch.Tensor | None = None) -> Batch:
        self.reads += len(index)
        return Batch(index.float().unsqueeze(1), self.targets[index], index)

    def digest(self) -> str:
        return ""


def test_a_part_is_read_once_and_always_the_same() -> None:
    source = Read()
    spec = DataSpec(input=Numbers(shape=(1,)), task=Classification(size=3))
    data = Data(spec, Split(source, torch.arange(100, 600)), None, None)
    few = train_subset(data, 300)
    assert source.reads == 301  # the first one tells the shape
    inputs = few.train.take(torch.arange(300)).inputs.flatten().long()
    assert inputs.tolist() == sorted(inputs.tolist())
    assert len(inputs.unique()) == 300
    assert inputs.min() >= 100
    assert few.train.targets.tolist() == (inputs % 3).tolist()
    assert train_subset(data, 300).train.take(torch.arange(300)).inputs.flatten().long().tolist() == inputs.tolist()
    assert source.reads == 602


def test_what_is_in_memory_stays_where_it_is() -> None:
    split = Split(TensorSource(torch.zeros(4, 1), torch.zeros(4)), torch.arange(2))
    assert in_memory(split) is split
    padded = SyntheticConfig(shape=(6, 2), min_length=3, samples=20, test_samples=4).open(0)
    assert train_subset(padded, 5).train.take(torch.arange(5)).lengths is not None


def test_nests_are_kept_in_memory_as_well() -> None:
    class Nested(Read):
        def take(self, index: torch.Tensor, draw: int = 0, repeat: torch.Tensor | None = None) -> Batch:
            batch = super().take(index)
            return Batch({"number": batch.inputs}, [torch.ones(n % 2) * n for n in index.tolist()], index)

    source = Nested()
    kept = in_memory(Split(source, torch.arange(300, 600)))
    assert source.reads == 301
    batch = kept.take(torch.tensor([299, 0]))
    assert batch.inputs["number"].tolist() == [[599], [300]]
    assert [one.tolist() for one in batch.targets] == [[599], []]
    assert len(kept.source) == 300

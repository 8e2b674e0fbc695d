from __future__ import annotations

from random import Random

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from tests.data.transforms.test_geometric import CPU, labelled, pixels, prepare_with, smooth, spec
from trainkit.core.errors import DataError
from trainkit.data import Batch, DataSpec
from trainkit.data.inputs import Pictures
from trainkit.data.transforms.geometric import RandomErasing
from trainkit.data.transforms.mixup import BatchMix, CutMix, MixUp
from trainkit.data.transforms.pipeline import preparation
from trainkit.tasks import Classification, MultiLabel

SHAPE = (3, 20, 28)
BOTH = pytest.mark.parametrize("mix", [MixUp(), CutMix(), MixUp(alpha=0.2), CutMix(alpha=4)], ids=repr)


def batch_from(first: int, count: int = 8) -> Batch:
    batch = labelled(smooth(count, SHAPE))
    return batch._replace(index=batch.index + first)


def share(batch: Batch, before: Tensor) -> float:
    """What each sample has kept, read off its target; the class before it has the rest."""
    kept = batch.targets.gather(1, before[:, None])
    assert torch.equal(kept, kept[:1].expand_as(kept))
    return float(kept[0])


@BOTH
def test_targets_are_shares_of_two_classes(mix: BatchMix) -> None:
    batch = batch_from(0)
    mixed = prepare_with(mix, shape=SHAPE)(batch, 0)
    assert (mixed.targets.shape, mixed.targets.dtype) == ((8, 10), torch.float32)
    torch.testing.assert_close(mixed.targets.sum(1), torch.ones(8))
    kept = share(mixed, batch.targets)
    expected = kept * functional.one_hot(batch.targets, 10) + (1 - kept) * functional.one_hot(batch.targets.roll(1), 10)
    torch.testing.assert_close(mixed.targets, expected)
    assert torch.equal(mixed.index, batch.index)


def test_mixup_is_a_weighted_mean_of_what_is_normalised() -> None:
    normal = DataSpec(input=Pictures(shape=SHAPE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1)), task=spec().task)
    batch = batch_from(0)
    plain = preparation(normal, (), 0, CPU)(batch, 0)
    mixed = preparation(normal, (MixUp(),), 0, CPU)(batch, 0)
    kept = share(mixed, batch.targets)
    assert 0.02 < kept < 0.98
    torch.testing.assert_close(mixed.inputs, kept * plain.inputs + (1 - kept) * plain.inputs.roll(1, 0))
    assert mixed.inputs.is_contiguous(memory_format=torch.channels_last)


def test_cutmix_shares_are_the_areas_that_are_really_there() -> None:
    pictures = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(-1, *SHAPE)
    shares: list[float] = []
    for first in range(0, 3000, 6):
        batch = labelled(pictures)._replace(index=torch.arange(first, first + 6))
        mixed = prepare_with(CutMix(), shape=SHAPE)(batch, 0)
        own = (pixels(mixed) == pictures)[:, 0]
        other = pixels(mixed) == pictures.roll(1, 0)
        assert torch.equal(~own, other[:, 0])
        kept = share(mixed, batch.targets)
        assert own[0].float().mean().item() == pytest.approx(kept, abs=1e-6)
        rows, columns = (~own[0]).any(1).sum(), (~own[0]).any(0).sum()
        assert (~own[0]).sum() == rows * columns  # a box, in one piece
        shares.append(kept)
    assert max(shares) == 1
    # More than half, as boxes are cut off at the sides.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reference = v2.CutMix(num_classes=10)
        expected = [reference.make_params([torch.empty(1, *SHAPE)])["lam_adjusted"] for _ in range(2000)]
    assert sum(shares) / len(shares) == pytest.approx(sum(expected) / len(expected), abs=0.03)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_have_the_beta_distribution(alpha: float) -> None:
    prepare, two = prepare_with(MixUp(alpha=alpha), shape=(1, 1, 1)), torch.zeros(2, 1, 1, 1, dtype=torch.uint8)
    shares = torch.tensor(
        [share(prepare(Batch(two, torch.arange(2), torch.tensor([n, 0])), 0), torch.arange(2)) for n in range(4000)]
    )
    expected = torch.distributions.Beta(alpha, alpha)
    assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
    assert shares.var().item() == pytest.approx(expected.variance.item(), rel=0.06)


@BOTH
def test_a_mix_follows_from_seed_epoch_and_first_index(mix: BatchMix) -> None:
    def mixed(seed: int, epoch: int, first: int) -> Tensor:
        inputs: Tensor = prepare_with(mix, shape=SHAPE, seed=seed)(batch_from(first), epoch).inputs
        return inputs

    assert torch.equal(mixed(0, 0, 0), mixed(0, 0, 0))
    others = [mixed(1, 0, 0), mixed(0, 1, 0), mixed(0, 0, 1)]
    assert not any(torch.equal(mixed(0, 0, 0), other) for other in others)


@BOTH
def test_an_evaluation_mixes_nothing(mix: BatchMix) -> None:
    batch = batch_from(0)
    prepared = prepare_with(mix, shape=SHAPE)(batch, None)
    assert torch.equal(pixels(prepared), batch.inputs)
    assert torch.equal(prepared.targets, batch.targets)


def test_of_two_mixes_each_batch_gets_one_after_the_transforms() -> None:
    erase = RandomErasing(p=1)
    prepare = prepare_with(MixUp(), erase, CutMix(), shape=SHAPE)
    plain = prepare_with(erase, shape=SHAPE)
    pasted = 0
    for first in range(0, 400, 4):
        batch = batch_from(first, 4)
        mixed, before = prepare(batch, 0), plain(batch, 0).inputs
        pasted += bool(((mixed.inputs == before) | (mixed.inputs == before.roll(1, 0))).all())
    assert 35 < pasted < 65


def test_a_single_sample_is_mixed_with_itself() -> None:
    batch = batch_from(0, 1)
    for mix in (MixUp(), CutMix()):
        mixed = prepare_with(mix, shape=SHAPE)(batch, 0)
        assert torch.equal(pixels(mixed), batch.inputs)
        torch.testing.assert_close(mixed.targets, functional.one_hot(batch.targets, 10).float())


@BOTH
def test_labels_are_mixed_row_by_row(mix: BatchMix) -> None:
    rows = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
    several = MultiLabel(size=3)
    batch = Batch(smooth(4, SHAPE), rows, torch.arange(4))
    mixed = preparation(DataSpec(input=Pictures(shape=SHAPE), task=several), (mix,), 0, CPU)(batch, 0)
    kept = float(mixed.targets[0, 0])
    torch.testing.assert_close(mixed.targets, kept * rows + (1 - kept) * rows.roll(1, 0))


def test_the_loss_of_soft_targets_is_the_mean_of_both_losses() -> None:
    batch = batch_from(0)
    mixed = prepare_with(MixUp(), shape=SHAPE)(batch, 0)
    kept, outputs = share(mixed, batch.targets), torch.randn(8, 10)
    own, other = (functional.cross_entropy(outputs, one) for one in (batch.targets, batch.targets.roll(1)))
    torch.testing.assert_close(functional.cross_entropy(outputs, mixed.targets), kept * own + (1 - kept) * other)


@BOTH
def test_numbers_are_not_mixed(mix: BatchMix) -> None:
    with pytest.raises(DataError) as caught:
        preparation(spec(kind="regression"), (mix,), 0, CPU)
    assert str(caught.value) == (
        f"data.augment: {mix.name} needs classes or labels, the targets of the data are numbers; leave it out"
    )


def test_any_alpha_gives_a_share() -> None:
    for alpha in (1e-12, 1e-3, 1e3, 1e12):
        target = Classification(size=10)
        mixed = MixUp(alpha=alpha).mix(batch_from(0)._replace(inputs=torch.rand(8, *SHAPE)), target, Random(0))
        assert mixed.inputs.isfinite().all()

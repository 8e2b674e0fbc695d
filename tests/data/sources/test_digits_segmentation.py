from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from trainkit.data.base import Data, TensorSource
from trainkit.data.sources.digits_segmentation import INK, SIDES, DigitsSegmentationConfig
from trainkit.data.sources.sklearn_files import train_test_rows
from trainkit.tasks import Segmentation


def read(seed: int = 0, **options: int) -> Data:
    plain = {"samples": 60, "test_samples": 20, "val": 10, **options}
    return DigitsSegmentationConfig.from_plain(plain).open(seed)


def test_canvases_and_masks() -> None:
    data = read()
    assert (len(data.train), len(data.val or ()), len(data.test or ())) == (50, 10, 20)
    assert data.spec.shape == (1, 64, 64)
    task = data.spec.task
    assert isinstance(task, Segmentation)
    assert (task.size, task.names[:3], task.mask_fill) == (11, ("background", "0", "1"), 255)
    assert isinstance(data.train.source, TensorSource)
    batch = data.train.take(torch.arange(50))
    assert (batch.inputs.shape, batch.inputs.dtype) == ((50, 1, 64, 64), torch.uint8)
    assert (batch.targets.shape, batch.targets.dtype) == ((50, 64, 64), torch.uint8)
    assert batch.targets.unique().tolist() == list(range(11))
    shares = torch.tensor(task.counts) / batch.targets.numel()
    assert 0.75 < shares[0] < 0.95
    quarters = batch.targets.unflatten(2, (2, 32)).unflatten(1, (2, 32)).amax((2, 4)).flatten(1)
    assert (quarters > 0).sum(1).unique().tolist() == [1, 2, 3, 4]


def test_the_same_for_the_same_seed_and_test_for_any() -> None:
    one, same, other = read(3), read(3), read(4)
    assert one.digests() == same.digests()
    assert one.digests()["train"] != other.digests()["train"]
    assert one.digests()["test"] == other.digests()["test"] != one.digests()["val"]


def test_each_digit_stands_on_its_mask_and_no_threshold_finds_it() -> None:
    batch = read().train.take(torch.arange(50))
    pixels, ink = batch.inputs[:, 0].float(), batch.targets > 0
    differs = [bool(digit.any()) and pixels[n][digit].mean() > pixels[n][~digit].mean() for n, digit in enumerate(ink)]
    assert sum(differs) > 0.9 * len(differs)
    # Even the best of all thresholds, chosen with the masks at hand, is far from them.
    overlap = []
    for threshold in range(0, 256, 5):
        found = pixels > threshold
        overlap.append(((found & ink).sum() / (found | ink).sum()).item())
    assert max(overlap) < 0.6


def test_a_larger_canvas_and_other_scans_for_the_test() -> None:
    data = read(size=100, samples=12, val=0)
    assert data.train.take(torch.arange(12)).targets.shape == (12, 100, 100)
    rows, test_rows = train_test_rows(load_digits().target)
    assert not set(rows) & set(test_rows)
    assert max(SIDES) <= 64
    assert 0 < INK < 1

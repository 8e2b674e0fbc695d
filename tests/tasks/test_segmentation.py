from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from trainkit.core.errors import DataError
from trainkit.data import Split, TensorSource
from trainkit.tasks import Line, Segmentation, TargetError
from trainkit.tasks.masks import IGNORED_COLOUR, palette
from trainkit.training.baseline_loss import constant_prediction, untrained
from trainkit.training.losses import CrossEntropyConfig
from trainkit.training.segmentation_losses import DiceConfig

CPU = torch.device("cpu")
TASK = Segmentation(size=3, names=("sky", "road", "car"))
TRUTH = torch.tensor([[[0, 0, 1], [1, 1, 255]], [[255, 255, 255], [255, 255, 255]]], dtype=torch.uint8)
SAID = torch.tensor([[[0, 1, 1], [1, 2, 2]], [[2, 2, 2], [2, 2, 2]]], dtype=torch.uint8)


def logits(masks: Tensor, size: int = 3) -> Tensor:
    return torch.nn.functional.one_hot(masks.long(), size).movedim(-1, 1).float()


def test_classes_are_found_in_masks() -> None:
    assert Segmentation.of(TRUTH) == Segmentation(size=2)
    assert Segmentation.of(TRUTH, ("sky", "road", "car")) == TASK
    assert Segmentation.of(TRUTH[1:]).size == 2
    with pytest.raises(TargetError, match="class 1 in the masks, but classes has 1 names"):
        Segmentation.of(TRUTH, ("sky",))


def test_targets_are_whole_masks_of_the_classes() -> None:
    found = Segmentation.as_targets(TRUTH.long(), 3)
    assert found.dtype == torch.uint8
    assert torch.equal(found, TRUTH)
    with pytest.raises(TargetError, match="value 3 in a mask, which is neither a class nor 255") as caught:
        Segmentation.as_targets(TRUTH.masked_fill(TRUTH == 1, 3), 3)
    assert caught.value.row == 0
    for wrong in (TRUTH.float(), TRUTH[0]):
        with pytest.raises(TargetError, match="masks are whole numbers of shape"):
            Segmentation.as_targets(wrong)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValidationError, match="too many or too few colours"):
        Segmentation(size=2, colours=((0, 0, 0),))
    with pytest.raises(ValidationError, match="ignore_index is one of the classes"):
        Segmentation(size=5, ignore_index=4)


def test_values_beyond_the_classes_are_named() -> None:
    TASK.check(TRUTH, "val")
    with pytest.raises(DataError) as caught:
        Segmentation(size=1).check(TRUTH, "val")
    assert str(caught.value) == (
        "data: the value 1 in masks of the val split, 3 pixels; there are only the classes 0 to 0, and 255 for what is "
        "ignored"
    )


def test_it_counts_pixels_and_pictures() -> None:
    found = TASK.measured(TRUTH, torch.arange(2), "auto")
    assert found.counts == (2, 3, 0)
    assert found.samples == 2
    assert found.unmeasured() == TASK


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        (
            TRUTH,
            [
                "data: no training sample has a pixel of the class 'car'",
                "data: 1 training sample of 2 have no pixel that counts: all of the mask is 255",
            ],
        ),
        (
            TRUTH.clamp(max=0),
            [
                "data: no training sample has a pixel of the class 'road'",
                "data: all pixels of the training masks are of one class; there is nothing to tell apart",
            ],
        ),
    ],
)
def test_what_is_probably_a_mistake(masks: Tensor, expected: list[str]) -> None:
    task = TASK.measured(masks, torch.arange(2), "auto")
    assert [one.text for one in task.diagnostics(masks, pictures=True)] == expected


def test_outputs_are_judged_by_their_shape() -> None:
    assert TASK.output_shape(3, (1, 20, 30)) == (3, 20, 30)
    assert TASK.predicts(logits(SAID))
    assert not TASK.predicts(logits(SAID, 4))
    assert not TASK.predicts(SAID)
    outputs = logits(SAID)
    assert TASK.main(outputs) is outputs
    assert TASK.main({"out": outputs, "aux": outputs + 1}) is outputs
    kept = TASK.kept(outputs)
    assert kept.dtype == torch.uint8
    assert torch.equal(kept, SAID)


def test_errors_are_shares_of_the_pixels_that_count() -> None:
    for outputs in (SAID, logits(SAID)):
        torch.testing.assert_close(TASK.errors(outputs, TRUTH), torch.tensor([2 / 5, 0.0]))
        assert TASK.wrong(outputs, TRUTH).tolist() == [True, False]


def test_words_are_the_classes_of_a_mask_the_largest_first() -> None:
    assert list(map(TASK.words, TRUTH)) == ["road, sky", "nothing that counts"]


def test_the_tally_counts_pixels() -> None:
    tally, parts = TASK.tally(CPU), [TASK.tally(CPU) for _ in range(2)]
    tally.update(logits(SAID), TRUTH)
    for part, outputs, targets in zip(parts, logits(SAID).split(1), TRUTH.split(1), strict=True):
        part.update(outputs, targets)
    parts[0].merge(parts[1])
    plain = tally.to_plain()
    assert parts[0].to_plain() == plain
    assert plain["confusion"] == [[1, 1, 0], [0, 2, 1], [0, 0, 0]]
    assert plain["ignored_pixels"] == 7
    assert plain["per_class"][1] == {
        "name": "road",
        "support": 3,
        "predicted": 3,
        "true_positives": 2,
        "iou": 2 / 4,
        "dice": 4 / 6,
        "precision": 2 / 3,
        "recall": 2 / 3,
    }
    assert tally.lines()[:5] == [
        Line(""),
        Line("name  pixels      IoU     dice  precision   recall"),
        Line("sky        2  50.00 %  66.67 %   100.00 %  50.00 %", strong=True),
        Line("road       3  50.00 %  66.67 %    66.67 %  66.67 %"),
        Line("car        0   0.00 %   0.00 %     0.00 %        -"),
    ]
    tally.reset()
    assert not tally.every.any()


def test_findings_are_a_table_and_the_confusion_of_pixels() -> None:
    task = TASK.measured(TRUTH, torch.arange(2), "auto")
    counted = task.details(torch.device("cpu"))
    counted.update(SAID, TRUTH)
    found = task.findings(counted, SAID, TRUTH, "val")
    assert found.tables[0].heads == ("name", "pixels trained on", "val pixels", "IoU", "dice", "precision", "recall")
    assert found.tables[0].rows[1] == ["road", "3", "3", "50.00 %", "66.67 %", "66.67 %", "66.67 %"]
    assert found.confusion == task.confusion(counted) == [[1, 1, 0], [0, 2, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match="whole samples"):
        task.curves(SAID, TRUTH)


def test_colours() -> None:
    assert palette(4) == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))  # those of VOC
    assert len({*palette(255), IGNORED_COLOUR}) == 256
    assert TASK.legend == [*zip(TASK.names, palette(3), strict=True), ("ignored", IGNORED_COLOUR)]
    drawn = TASK.coloured(TRUTH[:1])
    assert drawn.shape == (1, 3, 2, 3)
    assert drawn[0, :, 0, 2].tolist() == [128, 0, 0]
    assert drawn[0, :, 1, 2].tolist() == list(IGNORED_COLOUR)
    own = Segmentation(size=2, colours=((1, 2, 3), (4, 5, 6)))
    assert own.coloured(TRUTH[:1])[0, :, 0, 2].tolist() == [4, 5, 6]


def test_truth_and_prediction_stand_beside_the_picture() -> None:
    pictures = torch.zeros(2, 1, 2, 3, dtype=torch.uint8)
    [tile, _] = TASK.tiles(pictures, SAID, TRUTH)
    assert (tile.label, tile.predicted, tile.confidence) == ("road, sky", "road, car, sky", "60%")
    assert [each.shape for each in tile.beside] == [(3, 2, 3)] * 2
    [tile, _] = TASK.labelled(pictures, TRUTH)
    assert torch.equal(tile.beside[0], TASK.coloured(TRUTH)[0])


def test_the_baseline_loss_is_that_of_the_frequencies() -> None:
    """Also of more pixels than are looked at."""
    masks = torch.zeros(40, 64, 64, dtype=torch.uint8)
    masks[:, :, :16] = 1
    masks[:, :, -8:] = 255
    split, task = Split.whole(TensorSource(torch.zeros(40, 1), masks)), Segmentation(size=2)
    share = 16 / 56
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    loss = CrossEntropyConfig().build(task)
    assert constant_prediction(loss, split, task, 2) == pytest.approx(entropy, rel=0.02)
    assert untrained(loss, split, task, 2) == pytest.approx(math.log(2))
    assert untrained(DiceConfig().build(task), split, task, 2) == pytest.approx(
        1 - (share / (share + 0.5) + (1 - share) / (1.5 - share)) / 2, rel=0.02
    )

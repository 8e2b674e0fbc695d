from __future__ import annotations

import torch

from trainkit.tasks import Classification, MultiLabel, Regression
from trainkit.training.predictions import Predictions


def test_worst_predictions_worked_example() -> None:
    # Confident and wrong; right; wrong by a little; less confident and wrong.
    outputs = torch.tensor([[9.0, 0, 0], [9, 0, 0], [0.1, 0, 0], [2, 0, 0]])
    predictions = Predictions(outputs, torch.tensor([1, 0, 1, 2]), Classification(size=3))
    assert predictions.worst(10).tolist() == [0, 3, 2]
    assert predictions.worst(2).tolist() == [0, 3]
    binary = Predictions(torch.tensor([[3.0], [-1], [-2]]), torch.tensor([0, 0, 1]), Classification(size=2))
    assert binary.worst(10).tolist() == [0, 2]
    torch.testing.assert_close(Classification(size=2).probabilities(binary.outputs).sum(1), torch.ones(3))
    labels = MultiLabel(size=2, names=("big", "red"))
    several = Predictions(torch.tensor([[1.0, 1], [1, -1], [-1, -1]]), torch.tensor([[1.0, 1], [0, 0], [0, 1]]), labels)
    assert labels.wrong(several.outputs, several.targets).tolist() == [False, True, True]
    tiles = several.tiles(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
    assert [(tile.label, tile.predicted, tile.wrong) for tile in tiles] == [
        ("big, red", "big, red", False), ("none", "big", True), ("red", "none", True),
    ]  # fmt: skip
    numbers = Predictions(torch.tensor([[1.0, 2], [3, 9]]), torch.tensor([[1.0, 2], [3, 4.5]]), Regression(size=2))
    assert numbers.worst(1).tolist() == [1]
    tile = numbers.tiles(torch.zeros(2, 1, 2, 2, dtype=torch.uint8))[1]
    assert (tile.label, tile.predicted, tile.confidence, tile.wrong) == ("3, 4.5", "3, 9", "", None)


def test_predictions_of_any_form() -> None:
    """Outputs in a list, targets in a dict."""
    outputs = [torch.tensor([1.0]), torch.zeros(0), torch.tensor([2.0, 3])]
    targets = {"words": torch.tensor([[1, 2], [3, 4], [5, 6]])}
    predictions = Predictions(outputs, targets, Regression(size=1))
    assert len(predictions) == 3
    some = predictions.at(torch.tensor([2, 1]))
    assert [one.tolist() for one in some.outputs] == [[2, 3], []]
    assert some.targets["words"].tolist() == [[5, 6], [3, 4]]
    assert len(predictions.cpu()) == 3

"""Precision, recall, F1 and the confusion matrix of each class, and how they are shown."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassF1Score, MultilabelPrecision

from trainkit.tasks import Classification, MultiLabel
from trainkit.tasks.categorical import Categorical
from trainkit.tasks.class_scores import MOST_ROWS, ClassScore, Tally, matrix, table

CPU = torch.device("cpu")
PETS = Classification(size=3, names=("cat", "dog", "owl"))
LABELS = MultiLabel(size=3)


def counted(task: Categorical, outputs: Tensor, targets: Tensor, batch: int = 100) -> Tally:
    tally = task.tally(CPU)
    with torch.inference_mode():
        for start in range(0, len(outputs), batch):
            tally.update(outputs[start : start + batch], targets[start : start + batch])
    return tally


def shares(tally: Tally) -> list[tuple[float, float, float]]:
    return [(score.precision, score.recall, score.f1) for score in tally.scores()]


@pytest.mark.parametrize("batch", [1, 4, 6])
def test_worked_example(batch: int) -> None:
    # Of three cats one is taken for a dog; of two dogs one for an owl; the owl is found.
    targets, said = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 2, 2])
    tally = counted(PETS, torch.nn.functional.one_hot(said, 3) * 2.0 - 1, targets, batch)
    assert tally.counts.dtype == torch.int64
    assert tally.confusion() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert tally.scores() == (ClassScore("cat", 3, 2, 2), ClassScore("dog", 2, 2, 1), ClassScore("owl", 1, 2, 1))
    assert shares(tally) == [(1, 2 / 3, 4 / 5), (1 / 2, 1 / 2, 1 / 2), (1 / 2, 1, 2 / 3)]


def test_one_output_for_two_classes() -> None:
    binary = Classification(size=2)
    tally = counted(binary, torch.tensor([[0.5], [-0.5], [2.0], [-2.0]]), torch.tensor([1, 0, 0, 0]), 3)
    assert tally.confusion() == [[2, 1], [0, 1]]
    assert [score.name for score in tally.scores()] == ["0", "1"]


def test_labels_worked_example() -> None:
    # Label 0: both found. Label 1: one found, one missed. Label 2: one found, one wrong.
    outputs = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
    targets = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    tally = counted(LABELS, outputs, targets, 1)
    assert tally.counts.tolist() == [[[0, 0], [0, 2]], [[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    assert tally.confusion() is None
    assert shares(tally) == [(1, 1, 1), (1, 1 / 2, 2 / 3), (1 / 2, 1, 2 / 3)]


def test_equal_to_scikit_learn_and_torchmetrics() -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(200, 3), torch.randint(3, (200,))
    tally = counted(PETS, outputs, targets, 7)
    said = outputs.argmax(1)
    assert tally.confusion() == sklearn.metrics.confusion_matrix(targets, said).tolist()
    *expected, support = sklearn.metrics.precision_recall_fscore_support(targets, said)
    torch.testing.assert_close(torch.tensor(shares(tally), dtype=torch.float64).T, torch.tensor(np.array(expected)))
    assert [score.support for score in tally.scores()] == support.tolist()
    f1 = MulticlassF1Score(num_classes=3, average="none")(outputs, targets)
    assert [score.f1 for score in tally.scores()] == pytest.approx(f1.tolist())

    labels = torch.randint(2, (200, 3)).float()
    tally = counted(LABELS, outputs, labels, 7)
    assert tally.counts.tolist() == sklearn.metrics.multilabel_confusion_matrix(labels, outputs > 0).tolist()
    *expected, support = sklearn.metrics.precision_recall_fscore_support(labels, outputs > 0)
    torch.testing.assert_close(torch.tensor(shares(tally), dtype=torch.float64).T, torch.tensor(np.array(expected)))
    assert [score.support for score in tally.scores()] == support.tolist()
    precision = MultilabelPrecision(num_labels=3, average="none")((outputs > 0).float(), labels)
    assert [score.precision for score in tally.scores()] == pytest.approx(precision.tolist())


@pytest.mark.parametrize(("target", "outputs", "shape"), [(PETS, 3, (8,)), (LABELS, 3, (8, 3))])
def test_counting_does_not_wait_for_the_device(target: Categorical, outputs: int, shape: tuple[int, ...]) -> None:
    meta = torch.device("meta")  # has no values that could be read
    targets = torch.empty(shape, device=meta, dtype=torch.int64 if target is PETS else torch.float32)
    target.tally(meta).update(torch.empty(8, outputs, device=meta), targets)


TABLE = """

name           samples  precision   recall       F1
cat                  3   100.00 %  66.67 %  80.00 %
Münsterländer        2    50.00 %  50.00 %  50.00 %
owl                  0     0.00 %        -   0.00 %
never said           1          -   0.00 %   0.00 %
neither              0          -        -        -
""".splitlines()[1:]


def test_the_table() -> None:
    scores = [
        ClassScore("cat", 3, 2, 2),
        ClassScore("Münsterländer", 2, 2, 1),
        ClassScore("owl", 0, 2, 0),
        ClassScore("never said", 1, 0, 0),
        ClassScore("neither", 0, 0, 0),
    ]
    lines, worst = table(scores)
    assert lines == TABLE
    assert worst == TABLE[5]  # an absent class is not the worst
    assert table([ClassScore("cat", 3, 3, 3)])[1] is None
    assert table([]) == ([], None)
    assert scores[-1].to_plain() == {
        "name": "neither", "support": 0, "predicted": 0, "true_positives": 0,
        "precision": 0.0, "recall": 0.0, "f1": 0.0,
    }  # fmt: skip


def test_of_many_classes_the_worst_are_shown() -> None:
    scores = [ClassScore(f"class {n}", 100, 100, n) for n in reversed(range(100))] + [ClassScore("absent", 0, 1, 0)]
    lines, worst = table(scores)
    assert [line.split("  ")[0] for line in lines[2:-1]] == [f"class {n}" for n in range(MOST_ROWS)]
    assert lines[2] == worst
    assert lines[-1] == "These are the 20 worst of 101 by F1; --json has all."


def test_the_matrix() -> None:
    assert matrix([[2, 1], [0, 1000]], ["cat", "dog"]) == [
        "",
        "     cat   dog",
        "cat    2     1",
        "dog    .  1000",
        "Rows: the true class. Columns: the predicted class.",
    ]
    assert matrix(None, []) == []
    assert matrix([[1] * 13] * 13, [str(n) for n in range(13)]) == []


def test_the_matrix_fits_into_80_columns() -> None:
    names = [f"{n} is a class with a very long name indeed, and then some" for n in range(12)]
    lines = matrix([[12345] * 12] * 12, names)
    assert max(map(len, lines)) <= 12 + 12 * 7
    assert lines[1].split() == [str(n) for n in range(12)]
    assert lines[2].startswith("0 0 is a ...  12345")
    assert max(map(len, matrix([[1234] * 10] * 10, names[:10]))) == 80
    lines, _ = table([ClassScore("x" * 200, 1, 1, 1), ClassScore("猫" * 100, 1, 1, 1)])
    assert len(lines[2]) == 80
    assert "..." in lines[3]

"""The second of two classes, against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn import metrics
from torch import Tensor

from trainkit.tasks import Classification
from trainkit.tasks.binary_scores import BinaryTally, average_precision, best_threshold, logit, scored

CPU = torch.device("cpu")


def samples(seed: int, *, ties: bool) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    there = torch.rand(50, generator=draw) < 0.3
    margins = torch.randn(50, generator=draw) + there
    return (margins.round() if ties else margins), there


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    margins, there = samples(seed, ties=ties)
    assert average_precision(margins, there) == pytest.approx(metrics.average_precision_score(there, margins))
    for threshold in (0.5, 0.3):
        found = scored(margins, there, threshold)
        said = (margins.sigmoid() > threshold).numpy()
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            there, said, average="binary", zero_division=0
        )
        assert (found.precision, found.recall, found.f1) == pytest.approx((precision, recall, f1))
    best = best_threshold(margins, there)
    assert best is not None
    tried = [scored(margins, there, threshold / 200).f1 for threshold in range(1, 200)]
    assert scored(margins, there, best).f1 >= max(tried)


def test_the_best_threshold_lies_between_samples_and_is_near_the_middle() -> None:
    there = torch.tensor([False, False, True, True])
    assert best_threshold(torch.tensor([-2.0, -1.0, 1.0, 2.0]), there) == 0.5
    assert best_threshold(torch.tensor([-9.0, -4.0, -2.0, 1.0]), there) == pytest.approx(1 / (1 + 2.718281828**3))
    assert best_threshold(torch.ones(4), there) == pytest.approx(0.6225, abs=1e-4)  # the answer is always yes
    assert best_threshold(torch.tensor([99.0, 98.0, 98.5, 99.0]), there) == pytest.approx(1 - 1e-6)
    assert best_threshold(torch.zeros(4), torch.zeros(4, dtype=torch.bool)) is None
    assert best_threshold(torch.zeros(4), torch.ones(4, dtype=torch.bool)) is None
    assert best_threshold(torch.tensor([1.0, 2.0, torch.inf, -torch.inf]), there) is None


@pytest.mark.parametrize("outputs", [torch.tensor([[0.2], [-0.3], [2.0]]), torch.tensor([[0, 0.2], [0, -0.3], [1, 3]])])
def test_a_threshold_decides_where_it_is_asked_for(outputs: Tensor) -> None:
    task = Classification(size=2, names=("no", "yes"), threshold=0.4)
    assert task.decisions(outputs).tolist() == [1, 0, 1]
    assert task.deciding_at(0.4).decisions(outputs).tolist() == [1, 1, 1]
    strict = task.deciding_at(0.6)
    assert strict.decisions(outputs).tolist() == [0, 0, 1]
    first = strict.predictions(["a"], outputs[:1])[0]
    assert first.answer == ("no",)
    assert strict.cells(first, None, every=False) == ["no", pytest.approx(0.4502, abs=1e-4)]
    assert strict.cells(first, 1, every=False)[0] == "yes"
    assert task.margins(outputs).tolist() == pytest.approx([0.2, -0.3, 2.0])


def test_what_a_checkpoint_keeps() -> None:
    task = Classification(size=2, threshold=0.4).deciding_at(0.6)
    again = Classification.from_plain(task.to_plain())
    assert (again.threshold, again.decides_at) == (0.4, 0.5)
    assert again.unmeasured().threshold is None  # other val samples would give another


def test_counting_batch_by_batch() -> None:
    task = Classification(size=2, names=("no", "yes"), threshold=0.7)
    margins, there = samples(0, ties=False)
    tally, other = task.details(CPU), task.details(CPU)
    assert isinstance(tally, BinaryTally)
    assert isinstance(other, BinaryTally)
    assert "positive" not in tally.to_plain()
    assert tally.table() is None
    tally.update(margins[:20, None], there[:20].long())
    other.update(margins[20:, None], there[20:].long())
    tally.merge(other)
    plain = tally.to_plain()["positive"]
    assert plain["name"] == "yes"
    assert plain["average_precision"] == average_precision(margins, there)
    assert [one["threshold"] for one in plain["thresholds"]] == [0.5, 0.7]
    assert plain["thresholds"][1]["f1"] == scored(margins, there, 0.7).f1
    [title, heads, default, chosen] = [line.text for line in tally.lines()[-4:]]
    assert title == f"yes against no: average precision {average_precision(margins, there):.4f}"
    assert heads.split() == ["threshold", "precision", "recall", "F1"]
    assert default.startswith("by default")
    assert chosen.startswith("best F1 on val")
    tally.reset()
    assert "positive" not in tally.to_plain()
    assert not isinstance(Classification(size=3).details(CPU), BinaryTally)


def test_a_logit() -> None:
    assert logit(0.5) == 0
    assert torch.tensor(logit(0.2)).sigmoid() == pytest.approx(0.2)

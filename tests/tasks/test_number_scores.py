"""How far numbers are off, against scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn import metrics

from trainkit.tasks import Regression
from trainkit.tasks.number_scores import MOST_ROWS, NumberTally, score_of

CPU = torch.device("cpu")


def test_scores_are_those_of_scikit_learn() -> None:
    draw = torch.Generator().manual_seed(0)
    targets = torch.randn(40, 2, generator=draw) * 10
    outputs = targets + torch.randn(40, 2, generator=draw) + torch.tensor([2.0, 0.0])
    tally, other = NumberTally(("a", "b")), NumberTally(("a", "b"))
    tally.update(outputs[:7], targets[:7])
    other.update(outputs[7:], targets[7:])
    tally.merge(other)
    for place, score in enumerate(tally.scores()):
        true, said = targets[:, place], outputs[:, place]
        assert score.samples == 40
        assert score.mae == pytest.approx(metrics.mean_absolute_error(true, said))
        assert score.rmse == pytest.approx(metrics.root_mean_squared_error(true, said))
        assert score.r2 == pytest.approx(metrics.r2_score(true, said))
        assert score.median == pytest.approx(metrics.median_absolute_error(true, said))
        assert score.largest == pytest.approx(metrics.max_error(true, said))
        assert score.median < score.p90 < score.largest
    assert tally.scores()[0].bias == pytest.approx(float((outputs - targets)[:, 0].mean()))
    plain = tally.to_plain()["per_number"]
    assert [one["name"] for one in plain] == ["a", "b"]
    _, heads, *rows = [line.text for line in tally.lines()]
    assert heads.split()[:4] == ["samples", "MAE", "RMSE", "R2"]
    assert [row.split()[0] for row in rows] == ["a", "b"]


def test_targets_that_are_all_the_same_have_no_variance() -> None:
    assert math.isnan(score_of("a", torch.ones(3), torch.ones(3)).r2)


def test_of_many_numbers_the_worst_are_shown() -> None:
    size = MOST_ROWS + 5
    tally = Regression(size=size).details(CPU)
    targets = torch.randn(9, size, generator=torch.Generator().manual_seed(0))
    tally.update(targets + torch.arange(size), targets)
    table = tally.table()
    assert table.title == f"The {MOST_ROWS} of {size} numbers with the lowest R2"
    assert len(table.rows) == MOST_ROWS
    assert "0" not in [row[0] for row in table.rows]
    assert tally.lines()[1].text == table.title
    assert NumberTally(("a",)).scores() == []


def test_residuals_are_drawn() -> None:
    task = Regression(size=1)
    details = task.details(CPU)
    targets, outputs = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [2.5]])
    details.update(outputs, targets)
    found = task.findings(details, outputs, targets, "val")
    points, level = found.charts[1].series
    assert (points.x, points.y) == ([2.0, 2.5], [1.0, -0.5])
    assert (level.x, level.y) == ([2.0, 2.5], [0.0, 0.0])


def test_always_the_mean_stands_beside() -> None:
    targets = torch.tensor([[1.0], [3.0]])
    task = Regression(size=1, names=("price",), transform="standardize", mean=(4.0,), std=(2.0,), skewness=(0.0,))
    details = task.details(CPU)
    details.update(targets, targets)
    assert task.findings(details, targets, targets, "val").tables[0].rows == [
        ["price", "2", "0", "0", "1", "0", "0", "0", "0"],
        ["always the mean, 4", "2", "2", "2.236", "-4", "2", "2", "2.8", "3"],
    ]
    logs = task.model_copy(update={"transform": "log", "mean": (0.0,)})
    assert logs.findings(details, targets, targets, "val").tables[0].rows[1][0] == "always the geometric mean, 1"

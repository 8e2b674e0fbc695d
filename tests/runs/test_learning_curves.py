# ruff: noqa: E501  # in a table of messages, a row is a line
"""The rules on recorded histories: what a run's curves are said to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from trainkit.core.records import EpochRecord, EvalRecord, TrainRecord
from trainkit.runs.history import History
from trainkit.runs.learning_curves import Rates, diagnose

# Loss of every epoch, in training and on val: MNIST with the tutorials' network, and runs of digits with one thing changed.
MNIST = ([0.1747, 0.0481, 0.0329], [0.0605, 0.0461, 0.0397])
OVER = ([1.9, 0.82, 0.31, 0.12, 0.041, 0.012, 0.005], [1.1, 0.58, 0.41, 0.36, 0.39, 0.42, 0.47])
LOW_RATE = ([2.31, 2.308, 2.305, 2.303], [2.306, 2.304, 2.302, 2.300])
HIGH_RATE = ([1.2, 0.61, 1.4, 0.58, 0.57, 0.56], [0.7, 0.6, 1.1, 0.6, 0.599, 0.597])
FLAT = ([0.9, 0.4, 0.31, 0.301, 0.3, 0.299], [0.5, 0.33, 0.305, 0.304, 0.3035, 0.303])
NOISE = ([0.9, 0.4, 0.31, 0.3, 0.29, 0.28], [0.5, 0.33, 0.305, 0.31, 0.30, 0.315])


RATES = Rates(1e-3, (1e-6, 1e-2), 1e-3)


def history(train: Sequence[float], val: Sequence[float]) -> History:
    return History(
        (TrainRecord(5, 0.5, train[0], 1e-3, 1.0, 1.0),),
        tuple(EpochRecord(10 * n, n, loss, 1.0, 1.0, 0.0) for n, loss in enumerate(train, 1)),
        tuple(EvalRecord(10 * n, float(n), "val", {"loss": loss}, False, 1.0) for n, loss in enumerate(val, 1)),
    )


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [
        (*MNIST, ["still improving: val/loss fell from 0.0461 to 0.0397; try train.epochs=6"]),
        (
            *OVER,
            [
                "over-fitting since epoch 4: val/loss went from 0.36 up to 0.47, while train/loss fell from 0.12 to 0.005; try train.early_stopping.patience=3, more data, or dropout"
            ],
        ),
        (
            *LOW_RATE,
            [
                "under-fitting: train/loss is 2.3 at the end, guessing costs 2.3; try optimizer.lr=0.01, or more epochs, or a larger model"
            ],
        ),
        (
            *HIGH_RATE,
            [
                "unstable: train/loss went from 0.61 up to 1.4 in epoch 3; try optimizer.lr=0.0003 or train.clip_norm=1",
                "plateau since epoch 4: val/loss stays at 0.597; try scheduler=cosine, or fewer epochs",
            ],
        ),
        (*FLAT, ["plateau since epoch 4: val/loss stays at 0.303; try scheduler=cosine, or fewer epochs"]),
        (*NOISE, []),
    ],
)
def test_what_curves_say(train: list[float], val: list[float], said: list[str]) -> None:
    verdicts = diagnose(
        history(train, val), constant_prediction=2.3026, rates=RATES, longer=f"train.epochs={2 * len(train)}"
    )
    assert list(map(str, verdicts)) == said


def test_without_val_only_the_training_curve_is_judged() -> None:
    assert diagnose(history([2.0, 1.0, 0.5], []), constant_prediction=2.3, rates=RATES, longer="…") == []
    [found] = diagnose(history([2.0, 1.0, 1.9], []), constant_prediction=4.0, rates=RATES, longer="…")
    assert found.kind == "unstable"


def test_where_guessing_is_unknown_the_first_loss_counts() -> None:
    [found] = diagnose(history([50.0, 49.0], [48.0, 48.0]), constant_prediction=None, rates=RATES, longer="…")
    assert str(found).startswith("under-fitting: train/loss is 49 at the end, at the start it was 50;")


def test_a_loss_below_0_is_judged_by_its_size() -> None:
    falling = history([-2.11, -2.1101, -2.1099, -2.1102], [-2.0, -2.01, -2.011, -2.012])
    assert [one.kind for one in diagnose(falling, constant_prediction=0.1, rates=RATES, longer="…")] == ["plateau"]
    jumping = history([-1.0, -2.0, -1.4, -2.1], [-1.0, -2.0, -1.4, -2.5])
    kinds = [one.kind for one in diagnose(jumping, constant_prediction=0.1, rates=RATES, longer="…")]
    assert kinds == ["unstable", "still improving"]


def test_a_loss_of_0_does_not_improve() -> None:
    [found] = diagnose(history([0.0] * 3, [0.0] * 3), constant_prediction=0.0, rates=RATES, longer="…")
    assert str(found) == "plateau since epoch 2: val/loss stays at 0; try scheduler=cosine, or fewer epochs"


def test_a_rate_far_above_what_is_usual_is_no_reason_for_a_higher_rate() -> None:
    high = Rates(1.0, (1e-6, 1e-2), 1e-3)
    for train, val in ([5.0, 6.9], [7.0, 6.99]), ([2.4, 2.31], [2.31, 2.3]):
        [found] = diagnose(history(train, val), constant_prediction=2.3, rates=high, longer="…")[-1:]
        assert (found.kind, found.advice) == ("under-fitting", "optimizer.lr=0.001")


def test_numbers_far_from_0_that_come_nearer_are_no_reason_for_a_lower_rate() -> None:
    [found] = diagnose(history([99.3, 97.8], [98.0, 97.0]), constant_prediction=9.4, rates=RATES, longer="…")
    assert found.advice == "optimizer.lr=0.01, or more epochs, or a larger model"


def test_a_first_epoch_whose_end_was_good_is_no_under_fitting() -> None:
    assert diagnose(history([1.93], [1.143]), constant_prediction=2.3, rates=RATES, longer="…") == []


def test_one_bad_evaluation_is_no_over_fitting() -> None:
    train = [1.0, 0.8, 0.6, 0.5, 0.4]
    assert diagnose(history(train, [0.9, 0.7, 0.6, 0.58, 0.7]), constant_prediction=2.3, rates=RATES, longer="…") == []


@pytest.mark.parametrize(
    ("lr", "factor", "other"),
    [(1e-3, 10, 1e-2), (1e-3, 0.1, 1e-4), (1e-9, 10, 1e-3), (10.0, 0.1, 1e-3), (1e-2, 10, None), (1e-6, 0.1, None)],
)
def test_advised_rates_stay_among_the_usual_ones(lr: float, factor: float, other: float | None) -> None:
    assert Rates(lr, (1e-6, 1e-2), 1e-3).times(factor) == other


def test_a_run_without_records_says_nothing() -> None:
    assert diagnose(History((), (), ()), constant_prediction=None, rates=RATES, longer="…") == []


def test_a_loss_that_rises_with_the_rate_is_not_unstable() -> None:
    steps = [(0.5, 1e-2), (1.5, 1e-3), (2.5, 1e-2), (3.5, 1e-4)]
    losses = [1.0, 0.5, 0.9, 0.4]
    told = history(losses, [])
    again = replace(told, steps=tuple(TrainRecord(5, epoch, 1.0, lr, 1.0, 1.0) for epoch, lr in steps))
    kinds = [verdict.kind for verdict in diagnose(again, constant_prediction=2.0, rates=RATES, longer="")]
    assert kinds == []
    assert [one.kind for one in diagnose(told, constant_prediction=2.0, rates=RATES, longer="")] == ["unstable"]

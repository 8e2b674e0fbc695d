# ruff: noqa: E501  # in a table of messages, a row is a line
"""The rules on recorded histories: what a run's curves are said to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from trainkit.core.records import EpochRecord, EvalRecord, TrainRecord
from trainkit.runs.history import History
from trainkit.runs.learning_curves import Rates, diagnose, diverged, longer_helps, no_better
from trainkit.training.yardstick import Yardstick

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
                "under-fitting: train/loss is 2.3 at the end, the baseline loss 2.3 (constant prediction); try optimizer.lr=0.01, or more epochs, or a larger model"
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
    verdicts = diagnose(history(train, val), baseline_loss=2.3026, rates=RATES, longer=f"train.epochs={2 * len(train)}")
    assert list(map(str, verdicts)) == said


def test_without_val_only_the_training_curve_is_judged() -> None:
    assert diagnose(history([2.0, 1.0, 0.5], []), baseline_loss=2.3, rates=RATES, longer="…") == []
    [found] = diagnose(history([2.0, 1.0, 1.9], []), baseline_loss=4.0, rates=RATES, longer="…")
    assert found.kind == "unstable"


def test_where_the_baseline_loss_is_unknown_the_first_loss_counts() -> None:
    [found] = diagnose(history([50.0, 49.0], [48.0, 48.0]), baseline_loss=None, rates=RATES, longer="…")
    assert str(found).startswith("under-fitting: train/loss is 49 at the end, at the start it was 50;")


def test_a_loss_below_0_is_judged_by_its_size() -> None:
    falling = history([-2.11, -2.1101, -2.1099, -2.1102], [-2.0, -2.01, -2.011, -2.012])
    assert [one.kind for one in diagnose(falling, baseline_loss=0.1, rates=RATES, longer="…")] == ["plateau"]
    jumping = history([-1.0, -2.0, -1.4, -2.1], [-1.0, -2.0, -1.4, -2.5])
    kinds = [one.kind for one in diagnose(jumping, baseline_loss=0.1, rates=RATES, longer="…")]
    assert kinds == ["unstable", "still improving"]


def test_a_loss_of_0_does_not_improve() -> None:
    [found] = diagnose(history([0.0] * 3, [0.0] * 3), baseline_loss=0.0, rates=RATES, longer="…")
    assert str(found) == "plateau since epoch 2: val/loss stays at 0; try scheduler=cosine, or fewer epochs"


def test_a_rate_far_above_what_is_usual_is_no_reason_for_a_higher_rate() -> None:
    high = Rates(1.0, (1e-6, 1e-2), 1e-3)
    for train, val in ([5.0, 6.9], [7.0, 6.99]), ([2.4, 2.31], [2.31, 2.3]):
        [found] = diagnose(history(train, val), baseline_loss=2.3, rates=high, longer="…")[-1:]
        assert (found.kind, found.advice) == ("under-fitting", "optimizer.lr=0.001")


def test_numbers_far_from_0_that_come_nearer_are_no_reason_for_a_lower_rate() -> None:
    [found] = diagnose(history([99.3, 97.8], [98.0, 97.0]), baseline_loss=9.4, rates=RATES, longer="…")
    assert found.advice == "optimizer.lr=0.01, or more epochs, or a larger model"


def test_a_first_epoch_whose_end_was_good_is_no_under_fitting() -> None:
    assert diagnose(history([1.93], [1.143]), baseline_loss=2.3, rates=RATES, longer="…") == []


def test_one_bad_evaluation_is_no_over_fitting() -> None:
    train = [1.0, 0.8, 0.6, 0.5, 0.4]
    assert diagnose(history(train, [0.9, 0.7, 0.6, 0.58, 0.7]), baseline_loss=2.3, rates=RATES, longer="…") == []


@pytest.mark.parametrize(
    ("lr", "factor", "other"),
    [(1e-3, 10, 1e-2), (1e-3, 0.1, 1e-4), (1e-9, 10, 1e-3), (10.0, 0.1, 1e-3), (1e-2, 10, None), (1e-6, 0.1, None)],
)
def test_advised_rates_stay_among_the_usual_ones(lr: float, factor: float, other: float | None) -> None:
    assert Rates(lr, (1e-6, 1e-2), 1e-3).times(factor) == other


def test_a_run_without_records_says_nothing() -> None:
    assert diagnose(History((), (), ()), baseline_loss=None, rates=RATES, longer="…") == []


def test_a_loss_that_rises_with_the_rate_is_not_unstable() -> None:
    steps = [(0.5, 1e-2), (1.5, 1e-3), (2.5, 1e-2), (3.5, 1e-4)]
    losses = [1.0, 0.5, 0.9, 0.4]
    told = history(losses, [])
    again = replace(told, steps=tuple(TrainRecord(5, epoch, 1.0, lr, 1.0, 1.0) for epoch, lr in steps))
    kinds = [verdict.kind for verdict in diagnose(again, baseline_loss=2.0, rates=RATES, longer="")]
    assert kinds == []
    assert [one.kind for one in diagnose(told, baseline_loss=2.0, rates=RATES, longer="")] == ["unstable"]


def test_losses_that_stay_far_above_the_start_have_diverged() -> None:
    """Not over-fitting, though validation loss has risen while training loss fell."""
    spoiled = with_steps(history([90.0, 30.0, 9.0, 8.0, 7.0], [6.0, 30.0, 31.0, 32.0, 33.0]), first=2.4)
    [found] = diagnose(spoiled, baseline_loss=2.3, rates=RATES, longer="…")
    assert (found.kind, found.advice) == ("diverged", "optimizer.lr=0.0003 or train.clip_norm=1")
    assert found.seen == (
        ": train/loss is never below 7 in the second half of the run: it began with 2.4, a constant prediction costs 2.3"
    )


@pytest.mark.parametrize(
    ("train", "val", "first", "baseline", "said"),
    [
        ([3.0, 3.0, 2.6, 2.5], [90.0, 80.0, 70.0, 60.0], 2.4, 2.3, "val/loss is never below 60"),
        ([3.0, 0.6, 0.5, 0.4], [90.0, 80.0, 70.0, 60.0], 2.4, 2.3, None),  # it has learned: that is over-fitting
        ([90.0, 30.0, 9.0, 8.0], [], 95.0, 2.3, None),  # it began far above, and comes down
        ([90.0, 30.0, 9.0, 8.0], [], 2.4, None, None),
        ([90.0, 30.0, 9.0, 8.0], [], 2.4, -1.0, None),
        ([90.0, 30.0], [], 2.4, 2.3, None),  # too short to tell
    ],
)
def test_what_has_diverged(
    train: list[float], val: list[float], first: float, baseline: float | None, said: str | None
) -> None:
    seen = diverged(with_steps(history(train, val), first=first), baseline, first)
    assert (seen or "").startswith(said or "")
    assert (seen is None) == (said is None)


def with_steps(told: History, first: float) -> History:
    """With two records of an epoch, after the first step."""
    losses = [(epoch.epoch - late, epoch.loss) for epoch in told.epochs for late in (0.5, 0.0)]
    steps = [TrainRecord(1, 0.1, first, 1e-3, 1.0, 1.0)]
    steps += [TrainRecord(round(10 * epoch), epoch, loss, 1e-3, 1.0, 1.0) for epoch, loss in losses]
    return replace(told, steps=tuple(steps))


def test_epochs_of_few_steps_jump_by_chance() -> None:
    losses = [1.1, 0.5, 0.62, 0.4, 0.51, 0.3, 0.38, 0.2, 0.27, 0.2, 0.25, 0.15]
    short = replace(
        history(losses, []),
        epochs=tuple(EpochRecord(3 * n, n, loss, 1.0, 1.0, 0.0) for n, loss in enumerate(losses, 1)),
    )
    assert diagnose(short, baseline_loss=1.1, rates=RATES, longer="…") == []
    [found] = diagnose(history(losses, []), baseline_loss=1.1, rates=RATES, longer="…")
    assert found.kind == "unstable"
    high = [1.0, 0.5, 0.4, 0.4] + [2.0] * 4
    rising = replace(short, epochs=tuple(EpochRecord(3 * n, n, loss, 1.0, 1.0, 0.0) for n, loss in enumerate(high, 1)))
    assert [one.kind for one in diagnose(rising, baseline_loss=4.0, rates=RATES, longer="…")] == ["unstable"]


def test_what_still_gets_better_by_the_monitored_metric_does_not_over_fit() -> None:
    told = history(*OVER)
    better = replace(told, evals=(*told.evals[:-1], replace(told.evals[-1], best=True)))
    assert diagnose(better, baseline_loss=2.3, rates=RATES, longer="…") == []


def test_over_fitting_that_has_stopped_the_run_is_not_to_be_stopped_earlier() -> None:
    [found] = diagnose(history(*OVER), baseline_loss=2.3, rates=RATES, longer="…", stopping=True)
    assert found.advice == "more data, or dropout"


@pytest.mark.parametrize(
    ("curves", "helps"),
    [(MNIST, True), (OVER, False), (LOW_RATE, True), (HIGH_RATE, False), (FLAT, False), (NOISE, True)],
)
def test_a_longer_run_is_offered_where_that_goes_with_the_diagnosis(
    curves: tuple[list[float], list[float]], helps: bool
) -> None:
    assert longer_helps(diagnose(history(*curves), baseline_loss=2.3026, rates=RATES, longer="…")) == helps
    high = Rates(1.0, (1e-6, 1e-2), 1e-3)
    assert not longer_helps(diagnose(history([2.4, 2.31], [2.31, 2.3]), baseline_loss=2.3, rates=high, longer="…"))


def test_no_better_than_a_constant_prediction() -> None:
    constant = Yardstick(71, 62.96, "always the median, 143")
    [found] = no_better({"val/mae": 63.1}, {"val/mae": constant}, "mae", "min", "trainkit doctor c.yaml")
    assert str(found) == (
        "no better than a constant prediction: val/mae 63.1, where it gives 62.96 (always the median, 143); "
        "try trainkit doctor c.yaml"
    )
    assert not longer_helps([found])
    assert no_better({"val/mae": 62.0}, {"val/mae": constant}, "mae", "min", "…") == []
    by_chance = Yardstick(287, 0.0871, "always '3'", 0.0771, 0.1492)
    [found] = no_better({"test/accuracy": 0.108}, {"test/accuracy": by_chance}, "accuracy", "max", "…")
    assert found.seen == (": test/accuracy 10.80 % (95 % interval 7.71 to 14.92 %), where it gives 8.71 % (always '3')")
    assert no_better({"val/own": 0.1}, {"val/own": Yardstick(9)}, "own", "max", "…") == []


@pytest.mark.parametrize(
    ("train", "val", "kinds"),
    [
        ([2.3, 1.7, 2.5, 1.8, 2.4, 1.9], [2.2, 1.8, 2.4, 1.9, 2.3, 2.0], ["unstable", "under-fitting"]),
        ([2.3, 3.0, 3.3, 3.4, 3.4, 3.4], [2.5, 3.0, 3.4, 3.5, 3.5, 3.5], ["unstable", "under-fitting"]),
        ([1.0, 0.5, 0.9, 0.5, 0.8, 0.3], [1.0, 0.6, 0.8, 0.5, 0.7, 0.3], ["unstable", "still improving"]),
    ],
)
def test_beside_unstable_no_higher_rate_and_no_longer_run(
    train: list[float], val: list[float], kinds: list[str]
) -> None:
    found = diagnose(history(train, val), baseline_loss=2.3 if train[0] > 2 else 1.5, rates=RATES, longer="epochs=20")
    assert [one.kind for one in found] == kinds
    assert [one.advice for one in found] == ["optimizer.lr=0.0003 or train.clip_norm=1", "that first"]
    assert not longer_helps(found)


def test_a_noisy_val_split_does_not_over_fit() -> None:
    train = [1.8, 1.2, 0.9, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.17, 0.15, 0.13]
    noisy = [1.9, 1.2, 1.0, 0.5, 0.62, 0.3, 0.5, 0.31, 0.52, 0.33, 0.5, 0.36]
    assert diagnose(history(train, noisy), baseline_loss=2.3, rates=RATES, longer="…") == []
    rising = [1.9, 1.2, 1.0, 0.5, 0.42, 0.3, 0.33, 0.36, 0.4, 0.43, 0.47, 0.5]
    [found] = diagnose(history(train, rising), baseline_loss=2.3, rates=RATES, longer="…")
    assert found.kind == "over-fitting"

"""What a sweep's page says of its points, axes and failures, by hand."""

from __future__ import annotations

from pathlib import Path

from trainkit.reports.sweep_page import Point, lost, mattered, verdict
from trainkit.runs.reader import Run, Sweep


def point(name: str, *values: float) -> Point:
    return Point(name, Run(Path(name), "finished"), {str(seed): value for seed, value in enumerate(values)})


def test_the_lead_is_held_against_the_seeds() -> None:
    first, second = point("lr=1", 0.9, 0.8, 0.7), point("lr=2", 0.88, 0.79, 0.72)
    assert verdict("val/accuracy", "max", [first, second]) == [
        "Ahead of the next, lr=2, by 0.33 percentage points on average, and better with 2 of 3 seeds.",
        "Its standard deviation over the seeds is 2.08 percentage points, more than the lead: it may be chance.",
    ]
    assert verdict("val/mae", "min", [point("lr=1", 1.0, 2.0), point("lr=2", 3.0, 4.5), second])[1:] == [
        "Its standard deviation over the seeds is 0.3536, less than the lead."
    ]
    assert verdict("val/mae", "min", [point("lr=1", 1.0), point("lr=2", 3.0)]) == [
        "Ahead of the next, lr=2, by 2, with one seed each. How much of that is chance, an axis seed=0,1,2 would tell."
    ]
    assert verdict("val/mae", "min", [first]) == []


def trial(number: int, status: str, reason: str = "", **metrics: float) -> Run:
    path = Path(f"{number:03d}")
    return Run(
        path, status, f"{path}: {reason}" if reason else "", {f"val/{name}": one for name, one in metrics.items()}
    )


def test_the_axis_that_moves_the_mean_most_comes_first() -> None:
    grid = [(lr, width) for lr in (0.1, 0.2) for width in (8, 16)]
    values = {Path(f"{number:03d}"): {"lr": lr, "width": width} for number, (lr, width) in enumerate(grid)}
    trials = [trial(0, "finished", mae=1.0), trial(1, "finished", mae=5.0), trial(2, "finished", mae=2.0)]
    sweep = Sweep(Path("s"), "finished", monitor="val/mae", mode="min", trials=tuple(trials))
    assert mattered(sweep, trials, values, {"lr": [0.1, 0.2], "width": [8, 16]}).rows == [
        ["width", "3.5", "8: 1.5, 16: 5"],
        ["lr", "1", "0.2: 2, 0.1: 3"],
    ]


def test_what_failed_is_told_once_with_what_it_shares() -> None:
    grid = [(lr, seed) for lr in (0.1, 9.0) for seed in (0, 1)]
    values = {Path(f"{number:03d}"): {"lr": lr, "seed": seed} for number, (lr, seed) in enumerate(grid)}
    rest = [trial(1, "failed", "no room"), trial(2, "diverged", "lost"), trial(3, "diverged"), trial(0, "waiting")]
    assert list(lost(rest, values)) == [
        ("1 trial failed", [("001 failed lr=0.1 seed=1", "no room")]),
        (
            "2 trials diverged, all of them with lr=9.0",
            [("002 diverged lr=9.0 seed=0", "lost"), ("003 diverged lr=9.0 seed=1", "")],
        ),
    ]

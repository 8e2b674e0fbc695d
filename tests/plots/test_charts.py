from __future__ import annotations

from trainkit.plots.charts import against, wide


def test_wide_numbers_get_a_logarithmic_axis() -> None:
    assert wide([1e-4, 1.0])
    assert not wide([0.0, 1.0])
    assert not wide([float("nan")])


def test_trials_against_an_axis() -> None:
    trials = [(0.1, 3.0), (0.01, 5.0), (0.1, 1.0)]
    dots, mean, lost = against(trials, [1.0])
    assert (dots.x, dots.y) == ([0.01, 0.1, 0.1], [5, 3, 1])
    assert (mean.x, mean.y) == ([0.01, 0.1], [5, 2])
    assert (lost.x, lost.kind) == ([1.0], "crosses")
    assert [series.name for series in against(trials, [], means=False)] == ["one trial"]

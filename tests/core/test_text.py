from __future__ import annotations

from trainkit.core.text import written_out


def test_numbers_are_written_out() -> None:
    assert written_out("2.838e+04 (always the median, -3.862e+05)") == "28,380 (always the median, -386,200)"
    assert written_out("3.55e+03 1e+06") == "3,550 1,000,000"
    assert written_out("6.297e+08 -2.16e-05 1e+38 0.01 1e+031") == "6.297e+08 -2.16e-05 1e+38 0.01 1e+031"

from __future__ import annotations

import numpy as np
import pytest

from trainkit.data.images.bit_depth import Spread, eight_bits, spread, together


@pytest.mark.parametrize(
    ("values", "limits", "levels"),
    [
        (np.arange(256, dtype=np.uint16), (0, 255), list(range(256))),
        (np.array([0, 255, 256, 4095], dtype=np.uint16), (0, 4095), [0, 15, 16, 255]),
        (np.array([0, 255, 256, 65535], dtype=np.uint16), (0, 65535), [0, 0, 1, 255]),
        (np.array([-1025, -1024, 1023, 3071, 3072], dtype=np.int32), (-1024, 3071), [0, 0, 127, 255, 255]),
        (np.array([-0.1, 0.0, 0.5, 1.0, 9.0], dtype=np.float32), (0, 1), [0, 0, 128, 255, 255]),
        (np.array([np.nan, np.inf, -np.inf], dtype=np.float32), (0, 1), [0, 255, 0]),
    ],
)  # fmt: skip
def test_steps_of_equal_width(values: np.ndarray, limits: tuple[float, float], levels: list[int]) -> None:
    assert eight_bits(values, limits).tolist() == levels


def test_a_picture_s_spread_and_that_of_several() -> None:
    values = np.full(10_000, 500, dtype=np.uint16)
    values[:100], values[0] = 100, 65535
    one = spread(values)
    assert one == Spread(100, 65535, 100, 500)
    assert one.usual_levels == 2
    other = spread(np.array([0.5, np.nan, 700.0], dtype=np.float32))
    assert other is not None
    assert together([one, other]).limits == (0.5, 65535)
    assert spread(np.full(3, np.nan, dtype=np.float32)) is None


def test_pictures_of_one_value_have_limits() -> None:
    one = spread(np.full(9, 7, dtype=np.uint16))
    assert one is not None
    assert one.limits == (7, 8)

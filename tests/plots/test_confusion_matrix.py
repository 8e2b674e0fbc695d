from __future__ import annotations

import numpy as np
import pytest

from trainkit.plots.confusion_matrix import confusion_picture, strengths


def test_mistakes_are_the_stronger_the_commoner_they_are() -> None:
    found = strengths([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    assert found.round(2).tolist() == [[0.8, 0.8, 0], [0.57, 0.9, 0], [0, 0, 0]]


@pytest.mark.parametrize("size", [2, 12, 24, 48, 128, 256, 400])
def test_confusion_pictures_of_any_size(size: int) -> None:
    counts = [[7 if row == column else int(column == 0) for column in range(size)] for row in range(size)]
    image = confusion_picture("title", counts, [f"class {number}" for number in range(size)])
    assert image.mode == "RGB"
    assert max(image.size) < 2100


@pytest.mark.parametrize("size", [1, 2, 10])
def test_a_long_title_is_not_cut(size: int) -> None:
    title = "Val split, 123,456 samples. Rows: the true class. Columns: the predicted class"
    picture = np.asarray(confusion_picture(title, [[1] * size] * size, ["cat"] * size))
    assert (picture[:, [0, 1, -2, -1]] == 255).all()

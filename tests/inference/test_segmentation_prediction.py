"""Masks of new pictures: at the picture's own size, whatever was done to it on its way to the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from trainkit.core.view import View
from trainkit.data.images.decoding import PictureSource, Resize
from trainkit.data.images.views import fitted_view, view_of
from trainkit.data.transforms.pipeline import fitted
from trainkit.tasks import Segmentation
from trainkit.tasks.segmentation import MaskPrediction, mask_of

HALVES = Segmentation(size=2, names=("dark", "bright"))


def halves(width: int, height: int, at: float) -> Image.Image:
    """Dark, and bright from a share of the width on."""
    picture = Image.new("L", (width, height))
    picture.paste(255, (round(at * width), 0, width, height))
    return picture


@pytest.mark.parametrize("size", [(64, 64), (200, 60), (60, 200), (17, 23), (31, 90)])
@pytest.mark.parametrize(
    ("resize", "crop_pct"), [("crop", 1.0), ("crop", 0.8), ("pad", 1.0), ("stretch", 1.0)], ids=str
)
def test_a_mask_lies_where_the_picture_is(
    size: tuple[int, int], resize: Resize, crop_pct: float, tmp_path: Path
) -> None:
    """What a model says of each pixel of its input comes back to the same place, and what was cut is ignored."""
    width, height = size
    column, row = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    picture = (((column < 0.5 * width) != (row < 0.4 * height)) * 255).to(torch.uint8)
    Image.fromarray(picture.numpy()).save(tmp_path / "x.png")
    source = PictureSource(tmp_path, ["x.png"], torch.zeros(1), "grey", 64, 64, crop_pct, resize)
    pixels, _ = source.decode([0])
    view = view_of(source, (height, width))
    logits = torch.cat([128 - pixels[0].float(), pixels[0].float() - 128])
    mask = mask_of(logits, view, 255)
    assert mask.shape == (height, width)
    seen = mask != 255
    wrong = seen & (mask != (picture > 128))
    assert int(wrong.sum()) <= 0.06 * height * width  # at the edges of the four fields
    if resize != "crop":
        assert seen.all()
    elif crop_pct == 1:
        assert int(seen.sum()) == pytest.approx(min(size) ** 2, rel=0.05)


@pytest.mark.parametrize("size", [(20, 40), (50, 33), (64, 64)])
def test_the_view_of_a_picture_that_is_fitted_in_memory(size: tuple[int, int]) -> None:
    picture = torch.zeros(1, 1, *size, dtype=torch.uint8)
    picture[..., size[1] // 2 :] = 255
    small = fitted(picture, (1, 32, 32))[0].float()
    mask = mask_of(torch.cat([128 - small, small - 128]), fitted_view(size, (1, 32, 32)), 255)
    right = (mask == (picture[0, 0] > 128)) | (mask == 255)
    assert right.float().mean() > 0.94


def test_a_view_of_a_view() -> None:
    """The middle half of the left half."""
    left = View((10, 20), 0.0, 0.0, 10.0, 10.0)
    assert left.then(View((100, 100), 25.0, 25.0, 50.0, 50.0)) == View((10, 20), 2.5, 2.5, 5.0, 5.0)
    assert View.whole((10, 20)).then(View.whole((7, 7))) == View.whole((10, 20))


def test_logits_are_interpolated_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, view = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)), View.whole((50, 40))
    whole = mask_of(logits, view, 255)
    monkeypatch.setattr("trainkit.tasks.segmentation.MOST_NUMBERS", 3 * 40 * 7)
    assert torch.equal(mask_of(logits, view, 255), whole)
    # As torch interpolates.
    larger = nn.functional.interpolate(logits[None], (50, 40), mode="bilinear")[0].argmax(0)
    assert (larger == whole).float().mean() > 0.99


def test_what_is_said_of_a_picture() -> None:
    logits = torch.tensor([[[1.0, 0, 0]], [[0, 1, 1]]])[None]
    [plain] = HALVES.predictions(["x.png"], logits)
    assert isinstance(plain, MaskPrediction)
    assert plain.mask.tolist() == [[0, 1, 1]]
    assert plain.answer == ("bright", "dark")
    assert plain.to_plain() == {
        "input": "x.png",
        "mask": None,
        "classes": ("bright", "dark"),
        "shares": {"dark": 1 / 3, "bright": 2 / 3},
    }
    assert HALVES.cells(plain, None, every=False) == ["", "bright 66.67 %, dark 33.33 %"]
    assert HALVES.heads(None, every=True) == ["mask", "dark", "bright"]


def test_files_are_indexed_masks_and_overlays() -> None:
    [said] = HALVES.predictions_in(["x"], torch.zeros(1, 2, 2, 2), [View((2, 3), 0.0, 0.0, 2.0, 2.0)])
    assert said.mask.tolist() == [[0, 0, 255]] * 2
    [mask] = HALVES.files(said, None).values()
    assert isinstance(mask, Image.Image)
    assert mask.mode == "P"
    assert np.asarray(mask).tolist() == said.mask.tolist()
    assert mask.convert("RGB").getpixel((2, 0)) == (224, 224, 192)
    both = HALVES.files(said, Image.new("RGB", (3, 2), (100, 0, 0)))
    assert [*both] == [".png", "_overlay.jpg"]
    overlay = both["_overlay.jpg"]
    assert isinstance(overlay, Image.Image)
    assert overlay.getpixel((0, 0)) == (50, 0, 0)

"""Which part of a picture in a file a model sees, by the ways in which pictures are brought to one size."""

from __future__ import annotations

from trainkit.core.view import View
from trainkit.data.images.decoding import PictureSource


def view_of(pictures: PictureSource, size: tuple[int, int]) -> View:
    """What is left of a picture of this height and width as a source decodes it: as Pillow's `fit`, `pad` or
    `resize`."""
    height, width = size
    if pictures.resize == "stretch":
        return View.whole(size)
    if pictures.resize == "pad":
        wide = width * pictures.height > height * pictures.width
        shown_width = pictures.width if wide else round(width / height * pictures.height)
        shown_height = round(height / width * pictures.width) if wide else pictures.height
        down, right = height / shown_height, width / shown_width  # the picture's pixels in one of the model's
        top, left = round((pictures.height - shown_height) / 2), round((pictures.width - shown_width) / 2)
        return View(size, -top * down, -left * right, pictures.height * down, pictures.width * right)
    kept_height, kept_width = pictures.crop_pct * height, pictures.crop_pct * width
    shape = pictures.width / pictures.height
    if kept_width >= shape * kept_height:
        kept_width = shape * kept_height
    else:
        kept_height = kept_width / shape
    return View(size, (height - kept_height) / 2, (width - kept_width) / 2, kept_height, kept_width)


def fitted_view(size: tuple[int, int], shape: tuple[int, ...]) -> View:
    """What is left of a picture of this height and width that is `fitted` to a shape."""
    (old_height, old_width), (height, width) = size, shape[-2:]
    factor = max(height / old_height, width / old_width)
    covering = (max(height, round(old_height * factor)), max(width, round(old_width * factor)))
    down, right = old_height / covering[0], old_width / covering[1]
    top, left = round((covering[0] - height) / 2), round((covering[1] - width) / 2)
    return View(size, top * down, left * right, height * down, width * right)

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

"""How a camera or a scanner has stored a picture: turned, or as it is shown."""

from __future__ import annotations

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile

LYING = (5, 6, 7, 8)
"""With these EXIF orientations, a picture's height and width are swapped."""


def orientation(picture: Image.Image) -> int:
    """What EXIF says of it; 1 where it is stored as it is shown."""
    # Pillow would decode a whole PNG to see whether EXIF follows the pixels.
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    return int(picture.getexif().get(ExifTags.Base.Orientation, 1))


def stored_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height of a picture in its file: of a TIFF, Pillow (from 11.0 on) gives those that it is shown with."""
    if isinstance(picture, TiffImageFile):
        return picture.tag_v2[ExifTags.Base.ImageWidth], picture.tag_v2[ExifTags.Base.ImageLength]
    return picture.size


def shown_size(picture: Image.Image) -> tuple[int, int]:
    """Height and width of a picture as it is shown."""
    width, height = stored_size(picture)
    return (width, height) if orientation(picture) in LYING else (height, width)


def is_scrambled(picture: Image.Image) -> bool:
    """Whether Pillow (from 11.0 on) would take the rows of a turned TIFF for as long as they are to become."""
    is_raw = isinstance(picture, TiffImageFile) and bool(picture.tile) and picture.tile[0][0] == "raw"
    return is_raw and picture.size != stored_size(picture)

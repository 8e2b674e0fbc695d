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


def is_scrambled(picture: Image.Image) -> bool:
    """Whether Pillow (from 11.0 on) would take the rows of a turned TIFF for as long as they are to become."""
    if not isinstance(picture, TiffImageFile) or not picture.tile or picture.tile[0][0] != "raw":
        return False
    return picture.size != (picture.tag_v2[ExifTags.Base.ImageWidth], picture.tag_v2[ExifTags.Base.ImageLength])

"""A kind of data source a file. Importing this registers them all."""

from trainkit.data.sources import (
    digits_segmentation,
    image_folder,
    image_list,
    segmentation_folder,
    sklearn,
    synthetic,
    table,
    tensors,
    text_folder,
    torchvision,
)

__all__ = [
    "digits_segmentation",
    "image_folder",
    "image_list",
    "segmentation_folder",
    "sklearn",
    "synthetic",
    "table",
    "tensors",
    "text_folder",
    "torchvision",
]

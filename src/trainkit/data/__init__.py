"""Where samples come from. Importing this registers every source and transform that trainkit ships."""

from trainkit.data import (
    augment,
    colour,
    digits,
    embedded_tables,
    mixing,
    picture_folders,
    picture_lists,
    rand_augment,
    synthetic,
    tables,
    tensors,
    transforms,
    vision,
)
from trainkit.data.base import Batch, Data, DataConfig, DataSpec, Kind, Source, Split, TargetSpec, TensorSource
from trainkit.data.own import register_dataset

__all__ = [
    "Batch",
    "Data",
    "DataConfig",
    "DataSpec",
    "Kind",
    "Source",
    "Split",
    "TargetSpec",
    "TensorSource",
    "augment",
    "colour",
    "digits",
    "embedded_tables",
    "mixing",
    "picture_folders",
    "picture_lists",
    "rand_augment",
    "register_dataset",
    "synthetic",
    "tables",
    "tensors",
    "transforms",
    "vision",
]

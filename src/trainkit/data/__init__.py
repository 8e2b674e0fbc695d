"""Where samples come from. Importing this registers every source and transform that trainkit ships."""

from trainkit.data import inputs, sources, transforms
from trainkit.data.base import Batch, Data, DataConfig, Source, Split, TensorSource
from trainkit.data.sources.custom import register_dataset
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.own import register_transform

__all__ = [
    "Batch",
    "Data",
    "DataConfig",
    "DataSpec",
    "Source",
    "Split",
    "TensorSource",
    "inputs",
    "register_dataset",
    "register_transform",
    "sources",
    "transforms",
]

"""Where samples come from. Importing this registers every source and transform that trainkit ships."""

from trainkit.data import sources, transforms
from trainkit.data.base import Batch, Data, DataConfig, Source, Split, TensorSource
from trainkit.data.sources.custom import register_dataset
from trainkit.data.spec import DataSpec, Kind, TargetSpec

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
    "register_dataset",
    "sources",
    "transforms",
]

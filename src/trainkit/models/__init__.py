"""Architectures. Importing this registers every model that trainkit ships."""

from trainkit.models import cnn, embedding, layers, mlp, rnn, sequential, table, transformer  # isort: skip  # as listed
from trainkit.models import unet, library, torchvision_segmentation  # isort: skip
from trainkit.models.base import ModelConfig, register_model
from trainkit.models.layers import register_layer

__all__ = [
    "ModelConfig",
    "cnn",
    "embedding",
    "layers",
    "library",
    "mlp",
    "register_layer",
    "register_model",
    "rnn",
    "sequential",
    "table",
    "torchvision_segmentation",
    "transformer",
    "unet",
]

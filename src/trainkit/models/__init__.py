"""Architectures. Importing this registers every model that trainkit ships."""

from trainkit.models import cnn, mlp
from trainkit.models.base import ModelConfig, register_model

__all__ = ["ModelConfig", "cnn", "mlp", "register_model"]

"""What happens to a batch on its way to the model. Importing this registers every transform."""

from trainkit.data.transforms import color, geometric, mixup, pipeline, rand_augment

__all__ = ["color", "geometric", "mixup", "pipeline", "rand_augment"]

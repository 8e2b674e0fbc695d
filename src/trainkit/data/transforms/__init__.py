"""What happens to a batch on its way to the model. Importing this registers every transform, crops and flips first."""

from trainkit.data.transforms import geometric

# isort: split
from trainkit.data.transforms import color, mixup, pipeline, rand_augment

__all__ = ["color", "geometric", "mixup", "pipeline", "rand_augment"]

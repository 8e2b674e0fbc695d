"""What is predicted: one room for each task. Importing this registers every task that trainkit has."""

from torch import Tensor

from trainkit.core.nest import Nest
from trainkit.tasks.base import Details, Findings, Kind, Line, Prediction, TargetError, Task, task_class
from trainkit.tasks.classification import Classification
from trainkit.tasks.multilabel import MultiLabel
from trainkit.tasks.regression import Regression
from trainkit.tasks.segmentation import Segmentation

__all__ = [
    "Classification",
    "Details",
    "Findings",
    "Kind",
    "Line",
    "MultiLabel",
    "Prediction",
    "Regression",
    "Segmentation",
    "TargetError",
    "Task",
    "suited_to",
    "task_class",
]


def suited_to(targets: Nest) -> type[Task]:
    """The task that targets of which nothing is said are probably for: of tensors (n,) or (n, size) one of trainkit's,
    of other nests none that is known."""
    if not isinstance(targets, Tensor):
        return Task
    if targets.ndim == 2 and bool(((targets == 0) | (targets == 1)).all()):
        return MultiLabel
    return Regression if targets.ndim == 2 or targets.is_floating_point() else Classification

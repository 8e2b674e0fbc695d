"""What is predicted: one room for each task. Importing this registers every task that trainkit has."""

from torch import Tensor

from trainkit.core.nest import Nest
from trainkit.tasks.base import TargetError, Task
from trainkit.tasks.classification import Classification
from trainkit.tasks.findings import Details, Findings, Line, Table
from trainkit.tasks.kind import Kind, task_class
from trainkit.tasks.multilabel import MultiLabel
from trainkit.tasks.prediction import Cell, Prediction
from trainkit.tasks.regression import Regression
from trainkit.tasks.segmentation import Segmentation

__all__ = [
    "Cell",
    "Classification",
    "Details",
    "Findings",
    "Kind",
    "Line",
    "MultiLabel",
    "Prediction",
    "Regression",
    "Segmentation",
    "Table",
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

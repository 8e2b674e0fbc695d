"""What tasks were before they were tasks: kinds of targets, as checkpoints and modules of trainkit 0.1 know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainkit.tasks.base import Task
from trainkit.tasks.kind import current_name, task_class


def task_of(target: Any) -> Any:
    """The plain data of the task that a target in plain data was; anything else stays as it is."""
    if not isinstance(target, Mapping):
        return target
    flat = dict(target)
    name = current_name(flat.pop("kind", None))
    known = task_class(str(name)).model_fields
    # Every target had room for what only some have.
    flat = {key: value for key, value in flat.items() if key in known or value not in (None, (), [], "none", 0)}
    return {"name": name, **flat}


def TargetSpec(kind: str, **values: Any) -> Task:  # noqa: N802
    """The earlier name of all tasks: use `Classification`, `MultiLabel` or `Regression`."""
    return task_class(str(current_name(kind)))(**values)

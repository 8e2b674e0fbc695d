"""The spec of a data set: what its inputs are and what is asked of a model, from which a model gets its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import ValidationInfo, model_validator

from trainkit.config.base import Component, Config
from trainkit.data.images.bit_depth import Limits
from trainkit.data.inputs import InputKind, Numbers, Pictures, Sequences
from trainkit.data.tables.columns import Column
from trainkit.tasks import Task
from trainkit.tasks.earlier import task_of


class DataSpec(Config):
    """What the data tells the model, and what evaluation needs to treat new samples like the training ones.

    `DataSpec(shape=(3, 32, 32), image=True, task=…)` is short for one with an input kind: `Pictures` with `image`,
    `Sequences` with `padded`, else `Numbers`, of which the other arguments are.
    """

    input: Annotated[InputKind, Component("input")]
    """What an input is."""
    task: Annotated[Task, Component("task")]
    """What is to be predicted."""

    @model_validator(mode="before")
    @classmethod
    def _in_two_parts(cls, given: Any, info: ValidationInfo) -> Any:
        """From the short form, which is also that of checkpoints from before there were tasks."""
        if not isinstance(given, Mapping) or "input" in given:
            return given
        flat = dict(given)
        parts = {"task": task_of(flat.pop("target")) if "target" in flat else flat.pop("task", None)}
        image, padded = flat.pop("image", False), flat.pop("padded", False)
        kind = Pictures if image else Sequences if padded else Numbers
        flat = {
            key: value for key, value in flat.items() if key in kind.model_fields or value not in (None, (), [], False)
        }
        parts["input"] = {"name": kind.model_fields["name"].default, **flat} if info.mode == "json" else kind(**flat)
        return parts

    @property
    def shape(self) -> tuple[int, ...]:
        """One input, as the model sees it: (channels, height, width), (length, features) or (features,)."""
        return self.input.shape

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of a file of rows, in the order of their inputs; empty for other data."""
        return self.input.columns if isinstance(self.input, Numbers) else ()

    @property
    def range(self) -> Limits | None:
        """Of pictures in files with more than 8 bits a pixel: the values that are black and white."""
        return self.input.range if isinstance(self.input, Pictures) else None

    @property
    def target(self) -> Task:
        """The task, as modules for trainkit 0.1 call it."""
        return self.task

    def with_input(self, **changes: object) -> Self:
        """The same with inputs that differ in something."""
        return self.model_copy(update={"input": self.input.model_copy(update=changes)})

    def with_task(self, task: Task) -> Self:
        """The same with another task."""
        return self.model_copy(update={"task": task})

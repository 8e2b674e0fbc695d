"""Tasks by their names, as configs and checkpoints have them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from trainkit.config import registry
from trainkit.tasks.base import Task

NAMES = {"class": "classification", "number": "regression"}
"""Of tasks that had another one in trainkit 0.1, when they were kinds of targets."""


def current_name(name: object) -> object:
    """What a task is called now."""
    return NAMES.get(str(name), name)


class _Readable:
    """Lets through the names of the tasks that are there when a config is read and can make targets of plain values."""

    def names(self) -> list[str]:
        return [name for name in registry.names("task") if task_class(name).reading]

    def check(self, name: str) -> str:
        if name not in (names := self.names()):
            *others, last = map(repr, names)
            # As pydantic says it of a Literal.
            raise PydanticCustomError("literal_error", "{expected}", {"expected": f"{', '.join(others)} or {last}"})
        return name

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": self.names()}


Kind = Annotated[str, _Readable(), BeforeValidator(current_name)]
"""The tasks that a config may ask for where targets could be read as several: any that is registered and makes targets
of plain values."""


def task_class(name: str) -> type[Task]:
    """The task that has this name.

    Raises:
        ConfigError: none has.
    """
    found = registry.find("task", name)
    assert issubclass(found, Task)
    return found

"""`torch._dynamo`, the front of torch.compile, only where something is compiled.

torch's optimizers import it when they are built and again in each step, to tell the compiler what to leave alone,
although nothing is compiled. It is 900 modules and takes longer than torch itself (seen with torch 2.10 to 2.15).
A stand-in answers these two calls, and gives way to the real module as soon as anybody asks for anything else of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch

NAME = "torch._dynamo"


def defer_dynamo() -> None:
    """Let optimizers be built and stepped without the import of `torch._dynamo`, if it has not been imported yet."""
    if NAME not in sys.modules and (spec := find_spec(NAME)):
        stand_in = _StandIn(NAME)
        stand_in.__spec__ = spec
        sys.modules[NAME] = stand_in
        torch._dynamo = stand_in  # what `import torch._dynamo` would have done


class _StandIn(ModuleType):
    """What optimizers use of `torch._dynamo` as long as nothing is compiled. All else imports the real module."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._left_alone: list[Callable[..., Any]] = []

    def graph_break(self, *args: Any, **kwargs: Any) -> None:
        """End what is being traced, which is nothing."""

    def disable(self, fn: Any = None, *args: Any, wrapping: bool = True, **kwargs: Any) -> Any:
        """Leave `fn` as it is where torch hides a function of its own, which it remembers as an attribute of `fn`.

        Users' functions come with `wrapping` (`torch.compiler.disable`), and the real module marks them.
        """
        if wrapping or fn is None:
            return self._real().disable(fn, *args, wrapping=wrapping, **kwargs)
        self._left_alone.append(fn)
        return fn

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # asked of every module, as by `inspect`
            raise AttributeError(f"module {NAME!r} has no attribute {name!r}")
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        """Leave the place to the real module."""
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME], torch._dynamo
            for fn in self._left_alone:  # about these, torch has to ask again
                for key in [key for key, value in vars(fn).items() if value is fn]:
                    delattr(fn, key)
        return import_module("torch._dynamo")

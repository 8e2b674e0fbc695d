"""Random transforms of one's own, each a class or a function registered in one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from trainkit.config.from_constructor import OwnConfig, own_code, register_own
from trainkit.config.signature import Owner, constructor_of, place_of, title_of
from trainkit.core import nest
from trainkit.core.errors import ConfigError, DataError
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.base import PictureTransform, SampleRandom

F = TypeVar("F", bound=Owner)


class OwnTransformConfig(OwnConfig, PictureTransform):
    """Base of the transforms that are made of a class or a function."""

    _section: ClassVar = "data.augment"
    _moves: ClassVar[bool]
    _each: ClassVar[bool]

    def check(self, spec: DataSpec) -> None:
        if self._moves and spec.task.mask_fill is not None:
            raise DataError(
                f"data.augment: {self.name} moves pictures, but not their masks; say moves=False to register_transform "
                "where it changes colours alone"
            )

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        owner = self._constructor.owner
        with own_code(self._section, owner):
            change = self._change(lambda fact: draws)
            made = torch.stack([change(picture) for picture in inputs]) if self._each else change(inputs)
            if not isinstance(made, Tensor) or (made.shape, made.dtype) != (inputs.shape, inputs.dtype):
                given = f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else nest.described(made)
                wanted = f"{inputs.dtype} {tuple(inputs.shape)} as it got"
                raise ConfigError(
                    f"{self._section}: {title_of(owner)} gives {given}, expected {wanted}{place_of(owner)}"
                )
            return made

    def _change(self, supply: Callable[[str], SampleRandom]) -> Callable[[Tensor], Any]:
        owner = self._constructor.owner
        if inspect.isclass(owner):
            made: Callable[[Tensor], Any] = self._constructor(self, supply)
            return made
        arguments = self._constructor.arguments(self, supply)
        return lambda pictures: owner(pictures, **arguments)


def register_transform(name: str, *, each: bool = False, moves: bool = True) -> Callable[[F], F]:
    """Decorator: make a function or a class a random transform of training pictures that a YAML file can name.

    A function `(pictures, …)`, or an object of a class, is called with a batch on the device, uint8, shape (batch,
    channels, height, width), and gives as many of the same shape. Its other arguments, or those of the constructor, are
    the config's keys. To an argument `draws` random numbers are supplied that follow from seed, epoch and sample:
    `draws("angle", -10, 10)` has one for each, shape (batch,).

    Args:
        each: it is called with one picture after the other, as those of torchvision want it for draws of their own.
        moves: False where it changes colours alone, so that masks may stay as they are.

    Raises:
        ConfigError: a config cannot give an argument that has no default.
    """

    def add(owner: F) -> F:
        first = () if inspect.isclass(owner) else ("pictures",)
        constructor = constructor_of(owner, ["draws"], base=PictureTransform, first=first)
        config = register_own("transform", name, constructor, OwnTransformConfig)
        config._each, config._moves = each, moves
        return owner

    return add

"""Nests: what inputs, targets and outputs may be. The one module that knows what they are made of.

A nest is a tensor; a dict, tuple, named tuple or frozen dataclass of nests; or a list with one entry for each sample,
where sizes differ from sample to sample. What else stands in one, such as None, is left as it is.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import torch
from torch import Tensor

from trainkit.core.errors import DataError

Nest = Any
"""No narrower type holds every dataclass, nor lets code that expects a tensor use it as one."""


def map_tensors(change: Callable[[Tensor], object], value: Nest) -> Nest:
    """The same nest of what becomes of its tensors."""
    if isinstance(value, Tensor):
        return change(value)
    return _each(lambda part: map_tensors(change, part), value)


def to(value: Nest, device: torch.device) -> Nest:
    """The same on a device, copied while the host goes on."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    return map_tensors(lambda tensor: tensor.to(device, non_blocking=True), value)


def cpu(value: Nest) -> Nest:
    """The same on the CPU, without gradients."""
    return map_tensors(lambda tensor: tensor.detach().cpu(), value)


def floats(value: Nest) -> Nest:
    """The same with what is no whole number in float32."""
    return map_tensors(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor, value)


def take(value: Nest, index: Tensor) -> Nest:
    """The samples with these indices, shape (n,), int64."""
    if isinstance(value, Tensor):
        return selected(value, index.to(value.device, non_blocking=True))
    if isinstance(value, list):
        return [value[sample] for sample in index.tolist()]
    return _each(lambda part: take(part, index), value)


def selected(value: Tensor, index: Tensor) -> Tensor:
    """Some entries along the first axis. Pictures whose channels lie side by side, as decoders give them and layers in
    `torch.channels_last` want them, stay so: `index_select` would bring them apart, which takes ten times as long."""
    if _channels_last(value):
        return value.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return value.index_select(0, index)  # two to five times as fast as indexing


def _channels_last(value: Tensor) -> bool:
    """Whether the channels of each pixel lie side by side."""
    return value.ndim == 4 and value.stride(1) < value.stride(3)


def cat(values: Sequence[Nest]) -> Nest:
    """The samples of several nests of one form, one after the other."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat([*values])
    if isinstance(first, list):
        return [sample for samples in values for sample in samples]
    return _each(lambda *parts: cat(parts), *values)


def num_samples(value: Nest) -> int:
    """How many samples a nest holds.

    Raises:
        DataError: none, or one part other than another.
    """
    if isinstance(value, Tensor):
        return len(value)
    lengths = {len(part) for part in _batched(value)}
    if len(lengths) != 1:
        raise DataError(f"data: {shapes(value)}: every part must hold the same samples")
    return lengths.pop()


def samples(value: Nest) -> Iterator[Nest]:
    """One after the other, without the axis that tells them apart."""
    return (_sample(value, number) for number in range(num_samples(value)))


def _sample(value: Nest, number: int) -> Nest:
    if isinstance(value, Tensor | list):
        return value[number]
    return _each(lambda part: _sample(part, number), value)


def named_leaves(value: Nest, name: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors, and what else there is, in their order, each with its place, such as `boxes.0`."""
    parts = _parts(value)
    if parts is None:
        yield name, value
        return
    for key, part in parts.items():
        yield from named_leaves(part, f"{name}.{key}" if name else key)


def tensors(value: Nest) -> list[Tensor]:
    """Its tensors in their order."""
    return [leaf for _, leaf in named_leaves(value) if isinstance(leaf, Tensor)]


def nbytes(value: Nest) -> int:
    """What its tensors take."""
    return sum(tensor.nbytes for tensor in tensors(value))


MOST_SHOWN = 3
"""Samples of a list whose shapes are shown."""


def shapes(value: Nest) -> str:
    """The shapes in a nest: `{boxes: (4, 4), labels: (4,)}`; of what is no tensor, its type."""
    parts = _parts(value)
    if parts is None:
        return _form(value)
    if isinstance(value, list):
        shown = [shapes(part) for part in value[:MOST_SHOWN]]
        return f"[{', '.join(shown)}{', …' if len(value) > MOST_SHOWN else ''}]"
    if type(value) is tuple:
        return f"({', '.join(map(shapes, value))})"
    return f"{{{', '.join(f'{key}: {shapes(part)}' for key, part in parts.items())}}}"


def described(value: object) -> str:
    """What is no tensor, by its type and what is in it: `a dict of boxes (4, 4), labels (4,)`."""
    nameless = type(value) in (tuple, list)
    items = [_form(part) if nameless else f"{key} {_form(part)}" for key, part in (_parts(value) or {}).items()]
    kind = type(value).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    return f"{article} {kind}" + (f" of {', '.join(items)}" if items else "")


def _form(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


@dataclass(frozen=True, slots=True)
class Packed:
    """A nest whose tensors lie one after the other in a single one, for its way from one process to another: there,
    each tensor takes an open file, of which a list of samples would need more than there are."""

    buffer: Tensor
    """Shape (bytes,), uint8."""
    form: Nest
    """The nest, with a `Place` for each tensor."""

    @classmethod
    def of(cls, value: Nest) -> Packed:
        """A copy of a nest in shared memory."""
        end = 0

        def place(tensor: Tensor) -> Place:
            nonlocal end
            start = -(-end // ALIGNMENT) * ALIGNMENT
            end = start + tensor.nbytes
            return Place(start, end, tensor.dtype, tensor.shape, _channels_last(tensor))

        form = map_tensors(place, value)
        packed = cls(torch.empty(end, dtype=torch.uint8).share_memory_(), form)
        for there, tensor in zip(tensors(packed.unpacked()), tensors(value), strict=True):
            there.copy_(tensor)
        return packed

    def unpacked(self) -> Nest:
        """The nest; its tensors are views of the buffer."""
        return self._filled(self.form)

    def _filled(self, form: Nest) -> Nest:
        if isinstance(form, Place):
            numbers = self.buffer[form.start : form.end].view(form.dtype)
            if not form.channels_last:
                return numbers.view(form.shape)
            count, channels, height, width = form.shape
            return numbers.view(count, height, width, channels).permute(0, 3, 1, 2)
        return _each(self._filled, form)


ALIGNMENT = 16
"""Bytes: a number begins at a multiple of its own size, and no type is larger."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in a buffer."""

    start: int
    end: int
    dtype: torch.dtype
    shape: torch.Size
    channels_last: bool


def _batched(value: Nest) -> Iterator[Tensor | list[Nest]]:
    """The parts of which each entry is a sample's."""
    if isinstance(value, Tensor | list):
        yield value
    else:
        for part in (_parts(value) or {}).values():
            yield from _batched(part)


def _parts(value: Nest) -> Mapping[str, Nest] | None:
    """What stands in a nest, by name; None for a tensor, and for what is no nest."""
    if isinstance(value, Tensor):
        return None
    if isinstance(value, Mapping):
        return {str(key): part for key, part in value.items()}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", map(str, range(len(value))))  # of a named tuple
        return dict(zip(names, value, strict=True))
    return None


def _each(change: Callable[..., object], value: Nest, *others: Nest) -> Nest:
    """The same nest of what becomes of its parts, each with those of others in the same place."""
    every = (value, *others)
    if isinstance(value, Mapping):
        return {key: change(*(one[key] for one in every)) for key in value}
    if dataclasses.is_dataclass(value):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            part = change(*(getattr(one, field.name) for one in every))
            object.__setattr__(made, field.name, part)  # not by its __init__, which may ask for whole tensors
        return made
    if isinstance(value, tuple):
        make = getattr(value, "_make", tuple)  # of a named tuple
        return make(starmap(change, zip(*every, strict=True)))
    if isinstance(value, list):
        return list(starmap(change, zip(*every, strict=True)))
    return value

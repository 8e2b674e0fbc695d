"""What a checkpoint may hold: exact plain types and ordinary tensors, under each key what `run_state.take` puts there.

`torch.load(weights_only=True)` executes nothing, but lets more through than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BeforeValidator, Field, ValidationError, model_validator
from torch import Tensor

from trainkit.config.base import Config
from trainkit.core.errors import CheckpointError
from trainkit.data import DataSpec
from trainkit.data.images.bit_depth import SIXTEEN_BITS
from trainkit.models.pretrained import tensors_of
from trainkit.training.progress import Count, Progress

DTYPES = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex128, torch.complex64,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8,
    torch.bool,
}  # fmt: skip
MAX_DEPTH = 64

Payload = dict[str, Any]

Word = Annotated[int, Field(ge=0, lt=2**32)]


class Meta(Config, extra="allow"):
    """Who wrote the file, and on what. What later versions add is no reason to refuse it."""

    torch: str
    device: str
    threads: int = Field(ge=1)
    processor: str | None = None
    optimizer: str
    parameters: list[str]


class Log(Config):
    """Where the run's records stand."""

    bytes: int = Field(ge=0)


class Rng(Config):
    """The states of the global generators, as `random` and `numpy.random` give them. NumPy checks no bounds."""

    python: tuple[Literal[3], Annotated[tuple[Word, ...], Field(min_length=625, max_length=625)], float | None]
    numpy: tuple[
        Literal["MT19937"],
        Annotated[list[Word], Field(min_length=624, max_length=624)],
        Annotated[int, Field(ge=0, le=624)],
        Literal[0, 1],
        float,
    ]

    @model_validator(mode="after")
    def _python_stands_in_its_numbers(self) -> Self:
        if self.python[1][-1] > 624:
            raise ValueError("python stands at no such number")
        return self


class Facts(Config):
    """What is plain data."""

    meta: Meta
    config: dict[str, Any]
    spec: dict[str, Any]
    data: dict[str, str]
    progress: Progress
    log: Log
    rng: Rng | None


class _OfData(Config):
    spec: DataSpec


class Group(Config, extra="ignore"):
    """Parameters by their numbers, and their settings."""

    params: list[int]


class OptimizerState(Config, extra="ignore"):
    """As torch has it: the state of each parameter by its number, and the groups."""

    state: dict[int, Any]
    param_groups: list[Group]


class StreamState(Config):
    """Where a stream stands."""

    taken: Count
    passes: Count
    number: Count
    state: Any
    """The data set's own."""


Weights = Annotated[
    dict[str, Tensor], BeforeValidator(lambda state: tensors_of(state) if isinstance(state, dict) else state)
]


class States(Config, extra="ignore", arbitrary_types_allowed=True):
    """What `load_state_dict` takes."""

    model: Weights
    ema: Weights | None
    loss: Weights | None = None
    optimizer: OptimizerState
    scheduler: dict[str, Any]
    scaler: dict[str, Any] | None
    stream: StreamState | None = None


PICTURES = ("image_folder", "imagenet", "image_txt", "image_list")
"""Sources of picture files."""


def with_old_pictures(payload: Payload) -> None:
    """Add what a checkpoint from before there was anything to say of pictures does not say: how they were read then."""
    config, spec = payload.get("config"), payload.get("spec")  # where these are damaged, others will find it
    if isinstance(config, dict) and isinstance(data := config.get("data"), dict) and data.get("name") in PICTURES:
        data.setdefault("rules", 1)
    if isinstance(spec, dict) and spec.get("image") is True:
        spec.setdefault("range", SIXTEEN_BITS)


def upgrade(payload: Payload) -> None:
    """Add to a checkpoint of schema 1 what it does not say, as it was when it was written."""
    for key in ("ema", "rng"):  # files of before there were averages, and random states, go on to load
        payload.setdefault(key, None)
    config, spec = payload.get("config"), payload.get("spec")  # where these are damaged, others will find it
    if isinstance(config, dict) and isinstance(data := config.get("data"), dict):
        data.setdefault("target_transform", "none")
        if data.get("name") == "csv":
            data.setdefault("rules", 1)
    columns = spec.get("columns") if isinstance(spec, dict) else None
    for column in columns if isinstance(columns, list | tuple) else ():
        if isinstance(column, dict) and column.get("categories") is not None:
            column |= {"kind": "category", "na_values": [""]}  # their words were all different, missing ones too


def checked(payload: Payload, source: str) -> Payload:
    """The content of a checkpoint, when everything is there and is what trainkit writes.

    Where its config imports modules, `spec` is looked at by `spec_of` alone: its task may be of one of them.

    Raises:
        CheckpointError: it is not; the message begins with the source.
    """
    try:
        if stray := next(_unexpected_objects(payload, "checkpoint", 0, set()), None):
            raise ValueError(stray)
        States.model_validate(payload)
        facts = Facts.from_plain({key: payload.get(key) for key in Facts.model_fields})
        if missing := [key for key in ("step", "epoch", "batch") if key not in payload["progress"]]:
            raise ValueError(f"progress.{missing[0]} is missing")
    except ValidationError as error:
        raise _damaged(error, source) from None
    except TypeError:
        raise CheckpointError(f"{source}: a tensor stands where plain data belongs") from None
    except ValueError as error:
        raise CheckpointError(f"{source}: {error}") from None
    found = {**payload, **facts.model_dump()}
    if not facts.config.get("imports"):
        spec_of(found, source)
    return found


def spec_of(payload: Payload, source: str) -> DataSpec:
    """What the training data was, once the modules that the config imports are.

    Raises:
        CheckpointError: it is damaged; the message begins with the source.
    """
    try:
        return _OfData.from_plain({"spec": payload["spec"]}).spec
    except ValidationError as error:
        raise _damaged(error, source) from None


def _damaged(error: ValidationError, source: str) -> CheckpointError:
    first = error.errors()[0]
    place, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Input ")
    return CheckpointError(f"{source}: {place}: {what}")


def is_ordinary(tensor: Tensor) -> bool:
    """Whether a tensor is nothing but numbers, one after the other, in a memory of its own."""
    return (
        type(tensor) is Tensor
        and tensor.layout == torch.strided
        and tensor.dtype in DTYPES
        and tensor.device.type == "cpu"
        and tensor.is_contiguous()
        and tensor.untyped_storage().nbytes() == tensor.nbytes
        and not tensor.requires_grad
        and not vars(tensor)
    )


def _unexpected_objects(value: Any, where: str, depth: int, seen: set[int]) -> Iterator[str]:
    """Where there is what no save writes: other types, odd tensors, deep nesting, and anything twice, of which a few
    bytes make a list without an end, or one of ten thousand million items."""
    items: dict[Any, Any] = {}
    if value is None or type(value) in (str, int, float, bool):
        return
    if type(value) is dict and all(type(key) in (str, int) for key in value):
        items, address = value, id(value)
    elif type(value) in (list, tuple):
        items, address = dict(enumerate(value)), id(value) if value else 0  # there is only one empty tuple
    elif isinstance(value, Tensor) and is_ordinary(value):
        address = value.data_ptr()  # 0 for an empty one
    else:
        yield f"{where}: this {type(value).__name__} is not as trainkit writes it"
        return
    if depth > MAX_DEPTH:
        yield f"{where}: nested deeper than {MAX_DEPTH}"
    elif address and address in seen:
        yield f"{where}: shares its memory with something else"
    else:
        seen.add(address)
        for key, item in items.items():
            yield from _unexpected_objects(item, f"{where}.{key}", depth + 1, seen)

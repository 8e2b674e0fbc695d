"""Running placeholder samples through a model: whether they pass, where they do not, and what would fit."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from trainkit.core import nest
from trainkit.core.errors import ConfigError
from trainkit.core.nest import Nest
from trainkit.core.seeding import generators_restored
from trainkit.core.text import and_more

if TYPE_CHECKING:
    from trainkit.data import DataSpec

SIZES: tuple[tuple[type[nn.Module], str, int, int | None], ...] = (
    (nn.Linear, "in_features", -1, None),
    (nn.Conv1d, "in_channels", 1, 3),
    (nn.Conv2d, "in_channels", 1, 4),
    (nn.Conv3d, "in_channels", 1, 5),
    (nn.modules.batchnorm._BatchNorm, "num_features", 1, None),
    (nn.RNNBase, "input_size", -1, 3),
)
"""Layers with the attribute that has to be the size of an axis of what they are given, and how many axes that has."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode that it had afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def training(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Training mode inside, of which nothing stays: no statistics of BatchNorm, no random numbers drawn."""
    mode = model.training
    kept = [(module._buffers, name, buffer) for module in model.modules() for name, buffer in module._buffers.items()]
    for buffers, name, buffer in kept:
        buffers[name] = None if buffer is None else buffer.clone()
    model.train()
    try:
        with generators_restored(device):
            yield
    finally:
        for buffers, name, buffer in kept:
            buffers[name] = buffer
        model.train(mode)


def two_samples(spec: DataSpec, device: torch.device, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Zeros in the data's shape, which any embedding takes, and lengths where the data has them."""
    return spec.input.two_samples(device, dtype)


def input_type(model: nn.Module, spec: DataSpec, device: torch.device) -> torch.dtype:
    """Of which type the model takes inputs: float32, unless the data is whole numbers and nothing else passes through
    the model, such as through an embedding."""
    for dtype in spec.input.dtypes():
        with suppress(Exception), evaluating(model), torch.no_grad():  # a user's model may raise anything
            model(*two_samples(spec, device, dtype))
            return dtype
    return torch.float32


def initialize_lazy(model: nn.Module, spec: DataSpec) -> None:
    """Give torch's lazy layers their sizes and weights: by two placeholder samples, on the CPU as all other weights.

    Raises:
        ConfigError: the samples do not pass through, or do not reach such a layer.
    """
    if not _lazy(model):
        return
    check_takes_lengths(model, spec)
    device = torch.device("cpu")
    dtype = input_type(model, spec, device)
    with evaluating(model), torch.no_grad():
        run(model, *two_samples(spec, device, dtype))
    if names := _lazy(model):
        raise ConfigError(
            f"model: {and_more(names)}: lazy, and not reached in evaluation, so that no size is known; give it one"
        )


def _lazy(model: nn.Module) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if any(map(is_lazy, (*module.parameters(recurse=False), *module.buffers(recurse=False))))
    ]


def check_takes_lengths(model: nn.Module, spec: DataSpec) -> None:
    """Raise ConfigError where the data has lengths that the model does not take."""
    if spec.input.has_lengths and "lengths" not in inspect.signature(model.forward).parameters:
        raise ConfigError(
            "model: the data is sequences of different lengths, which this model does not take; use lstm, gru or "
            "transformer, or a model with forward(inputs, lengths)"
        )


def check_takes_targets(model: nn.Module, spec: DataSpec) -> None:
    """Raise ConfigError where the model is to be called with the targets and does not take them."""
    if spec.task.model_sees_targets and "targets" not in inspect.signature(model.forward).parameters:
        lengths = ", lengths" if spec.input.has_lengths else ""
        raise ConfigError(
            f"model: the targets are {spec.task.phrase}, which this model does not take as it learns; use one with "
            f"forward(inputs{lengths}, targets=None)"
        )


def run(model: nn.Module, *inputs: Nest) -> Nest:
    """What the model makes of the inputs.

    Raises:
        ConfigError: they do not pass through; names the layer.
    """
    with _entered(model) as inside:
        try:
            return model(*inputs)
        except (RuntimeError, AssertionError) as error:  # torch's and timm's kinds for sizes that do not fit
            name, given = inside[-1] if inside else ("", None)
            layer = f" layer {name} ({type(model.get_submodule(name)).__name__})" if name else ""
            advice = _what_fits(model.get_submodule(name), given) if given is not None else None
            raise ConfigError(
                f"model: a trial batch of shape {nest.shapes(inputs[0])} does not pass through{layer}: "
                f"{advice or str(error).splitlines()[0]}"
            ) from error


def run_to_tensor(model: nn.Module, *inputs: Nest, main: Callable[[Nest], Nest] = lambda outputs: outputs) -> Tensor:
    """The one tensor that the model makes of the inputs.

    Args:
        main: leaves out what else a model may give.

    Raises:
        ConfigError: they do not pass through, or something else comes out.
    """
    outputs = main(run(model, *inputs))
    if not isinstance(outputs, Tensor):
        mode = "in training it " if model.training else ""
        raise ConfigError(
            f"model: {mode}gives {nest.described(outputs)}, expected one tensor (batch, outputs), in training and in "
            "evaluation; let forward return that alone"
        )
    return outputs


def parameters_beside(model: nn.Module, loss: Tensor) -> list[nn.Parameter]:
    """The parameters that a loss depends on and that are none of the model's."""
    own, seen, found = set(model.parameters()), set(), []
    waiting = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of a leaf
        if isinstance(variable, nn.Parameter) and variable not in own:
            found.append(variable)
        waiting += [before for before, _ in node.next_functions]
    return found


def _what_fits(layer: nn.Module, given: tuple[int, ...]) -> str | None:
    """What a layer takes, what it was given, and what would fit; None where its sizes are not to blame."""
    known = next((row for row in SIZES if isinstance(layer, row[0])), None)
    if known is None or len(given) < 2:
        return None
    _, key, axis, axes = known
    if axes and len(given) != axes:
        return f"it takes {axes} axes, the batch among them, but got {given}; is a flatten too early?"
    if given[axis] == (size := getattr(layer, key)):
        return None
    text = f"it takes {size} {key.partition('_')[2]} but got {given}"
    flat = math.prod(given[1:])
    if isinstance(layer, nn.Linear) and len(given) > 2:
        fits = "" if flat == size else f" and {key}={flat}"
        return f"{text}; a flatten(1) before it{fits} would fit"
    return f"{text}; {key}={given[axis]} would fit"


def single_valued(model: nn.Module, names: Sequence[str], *two_samples: Tensor) -> str | None:
    """The first of these layers that sees a single value of each channel in one sample; None where there is none."""
    found: list[str] = []

    def enter(name: str, _module: nn.Module, args: tuple[object, ...]) -> None:
        given = args[0] if args else None
        if isinstance(given, Tensor) and given.numel() == 2 * given.shape[1]:
            found.append(name)

    with ExitStack() as hooks:
        for name in names:
            hooks.enter_context(model.get_submodule(name).register_forward_pre_hook(partial(enter, name)))
        model(*two_samples)
    return found[0] if found else None


@contextmanager
def _entered(model: nn.Module) -> Iterator[list[tuple[str, tuple[int, ...] | None]]]:
    """The names of the modules that have begun and not ended, with the shapes of their inputs, innermost last."""
    inside: list[tuple[str, tuple[int, ...] | None]] = []

    def enter(name: str, _module: nn.Module, args: tuple[object, ...]) -> None:
        inside.append((name, tuple(args[0].shape) if args and isinstance(args[0], Tensor) else None))

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            hooks.enter_context(module.register_forward_pre_hook(partial(enter, name)))
            hooks.enter_context(module.register_forward_hook(lambda module, args, made: inside.__delitem__(-1)))
        yield inside

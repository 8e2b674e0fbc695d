"""Running made-up samples through a model, and what is to be learned from it before an hour is lost."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import ConfigError
from trainkit.core.seeding import generators_restored
from trainkit.core.text import and_more

if TYPE_CHECKING:
    from trainkit.data import DataSpec

AFFINE = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.modules.dropout._DropoutNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.batchnorm._BatchNorm,
)
"""Layers after which a linear function of the input is still one."""

SIZES: tuple[tuple[type[nn.Module], str, int, int | None], ...] = (
    (nn.Linear, "in_features", -1, None),
    (nn.Conv1d, "in_channels", 1, 3),
    (nn.Conv2d, "in_channels", 1, 4),
    (nn.Conv3d, "in_channels", 1, 5),
    (nn.modules.batchnorm._BatchNorm, "num_features", 1, None),
    (nn.RNNBase, "input_size", -1, 3),
)
"""Layers with the attribute that has to be the size of an axis of what they are given, and how many axes that has."""

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


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
    inputs = torch.zeros(2, *spec.shape, device=device, dtype=dtype)
    return (inputs, torch.tensor([spec.shape[0], 1])) if spec.padded else (inputs,)


def input_type(model: nn.Module, spec: DataSpec, device: torch.device) -> torch.dtype:
    """Of which type the model takes inputs: float32, unless the data is whole numbers and nothing else passes through
    the model, such as through an embedding."""
    for dtype in (torch.float32, torch.int64) if spec.whole else ():
        with suppress(Exception), evaluating(model), torch.no_grad():  # a user's model may raise anything
            model(*two_samples(spec, device, dtype))
            return dtype
    return torch.float32


def initialize_lazy(model: nn.Module, spec: DataSpec) -> None:
    """Give torch's lazy layers their sizes and weights: by two made-up samples, on the CPU as all other weights.

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
    if spec.padded and "lengths" not in inspect.signature(model.forward).parameters:
        raise ConfigError(
            "model: the data is sequences of different lengths, which this model does not take; use lstm, gru or "
            "transformer, or a model with forward(inputs, lengths)"
        )


def run(model: nn.Module, *inputs: Tensor) -> Tensor:
    """What the model makes of the inputs.

    Raises:
        ConfigError: they do not pass through, or no tensor comes out; names the layer.
    """
    with _entered(model) as inside:
        try:
            outputs = model(*inputs)
        except (RuntimeError, AssertionError) as error:  # torch's and timm's kinds for sizes that do not fit
            name, given = inside[-1] if inside else ("", None)
            layer = f" layer {name} ({type(model.get_submodule(name)).__name__})" if name else ""
            advice = _misfit(model.get_submodule(name), given) if given is not None else None
            raise ConfigError(
                f"model: a trial batch of shape {tuple(inputs[0].shape)} does not pass through{layer}: "
                f"{advice or str(error).splitlines()[0]}"
            ) from error
    if not isinstance(outputs, Tensor):
        mode = "in training it " if model.training else ""
        raise ConfigError(
            f"model: {mode}gives {_described(outputs)}, expected one tensor (batch, outputs), in training and in "
            "evaluation; let forward return that alone"
        )
    return outputs


def _described(outputs: object) -> str:
    """What is no tensor, by what is in it."""
    items: list[str] = []
    if isinstance(outputs, Mapping):
        items = [f"{key} {_form(value)}" for key, value in outputs.items()]
    elif dataclasses.is_dataclass(outputs):
        items = [f"{field.name} {_form(getattr(outputs, field.name))}" for field in dataclasses.fields(outputs)]
    elif isinstance(outputs, tuple | list):
        names = getattr(outputs, "_fields", ("",) * len(outputs))  # of a named tuple
        items = [f"{name} {_form(value)}".strip() for name, value in zip(names, outputs, strict=True)]
    kind = type(outputs).__name__
    article = "an" if kind[:1].lower() in "aeiou" else "a"
    return f"{article} {kind}" + (f" of {', '.join(items)}" if items else "")


def _form(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


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


def _misfit(layer: nn.Module, given: tuple[int, ...]) -> str | None:
    """What a layer takes, what it was given, and what would fit; None where its sizes are not to blame."""
    known = next((row for row in SIZES if isinstance(layer, row[0])), None)
    if known is None or len(given) < 2:
        return None
    _, key, axis, axes = known
    if axes and len(given) != axes:
        return f"it takes {axes} axes, the batch among them, but got {given}; is a flatten too early?"
    if given[axis] == (size := getattr(layer, key)):
        return None
    said = f"it takes {size} {key.partition('_')[2]} but got {given}"
    flat = math.prod(given[1:])
    if isinstance(layer, nn.Linear) and len(given) > 2:
        fits = "" if flat == size else f" and {key}={flat}"
        return f"{said}; a flatten(1) before it{fits} would fit"
    return f"{said}; {key}={given[axis]} would fit"


Attributes = Mapping[tuple[nn.Module, str], object]
"""What the modules of a model are made of."""


def attributes(model: nn.Module) -> Attributes:
    """What there is before anything has run, to be told from what `forward` makes."""
    return {(module, key): value for module in model.modules() for key, value in vars(module).items()}


def diagnostics(model: nn.Module, *inputs: Tensor, before: Attributes | None = None) -> list[Diagnostic]:
    """What a model does that is allowed, but usually a mistake.

    Args:
        before: its attributes before anything ran; by default those of now.

    Two linear layers with nothing between them are one, unless the first is a bottleneck; and what ends with a softmax
    or a sigmoid does not give the logits that losses want.
    """
    found: list[Diagnostic] = []
    # By the tensor's id and version: an operation in place makes another one of it.
    origins: dict[tuple[int, int], tuple[str, nn.Module] | None] = {}
    squashed: set[int] = set()  # what sigmoids have made
    kept: list[Tensor] = []  # alive, so that no other tensor gets the same id

    def after(name: str, module: nn.Module, given: object, made: object) -> None:
        if not isinstance(given, Tensor) or not isinstance(made, Tensor):
            return
        origin = origins.get((id(given), given._version))
        if isinstance(module, WEIGHTED):
            if origin and not _bottleneck(origin[1], module):
                text = f"model: nothing but linear steps from {origin[0]} to {name}; is an activation missing?"
                found.append(Diagnostic("no-activation", text))
            origin = (name, module)
        elif not isinstance(module, AFFINE):
            origin = None
        if isinstance(module, nn.Sigmoid):
            squashed.add(id(made))
        origins[id(made), made._version] = origin
        kept.extend((given, made))

    handles = [
        module.register_forward_hook(
            lambda module, args, made, name=name: after(name, module, args[0] if args else None, made)
        )
        for name, module in model.named_modules()
        if not any(module.children())
    ]
    before = attributes(model) if before is None else before
    try:
        outputs = model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    for name, module in model.named_modules():
        # What forward has made, such as a map of attention to look at or a table that it keeps, is no state.
        lasting = {key: value for key, value in vars(module).items() if before.get((module, key)) is value}
        found += _hidden(name, module, lasting)
    if ending := "a sigmoid" if id(outputs) in squashed else _ending(outputs):
        text = f"model: ends with {ending}, but losses here take logits and apply it themselves; leave it out"
        found.append(Diagnostic("no-logits", text))
    return found


def unreached(model: nn.Module, *inputs: Tensor) -> list[str]:
    """The names of the parameters that take gradients, but on which the outputs do not depend.

    Raises:
        ConfigError: the outputs depend on none at all.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN's RNNs need training mode for this
        total = model(*inputs).float().sum()
        if not total.requires_grad:
            raise ConfigError(
                "model: the outputs do not depend on any parameter; is there a detach(), .data or no_grad in forward?"
            )
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    return [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]


def single_valued(model: nn.Module, names: Sequence[str], *two_samples: Tensor) -> str | None:
    """The first of these layers that sees a single value of each channel in one sample; None where there is none."""
    found: list[str] = []

    def enter(name: str, given: object) -> None:
        if isinstance(given, Tensor) and given.numel() == 2 * given.shape[1]:
            found.append(name)

    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda module, args, name=name: enter(name, args[0] if args else None)
        )
        for name in names
    ]
    try:
        model(*two_samples)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def frozen(model: nn.Module) -> list[Diagnostic]:
    """Layers whose weights take no gradients."""
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, WEIGHTED) and not any(one.requires_grad for one in module.parameters(recurse=False))
    ]
    text = f"model: {and_more(names)} {'take' if names[1:] else 'takes'} no gradients; is that meant?" if names else ""
    return [Diagnostic("frozen", text)] if names else []


def _hidden(name: str, module: nn.Module, attributes: Mapping[str, object]) -> list[Diagnostic]:
    """Layers and tensors that torch does not see in a module, because they are plain attributes."""
    found: list[Diagnostic] = []
    for key, value in attributes.items():
        place = f"{name}.{key}" if name else key
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
        if not key.startswith("_") and any(isinstance(item, nn.Module) for item in items):
            text = f"model: the layers in {place} are in a plain list and are not trained; use nn.ModuleList"
            found.append(Diagnostic("plain-list", text))
        # What spectral_norm and weight_norm compute from parameters of that name is none of ours.
        if isinstance(value, Tensor) and not any(parameter.startswith(f"{key}_") for parameter in module._parameters):
            text = (
                f"model: {place} is a plain tensor, which does not move with the model and is in no checkpoint; "
                f"use self.register_buffer({key!r}, …)"
            )
            found.append(Diagnostic("plain-tensor", text))
    return found


def _bottleneck(first: nn.Module, second: nn.Module) -> bool:
    """Whether the two say something that one layer of their kind could not: by low rank, or convolving by groups."""
    if any(getattr(layer, "groups", 1) > 1 for layer in (first, second)):
        return True
    weights = [layer.get_parameter("weight") for layer in (first, second)]
    return len(weights[0]) < min(weights[0][0].numel(), len(weights[1]))


def _ending(outputs: Tensor) -> str | None:
    """The name of what has made these numbers out of logits."""
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        ones = torch.ones(len(outputs), device=outputs.device)
        if bool((outputs >= 0).all()) and torch.allclose(outputs.float().sum(1), ones, atol=1e-4):
            return "a softmax"
        if torch.allclose(outputs.float().exp().sum(1), ones, atol=1e-4):
            return "a log-softmax"
    return None


@contextmanager
def _entered(model: nn.Module) -> Iterator[list[tuple[str, tuple[int, ...] | None]]]:
    """The names of the modules that have begun and not ended, with the shapes of their inputs, innermost last."""
    inside: list[tuple[str, tuple[int, ...] | None]] = []

    def enter(name: str, given: object) -> None:
        inside.append((name, tuple(given.shape) if isinstance(given, Tensor) else None))

    handles = []
    for name, module in model.named_modules():
        handles.append(
            module.register_forward_pre_hook(lambda module, args, name=name: enter(name, args[0] if args else None))
        )
        handles.append(module.register_forward_hook(lambda module, args, made: inside.__delitem__(-1)))
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()

"""What a model does that is allowed, but usually a mistake: seen by running samples through it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from trainkit.core import nest
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import ConfigError
from trainkit.core.nest import Nest
from trainkit.core.text import and_more

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

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)


Attributes = Mapping[tuple[nn.Module, str], object]
"""What the modules of a model are made of."""


def attributes(model: nn.Module) -> Attributes:
    """What there is before anything has run, to be told from what `forward` makes."""
    return {(module, key): value for module in model.modules() for key, value in vars(module).items()}


def diagnostics(model: nn.Module, *inputs: Nest, before: Attributes | None = None) -> list[Diagnostic]:
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

    def after(name: str, module: nn.Module, args: tuple[object, ...], made: object) -> None:
        given = args[0] if args else None
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

    before = attributes(model) if before is None else before
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if not any(module.children()):
                hooks.enter_context(module.register_forward_hook(partial(after, name)))
        outputs = model(*inputs)
    for name, module in model.named_modules():
        # What forward has made, such as a map of attention to look at or a table that it keeps, is no state.
        lasting = {key: value for key, value in vars(module).items() if before.get((module, key)) is value}
        found += _hidden(name, module, lasting)
    if ending := "a sigmoid" if id(outputs) in squashed else _ending(outputs):
        text = f"model: ends with {ending}, but losses here take logits and apply it themselves; leave it out"
        found.append(Diagnostic("no-logits", text))
    return found


def unreached(model: nn.Module, *inputs: Nest) -> list[str]:
    """The names of the parameters that take gradients, but on which the outputs do not depend.

    Raises:
        ConfigError: the outputs depend on none at all.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN's RNNs need training mode for this
        outputs = [tensor for tensor in nest.tensors(model(*inputs)) if tensor.is_floating_point()]
        total = torch.stack([tensor.float().sum() for tensor in outputs]).sum() if outputs else torch.zeros(())
        if not total.requires_grad:
            raise ConfigError(
                "model: the outputs do not depend on any parameter; is there a detach(), .data or no_grad in forward?"
            )
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    return [name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None]


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


def _ending(outputs: Nest) -> str | None:
    """The name of what has made these numbers out of logits."""
    if isinstance(outputs, Tensor) and outputs.ndim >= 2 and outputs.shape[1] > 1:
        ones = torch.ones_like(outputs[:, 0], dtype=torch.float32)
        if bool((outputs >= 0).all()) and torch.allclose(outputs.float().sum(1), ones, atol=1e-4):
            return "a softmax"
        if torch.allclose(outputs.float().exp().sum(1), ones, atol=1e-4):
            return "a log-softmax"
    return None

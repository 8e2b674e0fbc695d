"""A model layer by layer: shapes, parameters, work and memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainkit.core import device as devices
from trainkit.core import nest
from trainkit.core.nest import Nest
from trainkit.core.text import aligned
from trainkit.data import Data
from trainkit.experiment.building import build, placeholder_data
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models.base import count_parameters
from trainkit.training.loop import Parts

SAMPLES = 2
"""In the batch that is run through the model."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One module without children, in the order in which they run."""

    name: str
    kind: str
    inputs: Shape | None
    """Of one sample; None where it takes no tensor."""
    outputs: Shape | None
    parameters: int
    trained: int
    """Those of them that take gradients."""
    multiply_adds: int
    """For one sample, in convolutions and matrix products, which is where nearly all of them are."""
    output_bytes: int
    """Of one sample."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The layers and what they add up to."""

    layers: tuple[Layer, ...]
    parameters: int
    trained: int
    multiply_adds: int
    """For one sample, all of the forward pass: also what runs outside any layer."""
    samples: int
    """Training samples."""
    batch_size: int
    weights_bytes: int
    """Weights and buffers."""
    training_bytes: int
    """Gradients and the optimizer's state, of averaged weights as well."""
    activation_bytes: int
    """What a forward pass of a batch keeps for the backward pass."""
    inputs: str
    """The shapes of what the model takes for two samples, where that is more than a tensor and lengths; else empty."""
    outputs: str
    """Of what it gives for them."""

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.training_bytes + self.activation_bytes

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "total_bytes": self.total_bytes}


def summarize(experiment: ExperimentConfig) -> Summary:
    """Build an experiment on the CPU and run one training step with two samples.

    Raises:
        ConfigError, DataError: it cannot be built.
    """
    experiment, data = placeholder_data(experiment)
    parts, _ = build(experiment.with_precision("fp32"), data, devices.select("cpu"))
    return summary(parts, data, experiment.loader.batch_size)


def summary(parts: Parts, data: Data, batch_size: int) -> Summary:
    """What the parts consist of, and what a batch of that size takes. Makes an update of the weights."""
    model = parts.model
    batch = data.train.take(torch.arange(min(SAMPLES, len(data.train))))
    count = len(batch.index)
    if batch.lengths is not None:  # the longest that there are, whatever these samples happen to be
        inputs = batch.inputs.new_zeros(count, *data.spec.shape)
        batch = batch._replace(inputs=inputs, lengths=torch.full((count,), data.spec.shape[0]))
    batch = parts.prepare(batch, 0)
    kept: dict[int, int] = {}
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    given: list[Nest] = []
    model.train()
    with (
        model.register_forward_hook(lambda model, args, made: given.append(made)),
        FlopCounterMode(display=False) as flops,
        _watched(model, flops, count) as layers,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        loss = parts.loss_fn(model, batch).loss
        forward = flops.get_total_flops()
    loss.backward()
    parts.optimizer.step()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    states = [
        value for state in parts.optimizer.state.values() for value in state.values() if isinstance(value, Tensor)
    ]
    averaged = list(parts.ema.model.parameters()) if parts.ema else []
    return Summary(
        layers=tuple(layers),
        parameters=count_parameters(model.parameters()),
        trained=count_parameters(model.parameters(), trained=True),
        multiply_adds=forward // 2 // count,
        samples=len(data.train),
        batch_size=batch_size,
        weights_bytes=sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())),
        training_bytes=sum(tensor.nbytes for tensor in (*gradients, *states, *averaged)),
        activation_bytes=sum(kept.values()) * batch_size // count,
        inputs=batch.form,
        outputs="" if not given or isinstance(given[-1], Tensor) else nest.shapes(given[-1]),
    )


@contextmanager
def _watched(model: nn.Module, flops: FlopCounterMode, count: int) -> Iterator[list[Layer]]:
    """The layers as they end, with what belongs to no layer before them: parameters are counted once.

    A layer is a module without children, or with parameters of its own, such as nn.MultiheadAttention, which uses those
    of its children without running them.
    """
    layers: list[Layer] = []
    begun: list[tuple[int, int]] = []
    counted = 0  # multiply-adds in the rows so far, for all samples
    seen: set[nn.Parameter] = set()

    def begin(*_: object) -> None:
        begun.append((flops.get_total_flops() // 2, counted))

    def end(name: str, module: nn.Module, given: tuple[object, ...], made: object) -> None:
        nonlocal counted
        own = [parameter for parameter in module.parameters() if parameter not in seen]
        seen.update(own)
        before, inside = begun.pop()
        work = flops.get_total_flops() // 2 - before - (counted - inside)
        counted += work
        output = _first_tensor(made)
        layers.append(
            Layer(
                name=name,
                kind=type(module).__name__,
                inputs=_shape(_first_tensor(given)),
                outputs=_shape(output),
                parameters=count_parameters(own),
                trained=count_parameters(own, trained=True),
                multiply_adds=work // count,
                output_bytes=0 if output is None else output.nbytes // count,
            )
        )

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if not any(module.children()) or any(True for _ in module.parameters(recurse=False)):
                hooks.enter_context(module.register_forward_pre_hook(begin))
                hooks.enter_context(module.register_forward_hook(partial(end, name)))
        yield layers


def _first_tensor(value: object) -> Tensor | None:
    return next(iter(nest.tensors(value)), None)


def _shape(tensor: Tensor | None) -> Shape | None:
    return None if tensor is None else tuple(tensor.shape[1:])


def summary_lines(found: Summary) -> list[str]:
    """The table and its totals as text."""
    head = ("layer", "kind", "input", "output", "parameters", "multiply-adds", "output/batch")
    rows = [head]
    for layer in found.layers:
        frozen = " frozen" if layer.trained < layer.parameters else ""
        rows.append(
            (
                layer.name or "(model)",
                layer.kind,
                _as_text(layer.inputs),
                _as_text(layer.outputs),
                f"{layer.parameters:,}{frozen}" if layer.parameters else "",
                f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
                megabytes(layer.output_bytes * found.batch_size),
            )
        )
    frozen = f", {found.trained:,} of them trained" if found.trained < found.parameters else ""
    share = f"{found.parameters / found.samples:.3g} for each of {found.samples:,} training samples"
    parts = {
        "weights": found.weights_bytes,
        "gradients and optimizer": found.training_bytes,
        "kept for the backward pass": found.activation_bytes,
    }
    memory = ", ".join(f"{megabytes(count)} {what}" for what, count in parts.items())
    told = {"inputs": found.inputs, "outputs": found.outputs}
    return [
        *aligned(rows, right=(4, 5, 6)),
        "",
        *(f"{name:<15}{text}" for name, text in told.items() if text),
        f"parameters     {found.parameters:,}{frozen}; {share}",
        f"multiply-adds  {found.multiply_adds:,} for a sample, forward; a training step takes about three times that",
        f"memory         {megabytes(found.total_bytes)} in fp32, batch size {found.batch_size}: {memory}",
    ]


def megabytes(count: int) -> str:
    """`1.7 MB`; what is smaller than a tenth of one in KB."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} KB"


def _as_text(shape: Shape | None) -> str:
    return "" if shape is None else "x".join(map(str, shape)) or "1"

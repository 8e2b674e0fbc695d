"""Optimizers: torch's own, under torch's names."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.optim import Optimizer

from trainkit.config.base import Config
from trainkit.config.from_constructor import Options, torch_config_class
from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.models.pretrained import heads_of
from trainkit.training.losses import Together

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]

ARGUMENTS: Options = {
    "lr": (Rate, "Learning rate, before the scheduler scales it."),
    "weight_decay": (Decay, "L2 penalty, added to the gradient."),
    "betas": (tuple[Beta, Beta], "Decay of the running means of the gradient and of its size."),
    "eps": (Rate, "Added to the denominator."),
    "amsgrad": (bool, "Use the largest running mean of the square so far (Reddi et al., 2018)."),
    "momentum_decay": (Decay, "How fast the momentum rises to its full size."),
    "decoupled_weight_decay": (
        bool,
        "Take `lr * weight_decay` of a weight away from it, as AdamW does, instead of the L2 penalty.",
    ),
    "alpha": (Beta, "Decay of the running mean of the squared gradient."),
    "momentum": (Beta, "Share of the last update that is carried over."),
    "centered": (bool, "Divide by the standard deviation instead."),
    "lr_decay": (Decay, "The rate is divided by 1 + step * lr_decay."),
    "rho": (Beta, "Decay of the running means."),
}
"""What a config may give of torch's constructors."""


class OptimizerConfig(Config):
    """Base of every optimizer."""

    name: str
    lr: Rate = 1e-3
    """Learning rate, before the scheduler scales it."""
    head_lr: Rate | None = None
    """Learning rate of the model's last layer, or layers, where several give the outputs; by default the same as of all
    others."""
    weight_decay: Decay = 0.0
    """L2 penalty, added to the gradient."""
    decay_bias_and_norm: bool = True
    """Whether the decay also acts on parameters of fewer than two dimensions: biases, the scales and shifts of
    normalisation layers."""

    usual_lr: ClassVar[tuple[float, float]] = (1e-6, 1e-2)
    """Learning rates outside this range are worth a warning."""
    _closure: ClassVar[bool | None] = None
    """Whether `step` is called with a function that evaluates the loss again; None: where it cannot do without."""

    @abstractmethod
    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        """Build the optimizer of all parameters that take gradients.

        Raises:
            ConfigError: the optimizer is not made for such a model.
        """

    def needs_closure(self, optimizer: Optimizer) -> bool:
        """Whether its `step` is called with a function that evaluates the loss again."""
        if self._closure is not None:
            return self._closure
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        return closure is not None and closure.default is closure.empty

    def groups(self, model: nn.Module, parameters: Sequence[nn.Parameter] | None = None) -> list[dict[str, Any]]:
        """torch's parameter groups of the model, or of some of its parameters. The last layer comes last: the rate of
        the first group is the one that is recorded.

        Raises:
            ConfigError: `head_lr` is given, but no layer could be the last one.
        """
        groups: list[dict[str, Any]] = [{"params": trainable(model) if parameters is None else list(parameters)}]
        if self.head_lr is not None:
            head = _head(model)
            groups = _divided(groups, lambda parameter: parameter not in head, {"lr": self.head_lr})
        if not self.decay_bias_and_norm:
            groups = _divided(groups, lambda parameter: parameter.ndim >= 2, {"weight_decay": 0.0})
        return groups


def _divided(
    groups: list[dict[str, Any]], usual: Callable[[nn.Parameter], bool], instead: dict[str, float]
) -> list[dict[str, Any]]:
    """Each group as two: what is usual as it was, the others with other options. None is empty."""
    parts: list[dict[str, Any]] = []
    for group in groups:
        parts.append({**group, "params": [parameter for parameter in group["params"] if usual(parameter)]})
        others = [parameter for parameter in group["params"] if not usual(parameter)]
        parts.append({**group, **instead, "params": others})
    return [part for part in parts if part["params"]]


def _head(model: nn.Module) -> set[nn.Parameter]:
    model = model.model if isinstance(model, Together) else model
    names = heads_of(model)
    if not names:
        raise ConfigError("optimizer.head_lr: the model has no linear or convolutional layer")
    return {parameter for name in names for parameter in model.get_submodule(name).parameters()}


class TorchOptimizerConfig(OptimizerConfig):
    """Base of the optimizers that are one class of torch's, called with the fields of the config."""

    torch_class: ClassVar[type[Optimizer]]

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        options = self.model_dump(exclude={"name", "head_lr", "decay_bias_and_norm"})
        arguments = inspect.signature(self.torch_class).parameters
        if "fused" in arguments:
            options["fused"] = fused(device)
        if "capturable" in arguments:  # nothing of a step is read back by the host
            options["capturable"] = device.type == "cuda"
        return self.torch_class(self.groups(model), **options)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that take gradients, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def fused(device: torch.device) -> bool:
    """Whether torch's SGD, Adam, AdamW and Adagrad have one kernel for the whole update on this device."""
    return device.type in ("cpu", "cuda")


@register("optimizer")
class SgdConfig(TorchOptimizerConfig):
    """Stochastic gradient descent, with momentum on request."""

    name: Literal["sgd"] = "sgd"
    lr: Rate = 1e-2
    """Learning rate, before the scheduler scales it."""
    momentum: Beta = 0.0
    """Share of the last update that is carried over; 0.9 is usual."""
    nesterov: bool = False
    """Look ahead by the momentum (Sutskever et al., 2013)."""

    usual_lr: ClassVar[tuple[float, float]] = (1e-5, 1.0)
    torch_class: ClassVar[type[Optimizer]] = torch.optim.SGD

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self


def _register(about: str, torch_class: type[Optimizer], instead: Options | None = None, **defaults: float) -> Any:
    """Make an optimizer of torch known under its name in small letters, with the defaults of its constructor.

    Args:
        instead: what some of the arguments are here.
        defaults: those of torch that are whole numbers or not ours.
    """
    name = torch_class.__name__.lower()
    known, title = {**ARGUMENTS, **(instead or {})}, f"{name.title()}Config"
    made = torch_config_class(torch_class, title, name, TorchOptimizerConfig, about, known, defaults)
    made.torch_class = torch_class
    return register("optimizer")(made)


AdamConfig = _register(
    "Adam (Kingma and Ba, 2015, arXiv:1412.6980): the learning rate per weight adapts; the usual first choice.",
    torch.optim.Adam,
    weight_decay=0.0,
)
AdamwConfig = _register(
    "Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101).",
    torch.optim.AdamW,
    {"weight_decay": (Decay, "Each step takes `lr * weight_decay` of a weight away from it.")},
)
NadamConfig = _register("Adam with Nesterov's momentum (Dozat, 2016).", torch.optim.NAdam, weight_decay=0.0)
RadamConfig = _register(
    "Adam that holds back while it has seen few gradients, so that it needs no warm-up (Liu et al., 2020, "
    "arXiv:1908.03265).",
    torch.optim.RAdam,
    weight_decay=0.0,
)
AdamaxConfig = _register(
    "Adam that divides by the largest recent gradient instead of their mean (Kingma and Ba, 2015, arXiv:1412.6980).",
    torch.optim.Adamax,
    weight_decay=0.0,
)
RmspropConfig = _register(
    "Divides by a running mean of the gradient's size (Hinton, 2012, Coursera lecture 6).",
    torch.optim.RMSprop,
    weight_decay=0.0,
    momentum=0.0,
)
AdagradConfig = _register(
    "Divides by the sum of all squared gradients (Duchi et al., 2011): for sparse data; slows down for ever.",
    torch.optim.Adagrad,
    lr_decay=0.0,
    weight_decay=0.0,
)
AdadeltaConfig = _register(
    "Steps in proportion to past steps (Zeiler, 2012, arXiv:1212.5701): hardly needs a learning rate.",
    torch.optim.Adadelta,
    {"eps": (Rate, "Added to numerator and denominator.")},
    weight_decay=0.0,
)
AdagradConfig.usual_lr = (1e-5, 1.0)
AdadeltaConfig.usual_lr = (1e-3, 10.0)


class MuonWithAdamw(Optimizer):
    """Muon for some parameters and AdamW for the others, to the scheduler and the checkpoint a single optimizer."""

    def __init__(self, members: Sequence[Optimizer]) -> None:
        self.members = members
        super().__init__([group for member in members for group in member.param_groups], {})
        self._share()

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nothing here evaluates a loss twice
        for member in self.members:
            member.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()  # loading replaces the groups and the state

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for member in self.members:
            member.param_groups = list(islice(groups, len(member.param_groups)))
            member.state = self.state


@register("optimizer")
class MuonConfig(OptimizerConfig):
    """Muon for the weights of linear layers (Jordan et al., 2024, kellerjordan.github.io/posts/muon): steps along an
    orthogonal matrix near the momentum. AdamW for all that is no matrix (convolutions, biases, norms), and embeddings.

    torch's Muon scales a step to the size of AdamW's (Liu et al., 2025, arXiv:2502.16982), so that one learning rate
    and one weight decay serve both. Unlike both papers it also moves the output layer.
    """

    name: Literal["muon"] = "muon"
    weight_decay: Decay = 0.1
    """Each step takes `lr * weight_decay` of a weight away from it."""
    momentum: Beta = 0.95
    """Share of Muon's last update that is carried over."""
    nesterov: bool = True
    """Look ahead by the momentum."""
    ns_steps: int = Field(5, ge=1, lt=100)
    """Newton-Schulz iterations: more come nearer to an orthogonal matrix."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """AdamW's decay of the running means of the gradient and of its square."""

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
        parameters = trainable(model)
        matrices = [parameter for parameter in parameters if parameter.ndim == 2 and parameter not in embeddings]
        if not matrices:
            raise ConfigError(
                "optimizer: 'muon' is for models with linear layers, this one has none; use optimizer=adamw"
            )
        chosen = set(matrices)
        others = [parameter for parameter in parameters if parameter not in chosen]
        shared: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        muon = torch.optim.Muon(
            self.groups(model, matrices),
            momentum=self.momentum,
            nesterov=self.nesterov,
            ns_steps=self.ns_steps,
            adjust_lr_fn="match_rms_adamw",
            **shared,
        )
        members: list[Optimizer] = [muon]
        if others:
            members.append(
                torch.optim.AdamW(self.groups(model, others), betas=self.betas, fused=fused(device), **shared)
            )
        # The first group's rate is recorded: not that of the last layer, should it be the only linear one.
        members.sort(key=lambda member: member.param_groups[0]["lr"] != self.lr)
        return MuonWithAdamw(members)

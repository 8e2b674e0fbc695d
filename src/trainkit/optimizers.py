"""Optimizers: torch's own, under torch's names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.optim import Optimizer

from trainkit.config import Config
from trainkit.registry import register

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Config):
    """Base of every optimizer."""

    name: str
    lr: Rate = 1e-3
    """Learning rate, before the scheduler scales it."""
    weight_decay: Decay = 0.0
    """L2 penalty, added to the gradient."""

    usual_lr: ClassVar[tuple[float, float]] = (1e-6, 1e-2)
    """Learning rates outside this range are worth a warning."""
    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "clip_norm": "gradient clipping is train.clip_norm",
        "grad_clip": "gradient clipping is train.clip_norm",
    }

    @abstractmethod
    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        """Build the optimizer of all parameters that take gradients."""


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that take gradients, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def fused(device: torch.device) -> bool:
    """Whether torch's SGD, Adam, AdamW and Adagrad have one kernel for the whole update on this device."""
    return device.type in ("cpu", "cuda")


@register("optimizer")
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent, with momentum on request."""

    name: Literal["sgd"] = "sgd"
    lr: Rate = 1e-2
    """Learning rate, before the scheduler scales it."""
    momentum: Beta = 0.0
    """Share of the last update that is carried over; 0.9 is usual."""
    nesterov: bool = False
    """Look ahead by the momentum (Sutskever et al., 2013)."""

    usual_lr: ClassVar[tuple[float, float]] = (1e-5, 1.0)

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        return torch.optim.SGD(
            trainable(model),
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=fused(device),
        )


class AdamFamilyConfig(OptimizerConfig):
    """What Adam and AdamW share."""

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: Rate = 1e-8
    """Added to the denominator."""
    amsgrad: bool = False
    """Use the largest running mean of the square so far (Reddi et al., 2018)."""


@register("optimizer")
class AdamConfig(AdamFamilyConfig):
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980): the learning rate per weight adapts; the usual first choice."""

    name: Literal["adam"] = "adam"

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        return torch.optim.Adam(
            trainable(model),
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            amsgrad=self.amsgrad,
            fused=fused(device),
        )


@register("optimizer")
class AdamwConfig(AdamFamilyConfig):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101)."""

    name: Literal["adamw"] = "adamw"
    weight_decay: Decay = 0.01
    """Each step takes `lr * weight_decay` of a weight away from it."""

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        return torch.optim.AdamW(
            trainable(model),
            lr=self.lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            amsgrad=self.amsgrad,
            fused=fused(device),
        )


@register("optimizer")
class RmspropConfig(OptimizerConfig):
    """Divides by a running mean of the gradient's size (Hinton, 2012, Coursera lecture 6)."""

    name: Literal["rmsprop"] = "rmsprop"
    lr: Rate = 1e-2
    """Learning rate, before the scheduler scales it."""
    alpha: Beta = 0.99
    """Decay of the running mean of the squared gradient."""
    eps: Rate = 1e-8
    """Added to the denominator."""
    momentum: Beta = 0.0
    """Share of the last update that is carried over."""
    centered: bool = False
    """Divide by the standard deviation instead."""

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        return torch.optim.RMSprop(
            trainable(model),
            lr=self.lr,
            alpha=self.alpha,
            eps=self.eps,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            centered=self.centered,
        )


@register("optimizer")
class AdagradConfig(OptimizerConfig):
    """Divides by the sum of all squared gradients (Duchi et al., 2011): for sparse data; slows down for ever."""

    name: Literal["adagrad"] = "adagrad"
    lr: Rate = 1e-2
    """Learning rate, before the scheduler scales it."""
    lr_decay: Decay = 0.0
    """The rate is divided by 1 + step * lr_decay."""
    eps: Rate = 1e-10
    """Added to the denominator."""

    usual_lr: ClassVar[tuple[float, float]] = (1e-5, 1.0)

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        return torch.optim.Adagrad(
            trainable(model),
            lr=self.lr,
            lr_decay=self.lr_decay,
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=fused(device),
        )


@register("optimizer")
class AdadeltaConfig(OptimizerConfig):
    """Steps in proportion to past steps (Zeiler, 2012, arXiv:1212.5701): hardly needs a learning rate."""

    name: Literal["adadelta"] = "adadelta"
    lr: Rate = 1.0
    """Learning rate, before the scheduler scales it."""
    rho: Beta = 0.9
    """Decay of the running means."""
    eps: Rate = 1e-6
    """Added to numerator and denominator."""

    usual_lr: ClassVar[tuple[float, float]] = (1e-3, 10.0)

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        return torch.optim.Adadelta(
            trainable(model), lr=self.lr, rho=self.rho, eps=self.eps, weight_decay=self.weight_decay
        )

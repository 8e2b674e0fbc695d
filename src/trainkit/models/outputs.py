"""Which of the things that a model gives are its outputs: one rule for training, evaluation and predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainkit.core import nest
from trainkit.core.nest import Nest

NAMES = ("logits", "out")
"""What outputs are called in a dict, a dataclass or a named tuple, the likelier name first."""


def main_output(made: Nest, each: Sequence[int]) -> Tensor | None:
    """The tensor that counts of what a model gives: the one called `logits` or `out`; else the first of the wanted
    shape; else the first. None where there is no tensor.

    Args:
        each: what is wanted for one sample.
    """
    tensors = {name: leaf for name, leaf in nest.named_leaves(made) if isinstance(leaf, Tensor)}
    named = [tensors[name] for name in NAMES if name in tensors]
    fitting = [one for one in tensors.values() if one.ndim == 1 + len(each) and one.shape[1] == each[0]]
    return next(iter([*named, *fitting, *tensors.values()]), None)


def only_outputs(each: Sequence[int], model: nn.Module, _args: tuple[Nest, ...], made: Nest) -> Nest:
    """A forward hook that leaves nothing but outputs of what a model gives, such as a tuple, a dict or a dataclass.

    In training, others of their shape are those of auxiliary heads, and are to be right as well: numbers of each sample
    become (batch, heads, num_outputs), as of the members of an ensemble; masks a dict of `out` and the others.
    """
    if isinstance(made, Tensor) or (main := main_output(made, each)) is None:
        return made
    heads = [one for one in nest.tensors(made) if one is not main and one.shape == main.shape] if model.training else []
    heads = [one for one in heads if one.is_floating_point()]
    if not heads:
        return main
    if main.ndim == 2:
        return torch.stack([main, *heads], 1)
    return {"out": main, **{f"aux{number}": head for number, head in enumerate(heads)}}

"""Checkpoints that were cut, changed or made up: refused, or as good as the original, and never anything else."""

from __future__ import annotations

import collections
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.command import ROOT
from tests.conftest import payload
from trainkit.core.errors import CheckpointError, TrainkitError
from trainkit.experiment import building
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.runs import checkpoint, run, run_state
from trainkit.training.loop import train_steps

FIXTURE = ROOT / "tests/fixtures/checkpoint-schema-1.pt"


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, object]]:
    """Everything in a payload, such that equal means equal to the last bit."""
    if isinstance(value, dict | list | tuple):
        yield place, type(value)
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{place}.{key}")
    else:
        yield place, (value.dtype, value.shape, value.tolist()) if isinstance(value, Tensor) else (type(value), value)


def small() -> bytes:
    checkpoint.save(Path(), payload())
    return Path("last.pt").read_bytes()


def edges(content: bytes) -> list[int]:
    """Where the records of an archive begin, where their content begins, and where the table begins and ends."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        headers = [(entry.header_offset, len(entry.orig_filename)) for entry in archive.infolist()]
        return [*(at for begin, name in headers for at in (begin, begin + 30, begin + 30 + name)), archive.start_dir]


def is_refused(content: bytes, original: object) -> bool:
    """Whether a changed file is refused; if not, what is in it must be what was in the original."""
    Path("x.pt").write_bytes(content)
    try:
        loaded = checkpoint.load(Path("x.pt"))
    except CheckpointError as error:
        return not advises(error)
    assert list(leaves(loaded)) == original
    return False


def advises(error: TrainkitError) -> bool:
    """torch's own words advise to read such a file in a way that runs it."""
    return "weights_only" in str(error)


@pytest.mark.parametrize("read", [small, FIXTURE.read_bytes])
def test_a_cut_file(read: Any) -> None:
    content = read()
    cuts = {len(content) * part // 64 for part in range(64)} | {at + by for at in edges(content) for by in (-1, 0, 1)}
    assert all(is_refused(content[:cut], None) for cut in cuts if cut >= 0)
    # The last entry of the table, and the end of the table.
    assert all(is_refused(content[:-cut], None) for cut in range(1, 120))


@pytest.mark.parametrize(("read", "every"), [(small, 1), (FIXTURE.read_bytes, 64)])
def test_a_flipped_bit(read: Any, every: int) -> None:
    """Those that are not refused are in what nobody reads: dates, paddings, and the headers that the table repeats."""
    content = read()
    Path("x.pt").write_bytes(content)
    original = list(leaves(checkpoint.load(Path("x.pt"))))
    refused = 0
    places = range(0, len(content), every)
    for at in places:
        changed = bytearray(content)
        changed[at] ^= 1 << (at // every % 8)
        refused += is_refused(bytes(changed), original)
    assert refused > len(places) / 2


EXPERIMENT: dict[str, Any] = {
    "data": {
        "name": "synthetic",
        "shape": [1, 4, 4],
        "size": 3,
        "samples": 40,
        "val": 8,
        "test_samples": 8,
        "noise": 0,
    },
    "loader": {"batch_size": 8},
    "model": {"name": "mlp", "hidden": [3]},
    "scheduler": {"name": "plateau", "warmup_steps": 1},
    "train": {"epochs": 4, "max_steps": 6, "ema": 0.9, "eval_every": 2},
    "log": {"tensorboard": False},
}


@cache
def trained() -> tuple[Any, Any]:
    """A checkpoint in the middle of an epoch, and its data."""
    experiment = ExperimentConfig.from_plain(EXPERIMENT)
    last = run.train(experiment, quiet=True).run_dir / "checkpoints/last.pt"
    return torch.load(last, weights_only=True), building.open_data(experiment)[1]


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
TENSOR = torch.ones(3)
ODD: list[Any] = [
    None, True, False, -1, 0, 3, 2**63, -(10**30), 1.5, float("nan"), float("inf"), "", "x", "\ud800", "\x1b[2J",
    "adam", [], {}, (), [1], {"a": 1}, {0: 1}, b"x", {1}, 1j, _nested(90), ENDLESS, [TENSOR, TENSOR], TENSOR[1:],
    TENSOR, torch.zeros(()), torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), torch.full((3,), float("nan")),
    torch.eye(2).to_sparse(), torch.empty(3, device="meta"), torch.zeros(1).expand(7),
    torch.ones(3, requires_grad=True), torch.nn.Parameter(torch.ones(2)), torch.Size([1]), torch.float32,
    collections.OrderedDict(a=1),
]  # fmt: skip


def alike(value: Any, number: int) -> Any:
    """Another value of the same type: what a check of types alone would let through."""
    others: list[Any] = [number]
    match value:
        case bool():
            others = [not value]
        case int():
            others = [-1, 0, 1, 2, 7, 1000, 2**31, 2**62]
        case float():
            others = [0.0, -1.0, 0.5, 3, 1e9, 1e300, 1e-300]
        case str():
            others = ["", "x", "sgd", "digits", "none", "0", "1 epoch", "../x", "a" * 300]
        case dict():
            items = list(value.items())
            others = [{}, dict(items[:1]), dict(items[::-1]), {**value, "more": 1}]
        case list() | tuple():
            others = [value[:0], value[:1], value * 2, value[::-1], list(value), tuple(value)]
        case Tensor() if value.layout == torch.strided and value.device.type == "cpu" and not value.is_complex():
            others = [
                value * 0,
                value.float() * 0 + torch.inf,
                value.double(),
                value.half(),
                value.long(),
                value.bool(),
            ]
            others += [
                value.reshape(-1),
                value.reshape(1, -1),
                value.reshape(-1).repeat(2),
                torch.zeros(()),
                torch.zeros(0),
            ]
            others += [value.to(torch.complex64)]
    return others[number % len(others)]


def places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*above, key)
        if isinstance(value, dict | list | tuple) and len(value) < 100:
            yield from places(value, (*above, key))


def changed(tree: Any, place: tuple[Any, ...], how: str, number: int) -> Any:
    """A copy with something else at one place. A place that an earlier change has removed is left alone."""
    key, *below = place
    items = dict(tree.items() if isinstance(tree, dict) else enumerate(tree))
    if key in items and below:
        is_tree = isinstance(items[key], dict | list | tuple)
        items[key] = changed(items[key], tuple(below), how, number) if is_tree else items[key]
    elif key in items:
        value = items.pop(key)
        if how == "alike":
            items[key] = alike(value, number)
        elif how == "odd":
            items[key] = ODD[number % len(ODD)]
        elif how == "renamed":
            items[number if isinstance(key, int) else f"{key}{number}"] = value
    return items if isinstance(tree, dict) else type(tree)(items.values())


NUMBER = st.integers(0, 1000)
CHANGES = st.lists(
    st.tuples(NUMBER, NUMBER, st.sampled_from(["alike", "alike", "alike", "odd", "dropped", "renamed"]), NUMBER),
    min_size=1,
    max_size=3,
)
"""What is changed (a section, a place in it), and into what."""


def _resume(path: Path) -> None:
    """What `trainkit train --resume` does with a file before the first step, and that step."""
    content, data = checkpoint.load(path), trained()[1]
    experiment = run_state.experiment_of(path, content)
    if experiment.data != ExperimentConfig.from_plain(EXPERIMENT).data:
        return
    parts, plan = building.build(experiment.restored(), data, torch.device("cpu"))
    run_state.restore(path, content, data.digests(), parts)
    progress = run_state.progress_of(path, content, plan)
    next(train_steps(parts, plan, progress))


@settings(max_examples=settings().max_examples // 2)
@given(CHANGES)
def test_nothing_but_declared_errors_leaves(changes: list[tuple[int, int, str, int]]) -> None:
    content = original = trained()[0]
    for section, place, how, number in changes:
        key = list(original)[section % len(original)]
        known = [where for where in places(original) if where[0] == key]
        content = changed(content, known[place % len(known)], how, number)
    torch.save(content, "x.pt")
    for use in (_resume, evaluate_checkpoint):
        advised = False
        try:
            use(Path("x.pt"))
        except TrainkitError as error:
            advised = advises(error)
        assert not advised

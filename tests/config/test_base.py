from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tests.command import ROOT
from trainkit.config import merging, validation, yamlfile
from trainkit.config.base import Config
from trainkit.config.yamlfile import Where
from trainkit.core.errors import ConfigError, TrainkitError
from trainkit.core.suggestions import did_you_mean
from trainkit.experiment.loading import load, parse
from trainkit.experiment.schema import ExperimentConfig

BARE = "data: digits\nmodel: mlp\n"


def plain(text: str, *overrides: str) -> dict[str, Any]:
    Path("cfg.yaml").write_text(text)
    return load(Path("cfg.yaml"), overrides).to_plain()


FULL = """\
name: full
data: {name: mnist, augment: [random_crop, {name: random_horizontal_flip, p: 0.1}]}
model: {name: cnn, channels: [4]}
optimizer: {name: adam, lr: 0.5, betas: [0.8, 0.9]}
loss: cross_entropy
train: {early_stopping: {patience: 3}, max_steps: 7}
"""
DECAY_PLAIN = {"head_lr": None, "weight_decay": 0.0, "decay_bias_and_norm": True}
ADAM_PLAIN = {"name": "adam", "lr": 0.5, **DECAY_PLAIN, "betas": [0.8, 0.9], "eps": 1e-8, "amsgrad": False}
SGD_PLAIN = {"name": "sgd", "lr": 0.01, **DECAY_PLAIN, "momentum": 0.0, "nesterov": False}


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (["train.early_stopping=null"], "train.early_stopping", None),
        (["train.max_steps=null"], "train.max_steps", None),
        (["train.early_stopping.patience=4"], "train.early_stopping", {"patience": 4, "min_delta": 0.0}),
        (["model.channels=[8,16]"], "model.channels", [8, 16]),
        (["name=other"], "model.channels", [4]),
        (["name=2024"], "name", "2024"),
        # A preset's name goes when its parts are given.
        (["data.normalize.mean=0.5", "data.normalize.std=0.2"], "data.normalize", {"mean": 0.5, "std": 0.2}),
        # A new name drops the old keys, and the order of the overrides is of no consequence.
        (["optimizer=sgd"], "optimizer", SGD_PLAIN),
        (["optimizer.name=sgd"], "optimizer", SGD_PLAIN),
        (["optimizer={name: sgd}"], "optimizer", SGD_PLAIN),
        (["optimizer.lr=0.7", "optimizer=sgd"], "optimizer", SGD_PLAIN | {"lr": 0.7}),
        (["optimizer.momentum=0.9", "optimizer.name=sgd"], "optimizer", SGD_PLAIN | {"momentum": 0.9}),
        (["optimizer=adam"], "optimizer", ADAM_PLAIN),
        (["optimizer={lr: 1.0}"], "optimizer", ADAM_PLAIN | {"lr": 1.0}),
        # A name is short for a mapping with nothing else.
        (["loss.label_smoothing=0.1"], "loss", {"name": "cross_entropy", "label_smoothing": 0.1, "weight": None}),
        (["metrics=[accuracy,f1]"], "metrics.1.name", "f1"),
        (["metrics=[{name: accuracy, top_k: 2}]", "metrics.0.top_k=3"], "metrics.0.top_k", 3),
        (["data.augment.0.padding=2"], "data.augment.0.padding", 2),
        (["data.augment[1].p=0.3"], "data.augment.1", {"name": "random_horizontal_flip", "p": 0.3}),
        (["optimizer.betas.0=0.5"], "optimizer.betas", [0.5, 0.9]),
    ],
)  # fmt: skip
def test_overrides(overrides: list[str], key: str, value: object) -> None:
    found: Any = plain(FULL, *overrides)
    for part in key.split("."):
        found = found[int(part)] if part.isdecimal() else found[part]
    assert found == value


def test_a_preset_in_parts_needs_all_of_them() -> None:
    with pytest.raises(ConfigError, match=r"^command line: data\.normalize\.std: value is missing$"):
        plain(FULL, "data.normalize.mean=0.5")


def test_there_is_no_item_beyond_the_list() -> None:
    with pytest.raises(ConfigError, match=r"^command line: optimizer\.betas: expected a list, got a mapping$"):
        plain(FULL, "optimizer.betas.2=0.5")


def write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/")).with_suffix(".yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_file_extends_its_parents_relative_to_itself() -> None:
    write(base=FULL, sub__middle="extends: ../base.yaml\nname: middle\nmodel: mlp\noptimizer: {lr: 0.25}\n")
    found = plain("extends: sub/middle.yaml\noptimizer: {eps: 1.0}\nloss: {label_smoothing: 0.5}\n")
    assert found["name"] == "middle"
    assert found["model"]["name"] == "mlp"
    assert found["optimizer"] == ADAM_PLAIN | {"lr": 0.25, "eps": 1.0}
    assert found["loss"]["label_smoothing"] == 0.5
    assert plain("extends: base.yaml\noptimizer: {name: sgd}\n")["optimizer"] == SGD_PLAIN


def test_a_stored_config_names_its_checkpoint() -> None:
    node = yamlfile.from_plain({"data": "digits", "model": "mlp", "seed": -1}, Where("last.pt"))
    with pytest.raises(ConfigError) as caught:
        parse(node, beside=None)
    assert caught.value.problems == ("last.pt: seed: must be >= 0, got -1",)


KEYS = """
    name seed data data.val data.normalize data.normalize.mean model model.hidden model.hidden.0 imports metrics
    metrics.0.name optimizer optimizer.name optimizer.lr train train.early_stopping extends a.b.c [
"""
PIECES = [*"01.,-+e[]{}: '\"#&*!|~\n\t\x00\udc00", "null", "true", "mlp", "sgd", "lr: ", "name: ", "json"]
BYTES = st.sampled_from(
    [b"", b"\t", b"\r", b"\n  ", b": ", b"- ", b"{", b"]", b"'", b'"\\0"', b"&a ", b"!!int ", b"#", b"\xe9"]
) | st.binary(max_size=4)
WORDS = [
    "", "auto", "1e999", "0x10", "a,b", "no", "sgd", "cnn", "adam", "digits", "x" * 300, "~nobody", "a\nb", "\x1b[31m",
    "\u2028", "1 epochs", "2 minutes", "${x}", "val/loss", "balanced", "name", "cuda:300",
]  # fmt: skip
ODD = st.recursive(
    st.sampled_from([None, True, 0, -1, 0.5, -0.0, 1e308, 10**12, 2**64, *WORDS]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "x", "0", ""]), inner, max_size=2)
    ),
    max_leaves=4,
)
keys = st.sampled_from(["", *KEYS.split()])
words = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@given(st.lists(st.tuples(keys, words).map("=".join) | st.text(), max_size=4))
def test_only_trainkit_errors_leave_the_overrides(overrides: list[str]) -> None:
    base = yamlfile.parse(BARE, Where("cfg.yaml", 1, 1))
    assert base is not None
    check_told(lambda: parse(merging.override(base, overrides), beside=None))


SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))


def check_told(make: Callable[[], ExperimentConfig]) -> None:
    """A config is made that can be stored, or it is told in printable lines why not."""
    problems: tuple[str, ...] = ()
    try:
        experiment = make()
        assert ExperimentConfig.from_plain(experiment.to_plain()) == experiment
        return
    except TrainkitError as error:
        problems = error.problems
    assert problems
    assert all(problem and problem.isprintable() for problem in problems)


@given(st.sampled_from(SHIPPED), st.data())
def test_only_trainkit_errors_leave_files_with_other_bytes(path: Path, data: st.DataObject) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4), "changes")):
        start = data.draw(st.integers(0, len(content)), "start")
        length = data.draw(st.integers(0, 8), "length")
        content[start : start + length] = data.draw(BYTES, "instead")
    changed = Path("cfg.yaml")
    changed.write_bytes(content)
    check_told(lambda: parse(merging.read(changed), beside=None))


Change = Callable[[Any, Any, Any], None]
"""Changes what stands under a key of a mapping or a list; the last argument is something odd."""


def replace(parent: Any, key: Any, odd: Any) -> None:
    parent[key] = odd


def misspell(parent: Any, key: Any, odd: Any) -> None:
    if isinstance(parent, dict):
        parent[key[:-1]] = parent.pop(key)


def nest(parent: Any, key: Any, odd: Any) -> None:
    parent[key] = {key: parent[key]} if isinstance(parent, dict) else [parent[key]]


def unnest(parent: Any, key: Any, odd: Any) -> None:
    if isinstance(parent, dict) and isinstance(parent[key], dict):
        parent.update(parent.pop(key))


def remove(parent: Any, key: Any, odd: Any) -> None:
    del parent[key]


def add(parent: Any, key: Any, odd: Any) -> None:
    if isinstance(parent, dict):
        parent[str(odd)] = parent[key]
    else:
        parent.append(odd)


CHANGES: list[Change] = [replace, misspell, nest, unnest, remove, add]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every mapping and list inside, with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@given(st.sampled_from(SHIPPED), st.data())
def test_only_trainkit_errors_leave_configs_that_were_changed(path: Path, data: st.DataObject) -> None:
    plain = merging.read(path).plain()
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        if there := list(places(plain)):
            change, (parent, key) = data.draw(st.sampled_from(CHANGES)), data.draw(st.sampled_from(there))
            change(parent, key, data.draw(ODD, "odd"))
    text = yamlfile.dump(plain)
    node = yamlfile.parse(text, Where("cfg.yaml", 1, 1))
    if node is not None:
        check_told(lambda: parse(node, beside=None))


class Inner(Config):
    """For tests of what no shipped config has."""

    size: int = Field(1, multiple_of=2)
    code: str = Field("aa", pattern="^[a-z]+$", max_length=3)
    pair: tuple[int, int] | int = 0


class Outer(Config):
    """For tests of what no shipped config has."""

    kind: Literal["x"] = "x"
    parts: dict[str, Inner] = {}
    several: tuple[Annotated[Inner, "documented"], ...] = ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("several: [{size: 3}]", "1:18: several[0].size: expected a multiple of 2, got 3"),
        ("several: [{}, {sice: 3}]", "1:16: several[1].sice: unknown key; did you mean 'size'?"),
        ("parts: {a: {code: A1}}", "1:19: parts.a.code: expected text that matches ^[a-z]+$, got 'A1'"),
        ("parts: {a: {code: abcd}}", "1:19: parts.a.code: expected at most 3 characters, got 'abcd'"),
        ("parts: {a: {cod: 1}}", "1:13: parts.a.cod: unknown key; did you mean 'code'?"),
        ("parts: {a: {pair: [1]}}", "1:19: parts.a.pair: expected 2 values, got 1"),
        ("parts: {a: {pair: [1, x]}}", "1:23: parts.a.pair[1]: expected a whole number, got 'x'"),
        ("parts: {a: {pair: x}}", "1:19: parts.a.pair: expected a list or a whole number, got 'x'"),
    ],
)
def test_configs_of_other_shapes(text: str, expected: str) -> None:
    node = yamlfile.parse(text, Where("cfg.yaml", 1, 1))
    assert node is not None
    with pytest.raises(ConfigError) as caught:
        validation.validate(Outer, node)
    assert caught.value.problems == (f"cfg.yaml:{expected}",)


def test_configs_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Inner().size = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "known", "expected"),
    [
        ("admw", ["adam", "adamw"], "adamw"),
        ("Adam", ["sgd", "adam"], "adam"),
        ("learning_rate", ["momentum", "lr"], "lr"),
        ("num_epochs", ["epochs"], "epochs"),
        ("epochs", ["train.epochs"], "train.epochs"),
        ("acc", ["loss", "accuracy"], "accuracy"),
        ("--quite", ["--quiet"], "--quiet"),
        ("xyz", ["adam"], None),
        ("", ["adam"], None),
    ],
)
def test_the_nearest_name(wrong: str, known: list[str], expected: str | None) -> None:
    assert did_you_mean(wrong, known) == (f"; did you mean {expected!r}?" if expected else "")

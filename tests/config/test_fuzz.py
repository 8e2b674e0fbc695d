"""Whatever a file or the command line holds becomes a config that can be stored, or an error in printable lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.command import ROOT
from trainkit.config import merging, yamlfile
from trainkit.config.yamlfile import Where
from trainkit.core.errors import TrainkitError
from trainkit.experiment.loading import parse
from trainkit.experiment.schema import ExperimentConfig

BARE = "data: digits\nmodel: mlp\n"
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
    check_made_or_refused(lambda: parse(merging.override(base, overrides), beside=None))


SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))


def check_made_or_refused(make: Callable[[], ExperimentConfig]) -> None:
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
    check_made_or_refused(lambda: parse(merging.read(changed), beside=None))


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
        check_made_or_refused(lambda: parse(node, beside=None))

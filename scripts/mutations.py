"""How many mistakes in a config are found before training, and how often the first suggestion is right.

    python scripts/mutations.py

Every shipped config is spoiled in hundreds of ways, one at a time: keys and names misspelled, types and sizes wrong,
keys in the wrong section. Each is validated as `trainkit check` does first, without the data.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from trainkit.checks.checking import read
from trainkit.config import merging, yamlfile
from trainkit.core.errors import ConfigError, DataError
from trainkit.experiment.schema import ExperimentConfig

CONFIGS = Path(__file__).parent.parent / "configs"
FREE = (
    *("name", "path", "root", "file", "labels", "target", "targets", "test", "weights", "arch", "imports", "monitor"),
    *("path_column", "label_column"),
)
"""Keys whose values may be any text, or are not known before the data is."""
ANYTHING = ("data.inputs", "data.target", "data.normalize.mean", "sweep.axes.seed")
"""Places where nearly any number or word is right."""
OTHER_WORDS = {
    "lr": ("learning_rate", "LR", "Lr"),
    "epochs": ("num_epochs", "epoch", "n_epochs", "max_epochs"),
    "batch_size": ("batchsize", "batch", "bs"),
    "weight_decay": ("wd", "weightdecay", "decay"),
    "optimizer": ("optim", "optimiser"),
    "scheduler": ("lr_scheduler",),
    "seed": ("random_seed",),
    "hidden": ("hidden_sizes", "hiddens"),
    "dropout": ("drop", "dropout_rate"),
}
"""What people call these elsewhere."""


class Mutation(NamedTuple):
    """One mistake."""

    config: str
    kind: str
    place: str
    plain: dict[str, Any]
    meant: str | None
    """What the first suggestion should be; None where none is expected."""


def mutations() -> Iterator[Mutation]:
    """Every mistake, in the same order every time."""
    for path in sorted(CONFIGS.glob("*.yaml")):
        plain = merging.read(path).plain()
        for kind, place, mutated, meant in _spoiled(plain):
            yield Mutation(path.name, kind, place, mutated, meant)


def outcome(mutation: Mutation, place: Path) -> str | None:
    """The problem that is told first; None where the mistake is accepted."""
    path = place / mutation.config
    path.write_text(yamlfile.dump(mutation.plain))
    try:
        read(path, [])
    except (ConfigError, DataError) as error:
        return error.problems[0]
    return None


def suggested(problem: str) -> str | None:
    """The first suggestion in a problem."""
    found = re.search(r"did you mean '(.+?)'\?", problem)
    return found[1] if found else None


def _spoiled(plain: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], str | None]]:
    for path, value in _places(plain):
        key, place = path[-1], ".".join(map(str, path))
        if place.startswith(ANYTHING):
            continue
        if isinstance(key, str):
            for wrong in _misspelled(key):
                yield "key misspelled", place, _renamed(plain, path, wrong), key
            for wrong in OTHER_WORDS.get(key, ()):
                yield "key by another word", place, _renamed(plain, path, wrong), key
        if isinstance(value, str) and (key not in FREE or (key == "name" and len(path) > 1)):
            for wrong in _misspelled(value):
                yield "name misspelled", place, _put(plain, path, wrong), value
        for wrong in _wrong_types(key, value):
            yield "wrong type", place, _put(plain, path, wrong), None
        for wrong in _wrong_sizes(value):
            yield "wrong size", place, _put(plain, path, wrong), None
        if len(path) == 2 and isinstance(key, str) and key != "name":
            yield from _moved(plain, path, value)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if path:
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*path, key))


def _misspelled(word: str) -> list[str]:
    """A letter left out, two exchanged, one doubled, in the middle of a word of four letters or more."""
    if len(word) < 4 or not re.fullmatch(r"[a-z][a-z0-9_]*", word):
        return []
    at = len(word) // 2
    wrong = [
        word[:at] + word[at + 1 :],
        word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
        word[:at] + word[at - 1 :],
    ]
    return [each for each in dict.fromkeys(wrong) if each != word]


def _wrong_types(key: str | int, value: Any) -> list[Any]:
    if isinstance(value, bool):
        return ["maybe", 3]
    if isinstance(value, int | float):
        return ["many", [[value]], {"value": value}]
    if isinstance(value, dict):
        return [3, [value]]
    if isinstance(value, list):
        return [{"first": value}, True]
    return [] if key in FREE else [3, {"value": value}]


def _wrong_sizes(value: Any) -> list[Any]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return [-value, -1e30] if is_number and value > 0 else []


def _moved(
    plain: dict[str, Any], path: tuple[str | int, ...], value: Any
) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """A key one level too high, or in the neighbouring section."""
    section, key = map(str, path)
    field = ExperimentConfig.model_fields[section]
    # Of a section whose keys depend on its name, no home can be suggested.
    known = key in getattr(type(field.default), "model_fields", {})
    meant = f"{section}.{key}" if known else None
    without = _put(plain, path, None)
    del without[section][key]
    if key not in ExperimentConfig.model_fields:
        yield "wrong nesting", ".".join(map(str, path)), {**without, key: value}, meant or ""
    other = "train" if section != "train" else "loader"
    if key not in type(ExperimentConfig.model_fields[other].default).model_fields:
        yield "wrong nesting", ".".join(map(str, path)), _put(without, (other, key), value), meant or ""


def _put(plain: dict[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    copy = deepcopy(plain)
    here: Any = copy
    for part in path[:-1]:
        if isinstance(here, dict):
            here.setdefault(part, {})
            here[part] = {"name": here[part]} if isinstance(here[part], str) else here[part]
        here = here[part]
    here[path[-1]] = value
    return copy


def _renamed(plain: dict[str, Any], path: tuple[str | int, ...], wrong: str) -> dict[str, Any]:
    copy = deepcopy(plain)
    here: Any = copy
    for part in path[:-1]:
        here = here[part]
    items = [(wrong if key == path[-1] else key, value) for key, value in here.items()]
    here.clear()
    here.update(items)
    return copy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print what was missed")
    options = parser.parse_args()
    rows: dict[str, list[int]] = {}
    with TemporaryDirectory() as folder:
        for mutation in mutations():
            problem = outcome(mutation, Path(folder))
            right = problem is not None and suggested(problem) == mutation.meant
            row = rows.setdefault(mutation.kind, [0, 0, 0, 0])
            row[0] += 1
            row[1] += problem is not None
            row[2] += bool(mutation.meant)
            row[3] += bool(mutation.meant) and right
            if options.show and (problem is None or (mutation.meant and not right)):
                told = problem or "accepted"
                print(f"{mutation.config} {mutation.kind} {mutation.place}: {told} (meant {mutation.meant})")
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    print("| mistake | cases | found | first suggestion right |\n|-|-|-|-|")
    for kind, (cases, caught, expected, right) in rows.items():
        share = f"{right:,} of {expected:,} ({right / expected:.1%})" if expected else "none expected"
        print(f"| {kind} | {cases:,} | {caught:,} ({caught / cases:.1%}) | {share} |")


if __name__ == "__main__":
    main()

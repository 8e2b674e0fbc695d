"""A first config: one of the examples, or what a look at a folder of pictures or a table suggests."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

from trainkit.config.yamlfile import resolve
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.suggestions import did_you_mean, did_you_mean_path
from trainkit.core.text import and_more, counted, printable
from trainkit.data import Data
from trainkit.data.folders import files_below, is_hidden
from trainkit.data.images.image_files import ENDINGS, HEIF, find, no_pictures
from trainkit.data.images.pairs import sizes
from trainkit.data.sources.image_folder import ImageFolderConfig
from trainkit.data.sources.image_list import ImageListConfig
from trainkit.data.sources.segmentation_folder import SegmentationFolderConfig
from trainkit.data.sources.table import CsvConfig
from trainkit.data.sources.text_folder import TextFolderConfig
from trainkit.tasks import Task

TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".jsonl")
TARGETS = ("target", "label", "labels", "class", "y", "outcome", "category", "species", "diagnosis", "price")
"""What a column to be predicted is often called; else it is the last one."""
DELIMITERS = (";", "\t", "|")
"""Tried where a comma, or what the name says, gives no columns."""
LOOKED_AT = 500
"""Pictures whose sizes are read, and rows in which paths are looked for."""
TINY = 8
"""Of smaller pictures a convolution sees no more than a linear layer, and a crop takes half of them away."""
SMALL = 64
"""Pictures up to this side are for a network trained from scratch, larger ones for one that has learned from others."""
STEPS = 2000
"""A first training is about so long."""
UNEVEN = 10
"""So many times as many samples of one class as of another one are worth a word."""

Columns = dict[str, list[str]]


def examples() -> dict[str, Path]:
    """The configs that come along, by their names."""
    package = Path(__file__).parents[1]
    folder = next(place for place in (package / "configs", package.parents[1] / "configs") if place.is_dir())
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def example(name: str) -> dict[str, str]:
    """One of them and those that it extends: their names and texts.

    Raises:
        ConfigError: there is none of that name.
    """
    there = examples()
    if name not in there:
        hint = did_you_mean_path(Path(name)) or did_you_mean(name, there)
        raise ConfigError(f"command line: {name}: no such file, folder or example{hint}")
    lines = there[name].read_text(encoding="utf-8").splitlines(keepends=True)
    # The schema does not lie beside it.
    text = "".join(line for line in lines if "yaml-language-server" not in line).replace("configs/", "", 1)
    extended = re.search(r"^extends: (\w+)\.yaml$", text, re.MULTILINE)
    return {name: text} | (example(extended[1]) if extended else {})


def name_of(path: Path) -> str:
    """What a first config for it is called."""
    stem = os.path.basename(os.path.abspath(path)).lstrip(".").partition(".")[0]  # noqa: PTH100, PTH119  # knows `..`
    return re.sub("[^a-zA-Z0-9_-]+", "-", stem).strip("-") or "first"


def suggest(path: Path, target: str | None = None) -> str:
    """A config with comments for a folder of pictures or texts or a table, which its data has been read with.

    Args:
        target: the column to be predicted; by default one whose name says so, else the last.

    Raises:
        DataError: what is there is neither, or damaged.
        ConfigError: `target` is given, but there are no columns.
    """
    tables = [path] if path.is_file() else [one for one in sorted(path.iterdir()) if _is_table(one)]
    listed = next((one for one in tables if _paths(_columns(one)[0])), None)
    if listed:
        lines = _list(path if path.is_dir() else path.parent, listed, target)
    elif path.is_file():
        lines = _table(path, target)
    elif target:
        raise ConfigError(f"command line: --target: {path} is no table and has none that lists its pictures")
    elif (path / "images").is_dir() and (path / "masks").is_dir():
        lines = _masks(path)
    elif find(path).pictures:
        lines = _folder(path)
    elif any("/" in name and name.lower().endswith(".txt") for name in files_below(path)):
        lines = _texts(path)
    else:
        text = f"; for a table, name the file: {and_more([*map(str, tables)])}" if tables else ""
        raise DataError(f"{no_pictures(path, find(path))}{text}")
    return "\n".join([f"name: {_text(name_of(path))}", *lines, ""])


def _folder(path: Path) -> list[str]:
    data = ImageFolderConfig(path=str(path)).open(0)
    return _pictures(data, "image_folder", {"path": str(path)}, path)


def _texts(path: Path) -> list[str]:
    data = TextFolderConfig(path=str(path)).open(0)
    batch_size = _batch_size(len(data.train))
    return [
        "data:",
        "  name: text_folder",
        f"  path: {_text(str(path))}",
        "  stratify: true  # classes keep their proportions",
        _held_out(data),
        "  # tokenizer: bpe  # frequent pieces of words, of which none is unknown",
        *_uneven(data.spec.task),
        *([f"loader: {{batch_size: {batch_size}}}"] if batch_size < 32 else []),
        "# The model is the mean of the words' vectors, which brings its own settings; these read the order, too:",
        "# model: {name: lstm, bidirectional: true, dropout: 0.3}",
    ]


def _list(folder: Path, file: Path, target: str | None) -> list[str]:
    """Pictures whose labels stand in a file."""
    columns, delimiter = _columns(file)
    path = _paths(columns)
    keys = {"path": str(folder), "file": str(file), **delimiter, "path_column": path}
    others = [name for name in columns if name != path]
    repeated = [name for name in others if len({*columns[name]}) <= len(columns[name]) / 2]
    keys["label_column"] = target or _likely(repeated or others)
    data, asked = _opened(ImageListConfig.from_plain({"name": "image_list", **keys}))
    return _pictures(data, "image_list", {**keys, **asked}, folder)


def _pictures(data: Data, name: str, keys: dict[str, str], root: Path) -> list[str]:
    files = find(root).pictures
    sides = [min(size) for size in sizes(root, files[:: len(files) // LOOKED_AT + 1]) if size]
    side, samples, task = round(median(sides or [224])), len(data.train), data.spec.task
    batch_size = _batch_size(samples)
    common = [
        "data:",
        f"  name: {name}",
        *(f"  {key}: {_text(value)}" for key, value in keys.items()),
        *(["  stratify: true  # classes keep their proportions"] if task.reading == "words" else []),
        _held_out(data),
    ]
    if side < TINY:
        own = [
            f"  size: {side}  # the usual side of the pictures",
            "  normalize: auto",
            "model: {name: mlp, hidden: [128]}",
            "optimizer: {name: adamw, lr: 1e-3, weight_decay: 0.01}",
        ]
    elif side <= SMALL:
        own = [
            f"  size: {side}  # the usual side of the pictures",
            "  normalize: auto",
            f"  augment: [{{name: random_crop, padding: {max(1, side // 8)}}}]",
            "  # augment: [random_crop, random_horizontal_flip]  # where left and right mean the same",
            "model: {name: cnn, channels: [32, 64], hidden: [128]}",
            "optimizer: {name: adamw, lr: 1e-3, weight_decay: 0.01}",
        ]
    else:
        own = [
            f"  size: 224  # the usual side of the pictures is {side}",
            "  normalize: imagenet  # as the weights were trained",
            "  augment: [random_resized_crop, random_horizontal_flip]  # no flip where left is not right",
            "# The weights are downloaded once; leave them out, and it takes many more pictures and epochs.",
            "model: {name: torchvision, arch: resnet18, weights: DEFAULT}",
            "optimizer: {name: adamw, lr: 1e-4, head_lr: 1e-3, weight_decay: 0.01}",
        ]
    return [*common, *own, *_uneven(task), f"loader: {{batch_size: {batch_size}}}", *_length(samples, batch_size)]


def _masks(path: Path) -> list[str]:
    data = SegmentationFolderConfig(path=str(path)).open(0)
    return [
        "data:",
        "  name: segmentation_folder",
        f"  path: {_text(str(path))}",
        f"  # classes: [background, …]  # names of the {data.spec.task.size} values",
        "  size: 256",
        "  normalize: auto",
        _held_out(data),
        "  augment: [random_horizontal_flip, {name: random_crop, padding: 16}]",
        "model: {name: unet, channels: [16, 32, 64, 128]}",
        "loss: {name: sum, of: [{loss: cross_entropy}, {loss: dice}]}",
        "optimizer: {name: adam, lr: 1e-3}",
        "loader: {batch_size: 8, eval_batch_size: 8}",
        *_length(len(data.train), 8),
    ]


def _table(path: Path, target: str | None) -> list[str]:
    columns, delimiter = _columns(path)
    target = target or _likely([*columns])
    given = {"name": "csv", "path": str(path), "target": target, "missing": "mean", **delimiter}
    data, asked = _opened(CsvConfig.from_plain(given))
    gaps = [column.name for column in data.columns if column.missing and column.name != target]
    task = data.spec.task
    others = [name for name in columns if name != target]
    return [
        "data:",
        "  name: csv",
        f"  path: {_text(str(path))}",
        *(f"  {key}: {_text(value)}" for key, value in delimiter.items()),
        f"  target: {_text(target)}  # {task.phrase}; the other columns: {printable(and_more(others))}",
        *(f"  {key}: {value}" for key, value in asked.items()),
        *([f"  missing: mean  # gaps in {printable(and_more(gaps))}"] if gaps else []),
        "  # ignore: [id]    # columns that say nothing, or that nobody knows beforehand",
        "  # group: patient  # all rows with the same value are in the same split",
        _held_out(data),
        f"metrics: {'[accuracy, f1]' if task.reading == 'words' else '[mae, r2]'}",
        *_uneven(task),
        "# The model is the one for tables, which brings its own settings.",
    ]


def _opened(config: CsvConfig | ImageListConfig) -> tuple[Data, dict[str, str]]:
    """The data, and what had to be said for it to be read."""
    try:
        return config.open(0), {}
    except DataError as error:
        if not str(error).startswith("data.task:"):
            if "data." in str(error):  # there is no config yet to say it in
                begun = json.dumps(config.model_dump(mode="json", exclude_unset=True), ensure_ascii=False)
                way_out = f"say it in a config of your own, which may begin with data: {begun}"
                raise DataError(*error.problems, way_out) from None
            raise
    # Whole numbers that may be quantities or only names.
    return config.model_copy(update={"task": "regression"}).open(0), {"task": "regression"}


def _held_out(data: Data) -> str:
    parts = [f"{counted(len(split), 'sample')} {name}" for name, split in data.splits.items()]
    later = "" if data.test else "; a test split of their own would be looked at once, at the end"
    return f"  # {', '.join(parts)}{later}"


def _batch_size(samples: int) -> int:
    """At least four steps an epoch, of few samples."""
    return 64 if samples >= 5000 else min(32, 1 << max(1, (samples // 4).bit_length() - 1))


def _uneven(task: Task) -> list[str]:
    if task.reading != "words" or max(task.counts) < UNEVEN * max(1, min(task.counts)):
        return []
    rare = task.known_names[task.counts.index(min(task.counts))]
    return [f"# There are few samples of {rare!r}: sampler=balanced in loader shows them as often as others."]


def _length(samples: int, batch_size: int) -> list[str]:
    epochs = min(50, max(5, round(STEPS * batch_size / samples)))
    return ["scheduler: cosine", f"train: {{epochs: {epochs}, precision: auto}}"]


def _is_table(path: Path) -> bool:
    return path.is_file() and not is_hidden(path.name) and path.name.lower().endswith(TABLES)


def _columns(path: Path) -> tuple[Columns, dict[str, str]]:
    """The first texts of each column, and `delimiter` where it is not the usual one."""
    from trainkit.data.tables.table_files import read  # brings pyarrow, for those who read a table

    for delimiter in (None, *DELIMITERS):
        with suppress(DataError):
            found = read([str(path)], [], key="path", delimiter=delimiter).columns
            if len(found) > 1:
                break
    else:
        delimiter, found = None, read([str(path)], [], key="path").columns
    texts = {name: column.slice(0, LOOKED_AT).to_pylist() for name, column in found.items()}
    return texts, {"delimiter": delimiter} if delimiter else {}


def _paths(columns: Columns) -> str:
    """The column whose texts are all names of pictures; empty where there is none."""
    endings = (*ENDINGS, *HEIF)
    full = {name: texts for name, texts in columns.items() if texts}
    return next((name for name in full if all(text.lower().endswith(endings) for text in full[name])), "")


def _likely(names: Sequence[str]) -> str:
    """The column that is most likely to be predicted."""
    by_word = {name.lower(): name for name in names}
    return next((by_word[word] for word in TARGETS if word in by_word), names[-1])


def _text(value: str) -> str:
    """As it is written in YAML."""
    plain = re.fullmatch(r"[a-zA-Z_./][a-zA-Z0-9_./-]*", value) and isinstance(resolve(value), str)
    return value if plain else json.dumps(value, ensure_ascii=False)

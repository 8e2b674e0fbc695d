"""Whatever a file of data holds, a source either reads it or says what is wrong: nothing else leaves it.

Three hundred examples each, always the same; `HYPOTHESIS_PROFILE=thorough` looks at thousands of others.
"""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pyarrow import parquet
from pydantic import ValidationError
from torch.utils.data import Dataset

from tests.data.sources.test_custom import gives
from trainkit.core.errors import TrainkitError
from trainkit.data import sample_checks
from trainkit.data.base import Data, DataConfig
from trainkit.data.images.decoding import PictureSource
from trainkit.data.sources.custom import CustomDatasetConfig
from trainkit.data.sources.image_list import ImageListConfig, ImageTxtConfig
from trainkit.data.sources.table import CsvConfig
from trainkit.data.sources.tensors import TensorsConfig
from trainkit.data.sources.torchvision import MnistConfig

BYTES = (b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\n", b'"', b"0", b"9" * 20, b"(", b"PK\3\4", b"-1")


@st.composite
def damaged(draw: st.DrawFn, contents: Sequence[bytes]) -> bytes:
    """One of some files, with a few bytes changed, put in, left out or moved."""
    data = draw(st.sampled_from(contents))
    for _ in range(draw(st.integers(1, 4))):
        first, last = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        middle = draw(
            st.one_of(
                st.sampled_from(BYTES),
                st.binary(max_size=8),
                st.integers(1, 8).map(lambda times, part=data[first:last]: part[:1000] * times),  # type: ignore[misc]
                st.integers(0, 255).map(lambda bits, part=data[first : first + 1]: bytes(b ^ bits for b in part)),  # type: ignore[misc]
            )
        )
        cut = draw(st.sampled_from([first, first + len(middle), last]))  # put in, overwrite, or instead of a part
        data = data[:first] + middle + data[cut:]
    return data


def look(open_data: Callable[[], Data]) -> None:
    """Open the data and take its samples: only errors that say what is wrong may leave, and numbers must be finite."""
    with suppress(TrainkitError):
        data = open_data()
        assert sample_checks.diagnostics(data) is not None
        for split in filter(None, (data.train, data.val, data.test)):
            batch = split.take(torch.arange(len(split)))
            if data.spec.task.name == "classification":
                assert int(batch.targets.max()) < data.spec.task.size
            else:
                assert bool(batch.targets.isfinite().all())
        assert data.digests()


CELLS = st.one_of(
    st.sampled_from(["", "0", "1", "2.5", "-1", "nan", "inf", "1e300", "1e-320", "1_0", "a", "b", "?", "٣", "²"]),
    st.sampled_from(['"', '""', '"a', "a,b", '"x\ny"', "\r", "\ufeff", "\x1c", "x" * 140_000, "7" * 5000]),
    st.sampled_from(["yes", "no", "12%", "$3", "1,5", "1.234,5", "007", "NA", "-999", "9007199254740993", "\u22123"]),
    st.sampled_from(
        ["2020-01-31", "01/02/2020", "31.1.2020 10:30", "20200131", "0001-01-01T00:00:00+14:00", "9999-12-31"]
    ),
    st.text(max_size=3),
)


COLUMNS = st.one_of(
    st.sampled_from(["auto", "number", "flag", "category", "date", "text", "drop"]),
    st.fixed_dictionaries(
        {},
        optional={
            "kind": st.sampled_from(["number", "date", "category"]),
            "decimal": st.sampled_from([".", ","]),
            "thousands": st.sampled_from(["", ".", "'"]),
            "na_values": st.just(["b", "0"]),
            "format": st.sampled_from(["dmy", "ymd", "%d.%m.%Y", "%Q", "x"]),
        },
    ),
)


OPTIONS: dict[str, st.SearchStrategy[object]] = {
    "task": st.sampled_from(["classification", "regression", "multilabel"]),
    "missing": st.sampled_from(["error", "mean", "drop"]),
    "categorical": st.just(["b"]),
    "test": st.sampled_from([None, 0.5, "table.csv"]),
    "val": st.sampled_from([0, 1, 0.5]),
    "stratify": st.booleans(),
    "standardize": st.sampled_from([True, False, "robust"]),
    "columns": st.dictionaries(st.sampled_from("abc"), COLUMNS, max_size=2),
    "features": st.sampled_from([["b"], ["c", "b"], ["b", "b"]]),
    "ignore": st.just(["b"]),
    "decimal": st.just(","),
    "thousands": st.sampled_from([",", ".", " "]),
    "percent": st.just("fraction"),
    "na_values": st.sampled_from([["-999"], ["a", "1"], [""]]),
    "group": st.sampled_from("abc"),
    "order": st.sampled_from("abc"),
}


@st.composite
def options_of_tables(draw: st.DrawFn) -> dict[str, object]:
    """A few: of many two do not go together, or the first one ends it."""
    keys = draw(st.lists(st.sampled_from(sorted(OPTIONS)), max_size=3, unique=True))
    return {key: draw(OPTIONS[key]) for key in keys}


@given(
    st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=8),
    st.sampled_from(["a,b,c", "a;b;c", "a,b", "a", "a,a", '"a","b\n",c', ""]),
    st.sampled_from([",", ";", "\t", '"', "\n", " "]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    options_of_tables(),
)
def test_tables(rows: list[list[str]], header: str, delimiter: str, end: str, options: dict[str, Any]) -> None:
    text = end.join([header, *(delimiter.join(row) for row in rows)])
    Path("table.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        config = CsvConfig.from_plain({"path": "table.csv", "target": "a", "delimiter": delimiter, **options})
    except ValidationError:  # keys that do not go together
        return
    look(lambda: config.open(0))


KINDS = st.sampled_from(
    [
        ["cat", "dog"], ["1", "0", "3"], ["0.5", "-2", "1e9", "\u22127"], ["yes", "no"], ["TRUE", "f"], ["12%", "3 %"],
        ["$5", "-$7"], ["2020-01-31", "1969-12-31T23:00Z"], ["31.01.2020", "1.2.20"], ["Jan 3, 2020"], ["20200131"],
        ["01067", "10115"], ["1,5", "2,5"], ["1.234,5", "7"], ["1 234"], ["w", "x", "y", "z"], ["NA", "None"], ["", "a"],  # noqa: E501
    ]
)  # fmt: skip


@st.composite
def columns_of_one_kind(draw: st.DrawFn) -> list[list[str]]:
    """Four columns of eight rows, each of cells of one kind with a few others among them."""
    found = []
    for _ in range(4):
        some = draw(KINDS)
        cells = [draw(st.sampled_from(some)) for _ in range(8)]
        for place in draw(st.lists(st.integers(0, 7), max_size=2)):
            cells[place] = draw(st.sampled_from(["", "NA", "odd", "7", "?"]))
        found.append(cells)
    return found


@given(columns_of_one_kind(), options_of_tables())
def test_tables_that_are_nearly_right(columns: list[list[str]], options: dict[str, Any]) -> None:
    rows = [";".join(row) for row in zip(*columns, strict=True)]
    Path("table.csv").write_text("\n".join(["a;b;c;d", *rows]) + "\n")
    try:
        config = CsvConfig.from_plain(
            {"path": "table.csv", "target": "a", "delimiter": ";", "missing": "mean", **options}
        )
    except ValidationError:  # keys that do not go together
        return
    look(lambda: config.open(0))


TABLE = b"a,b,c\n" + b"".join(b"%d,%d,%s\n" % (n % 2, n, b"xyz"[n % 3 :]) for n in range(12))


@given(damaged([TABLE, TABLE.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + TABLE]))
def test_damaged_tables(content: bytes) -> None:
    Path("table.csv").write_bytes(content)
    look(lambda: CsvConfig(path="table.csv", target="a", missing="mean").open(0))


LINES = b"".join(b'{"a": %d, "b": %d.5, "c": "%s"}\n' % (n % 2, n, b"xyz"[n % 3 :]) for n in range(12))


@given(damaged([LINES, LINES.replace(b"\n", b"\r\n")]), st.booleans())
def test_damaged_lines_of_json(content: bytes, packed: bool) -> None:
    name = "table.jsonl.gz" if packed else "table.jsonl"
    Path(name).write_bytes(gzip.compress(content, mtime=0) if packed else content)
    look(lambda: CsvConfig(path=name, target="a", missing="mean").open(0))


PACKED = gzip.compress(TABLE * 5, mtime=0)
PARQUET = io.BytesIO()
parquet.write_table(pyarrow.table({"a": [0, 1] * 6, "b": [n / 2 for n in range(12)], "c": list("xyz") * 4}), PARQUET)


@given(damaged([PACKED]))
def test_damaged_packed_tables(content: bytes) -> None:
    Path("table.csv.gz").write_bytes(content)
    look(lambda: CsvConfig(path="table.csv.gz", target="a", missing="mean").open(0))


@given(damaged([PARQUET.getvalue()]))
def test_damaged_parquet(content: bytes) -> None:
    Path("table.parquet").write_bytes(content)
    look(lambda: CsvConfig(path="table.parquet", target="a", missing="mean").open(0))


def draw_pictures() -> None:
    for name in ("a.png", "b c.png", "d/e.png"):
        Path("pictures", name).parent.mkdir(parents=True, exist_ok=True)
        if not Path("pictures", name).exists():
            Image.new("L", (2, 2)).save(Path("pictures", name))


NAMES = st.one_of(
    st.sampled_from(["a.png", "b c.png", "d/e.png", "./a.png", "../pictures/a.png", "d", "", "a", "#a.png", "x" * 300]),
    st.text(max_size=5),
)
LABELS = st.one_of(st.sampled_from(["cat", "dog", "1", "2", "", "b c.png", "9" * 5000, "²"]), st.text(max_size=3))


@given(
    st.lists(st.tuples(NAMES, st.sampled_from([" ", "\t", "  ", ""]), LABELS), max_size=6),
    st.sampled_from(["\n", "\r\n", "\0", "\x85"]),
    st.sampled_from(["", ".png"]),
)
def test_label_lists(lines: list[tuple[str, str, str]], end: str, suffix: str) -> None:
    draw_pictures()
    Path("labels.txt").write_bytes(end.join(map("".join, lines)).encode("utf-8", "surrogatepass"))
    plain = {"path": "pictures", "labels": "labels.txt", "size": 2, "val": 0, "test": None, "suffix": suffix}
    look(lambda: ImageTxtConfig.from_plain(plain).open(0))


@given(
    damaged([b"path,label,part\na.png,cat,train\nb c.png,dog,train\nd/e.png,cat,val\n"]),
    st.sampled_from([None, "part"]),
)
def test_damaged_picture_lists(content: bytes, split_column: str | None) -> None:
    draw_pictures()
    Path("list.csv").write_bytes(content)
    plain = {"path": "pictures", "file": "list.csv", "size": 2, "val": 0, "test": None, "split_column": split_column}
    look(lambda: ImageListConfig.from_plain(plain).open(0))


def npz(save: Any = np.savez, **content: Any) -> bytes:
    file = io.BytesIO()
    save(file, **content)
    return file.getvalue()


def pt(**content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


PICTURES = {"inputs": np.arange(96, dtype=np.uint8).reshape(6, 1, 4, 4), "targets": np.arange(6) % 2}
SEQUENCES = {"inputs": np.arange(6.0), "lengths": np.array([1, 2, 3]), "targets": np.array([0.5, 1.0, 2.0])}
TENSORS = {
    ".npz": [npz(**PICTURES), npz(**SEQUENCES), npz(np.savez_compressed, **PICTURES)],
    ".pt": [pt(**{name: torch.from_numpy(array) for name, array in PICTURES.items()}), pt(inputs=[torch.ones(2)] * 3)],
}


@pytest.mark.filterwarnings("ignore")  # of NumPy and torch, about what they make of the bytes
@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_damaged_tensors(suffix: str) -> None:
    @given(damaged(TENSORS[suffix]))
    def check(content: bytes) -> None:
        Path(f"data{suffix}").write_bytes(content)
        look(lambda: TensorsConfig(file=f"data{suffix}", val=0).open(0))

    check()


DTYPES = st.one_of(
    arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(), arrays.floating_dtypes(),
    arrays.complex_number_dtypes(), arrays.byte_string_dtypes(), arrays.datetime64_dtypes(),
)  # fmt: skip
ARRAYS = arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=3))


@pytest.mark.filterwarnings("ignore")
@given(
    st.dictionaries(st.sampled_from(["inputs", "targets", "lengths", "test_inputs", "test_targets"]), ARRAYS),
    st.sampled_from([None, "classification", "regression", "multilabel"]),
)
def test_arrays_of_any_kind(content: dict[str, Any], target: str | None) -> None:
    Path("data.npz").write_bytes(npz(**content))
    look(lambda: TensorsConfig.from_plain({"file": "data.npz", "val": 0, "target": target}).open(0))


def idx(magic: int, *sizes: int) -> bytes:
    return struct.pack(f">I{len(sizes)}I", magic, *sizes) + bytes(int(np.prod(sizes)))


FILES = {
    "train-images-idx3-ubyte": idx(0x803, 12, 28, 28), "train-labels-idx1-ubyte": idx(0x801, 12),
    "t10k-images-idx3-ubyte": idx(0x803, 6, 28, 28), "t10k-labels-idx1-ubyte": idx(0x801, 6),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damaged_idx_files(name: str, data: st.DataObject) -> None:
    folder = Path("data/MNIST/raw")
    folder.mkdir(parents=True, exist_ok=True)
    for each, content in FILES.items():
        (folder / each).write_bytes(content)
    whole = FILES[name]
    header = data.draw(damaged([whole[:16]]))  # where the harm is
    content = data.draw(st.sampled_from([header + whole[16:], header, whole[: len(whole) // 2]]))
    (folder / name).write_bytes(content)
    look(lambda: MnistConfig(download=False, val=2).open(0))


def encoded(name: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    picture = Image.effect_noise((24, 16), 90).convert(mode)
    picture.save(file, name, **options)
    return file.getvalue()


ENCODED = [
    encoded("PNG"), encoded("PNG", "P"), encoded("PNG", "I;16"), encoded("PNG", "1"), encoded("JPEG"),
    encoded("JPEG", "CMYK"), encoded("JPEG", progressive=True), encoded("GIF", "P"), encoded("BMP"),
    encoded("BMP", "P"),
    encoded("WEBP"), encoded("WEBP", lossless=True), encoded("TIFF"), encoded("TIFF", compression="tiff_lzw"),
    encoded("PPM"), encoded("PPM", "L"),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_damaged_pictures(mode: Any) -> None:
    source = PictureSource(Path(), ["picture"], torch.zeros(1, dtype=torch.int64), mode, 8, 8)

    @given(damaged(ENCODED))
    def check(content: bytes) -> None:
        Path("picture").write_bytes(content)
        pixels, unreadable = source.decode([0])
        assert len(pixels) + len(unreadable) == 1
        assert all("\n" not in reason for reason in unreadable.values())

    check()


VALUES = st.one_of(
    st.none(), st.integers(), st.floats(), st.booleans(), st.text(max_size=2), ARRAYS, st.just(Image.new("L", (2, 2))),
    st.lists(st.floats(width=32), max_size=3), st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=2),
    st.sampled_from([torch.zeros(2), torch.zeros(()), torch.zeros(1, 2, 2).byte(), torch.eye(2).to_sparse()]),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@given(
    st.lists(st.tuples(VALUES, VALUES), max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "target": st.sampled_from(["classification", "regression", "multilabel"]),
            "collate": st.just("pad"),
            "normalize": st.just("half"),
        },
    ),
)
def test_own_samples_of_any_kind(items: list[tuple[Any, Any]], options: dict[str, Any]) -> None:
    class Config(CustomDatasetConfig):
        name: str = "given"

        def dataset(self, part: str) -> Dataset[Any] | None:
            return gives(*items)() if part == "train" else None

    config: DataConfig = Config.from_plain({"val": 0, "test": None, **options})
    look(lambda: config.open(0))

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100, MNIST

from trainkit.core.errors import ConfigError, DataError
from trainkit.data import Data
from trainkit.data.loader import LoaderConfig
from trainkit.data.sources import torchvision
from trainkit.data.sources.sklearn import DigitsConfig
from trainkit.data.sources.torchvision import Cifar10Config, Cifar100Config, FashionMnistConfig, MnistConfig
from trainkit.data.transforms.geometric import RandomCrop
from trainkit.data.transforms.pipeline import fitted, preparation

CPU = torch.device("cpu")
REAL = os.environ.get("TRAINKIT_TEST_DATA")


def write_idx(folder: Path, train: int = 12, test: int = 6) -> None:
    """Four files in the format of MNIST: picture n is all n, its label n modulo 10."""
    folder.mkdir(parents=True)
    for prefix, count in (("train", train), ("t10k", test)):
        images = np.arange(count, dtype=np.uint8).repeat(28 * 28).tobytes()
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + images)
        labels = (np.arange(count) % 10).astype(np.uint8).tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels)


def write_pickle(path: Path, content: dict[str, Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def all_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(("config", "folder"), [(MnistConfig, "MNIST"), (FashionMnistConfig, "FashionMNIST")])
def test_reads_torchvisions_layout(tmp_path: Path, config: type[MnistConfig], folder: str) -> None:
    write_idx(tmp_path / folder / "raw")
    data = config(root=str(tmp_path), val=2).build(0)
    assert data.val is not None
    assert data.test is not None
    assert (len(data.train), len(data.val), len(data.test)) == (10, 2, 6)
    assert data.spec.shape == (1, 28, 28)
    assert len(data.spec.task.names) == data.spec.task.size == 10
    batch = data.test.take(torch.arange(6))
    assert batch.inputs.shape == (6, 1, 28, 28)
    assert batch.inputs.dtype == torch.uint8
    assert batch.inputs[:, 0, 14, 14].tolist() == batch.targets.tolist() == [*range(6)]


def test_reads_mnist_as_torchvision_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    theirs = MNIST(tmp_path, train=False)
    monkeypatch.setattr("torchvision.datasets.MNIST", None)
    read = MnistConfig(root=str(tmp_path))._read(train=False)
    batch = read.take(torch.arange(len(read)))
    assert torch.equal(batch.inputs[:, 0], theirs.data)
    assert torch.equal(batch.targets, theirs.targets)


def test_what_old_versions_of_torchvision_wrote_comes_first(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save(
            (torch.zeros(3, 28, 28, dtype=torch.uint8), torch.arange(3)), tmp_path / "MNIST" / "processed" / name
        )
    assert len(MnistConfig(root=str(tmp_path))._read(train=True)) == 3


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"size": 224, "mode": "rgb"}, (3, 224, 224)),
        ({"size": 14}, (1, 14, 14)),
        ({"size": [20, 40], "mode": "grey"}, (1, 20, 40)),
        ({"mode": "rgb"}, (3, 28, 28)),
    ],
)
def test_the_model_sees_size_and_mode(tmp_path: Path, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    plain = {"root": str(tmp_path), "val": 2, "normalize": "none"}
    config, as_they_are = MnistConfig.from_plain({**plain, **options}), MnistConfig.from_plain(plain)
    spec = config.spec()
    assert spec.shape == shape
    data = config.open(0)
    assert data.spec.shape == shape
    assert data.digests() == as_they_are.open(0).digests()  # it is still the same data
    batch = data.train.take(torch.arange(10))
    assert batch.inputs.shape == (10, 1, 28, 28)
    prepared = preparation(data.spec, (RandomCrop(),), 0, CPU)(batch, None)
    assert prepared.inputs.shape == (10, *shape)
    torch.testing.assert_close(prepared.inputs, fitted(batch.inputs, shape) / 255)
    fallback_config = MnistConfig.from_plain({**plain, **options, "fallback": "digits"}).fallback_config()
    assert fallback_config is not None
    assert fallback_config.spec() == spec


def test_a_preset_for_colours_is_none_for_grey() -> None:
    assert Cifar10Config(mode="grey", normalize="auto").spec().shape == (1, 32, 32)
    with pytest.raises(DataError, match=r"^data.normalize: cifar10: mean has 3 values, the images have 1 channel; use"):
        Cifar10Config(mode="grey").spec()
    assert MnistConfig(mode="rgb").spec().input.mean == (0.1307,) * 3


def test_auto_measures_the_channels_of_the_mode(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw")
    config = MnistConfig(root=str(tmp_path), val=2, normalize="auto", mode="rgb", size=32)
    assert config.spec().input.mean == ()
    data = config.open(0)
    values = data.train.index.double() / 255  # picture n is all n
    assert data.spec.input.mean == pytest.approx([values.mean().item()] * 3)
    assert data.spec.input.std == pytest.approx([values.std(correction=0).item()] * 3)


def test_root_may_be_relative_to_home_or_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "here" / "MNIST" / "raw")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(MnistConfig(root="~/here").build(0).train) == 11
    monkeypatch.setenv("TRAINKIT_DATA_DIR", str(tmp_path / "here"))
    assert len(MnistConfig().build(0).train) == 11


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    pictures = np.zeros((4, 3, 32, 32), dtype=np.uint8)
    pictures[:, 0, 0, 1] = 200  # red, first row, second column
    content = {"data": pictures.reshape(4, -1), "labels": [0, 3, 9, 1]}
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", write_pickle(folder / "data_batch_1", content)]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", write_pickle(folder / "test_batch", content)]])
    names = list(Cifar10Config.known.class_names)
    md5 = write_pickle(folder / "batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5})

    config = Cifar10Config(root=str(tmp_path), val=1)
    data = config.build(0)
    assert data.spec.shape == (3, 32, 32)
    assert data.test is not None
    batch = data.test.take(torch.arange(4))
    assert batch.inputs.shape == (4, 3, 32, 32)
    assert batch.inputs.nonzero().tolist() == [[n, 0, 0, 1] for n in range(4)]
    assert [data.spec.task.names[n] for n in batch.targets.tolist()] == ["airplane", "cat", "truck", "automobile"]

    # Batches are pickles, which could do anything: none is opened before its digest has been compared.
    (folder / "test_batch").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    with pytest.raises(DataError) as caught:
        config.build(0)
    assert str(caught.value) == (
        f"{folder}: cifar10 is damaged (files are missing, packed or cut short); "
        "move the folder away, then use data.download=true"
    )
    assert (folder / "test_batch").exists()  # a user's files are left alone
    assert not Path("canary").exists()
    (folder / "batches.meta").write_bytes((folder / "test_batch").read_bytes())
    (folder / "test_batch").write_bytes((folder / "data_batch_1").read_bytes())
    with pytest.raises(DataError, match="cifar10 is damaged"):
        config.build(0)
    assert not Path("canary").exists()


def test_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-100-python"
    content = {"data": np.zeros((3, 3072), dtype=np.uint8), "fine_labels": [99, 0, 42]}
    for part in ("train", "test"):
        monkeypatch.setattr(CIFAR100, f"{part}_list", [[part, write_pickle(folder / part, content)]])
    md5 = write_pickle(folder / "meta", {"fine_label_names": list(Cifar100Config.known.class_names)})
    monkeypatch.setattr(CIFAR100, "meta", {"filename": "meta", "key": "fine_label_names", "md5": md5})
    data = Cifar100Config(root=str(tmp_path), val=1).build(0)
    assert data.spec.task.size == len(set(data.spec.task.names)) == 100
    assert data.test is not None
    batch = data.test.take(torch.arange(3))
    assert batch.targets.tolist() == [99, 0, 42]
    assert data.spec.task.names[99] == "worm"


def test_missing_without_download(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        MnistConfig(download=False).build(0)
    place = tmp_path / "data" / "MNIST" / "raw"
    assert str(caught.value) == (
        f"{place}: no mnist files here; set data.download=true to fetch them; "
        "they can also be put there unpacked, or data.root can point to them"
    )
    assert all_below(tmp_path) == []


def test_missing_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_OFFLINE", "1")
    with pytest.raises(DataError, match="no cifar10 files here; TRAINKIT_OFFLINE=1 forbids the download"):
        Cifar10Config(root=str(tmp_path)).build(0)
    monkeypatch.setenv("TRAINKIT_OFFLINE", "yes")
    with pytest.raises(ConfigError, match=r"^environment: TRAINKIT_OFFLINE: expected 0 or 1, got 'yes'$"):
        Cifar10Config(root=str(tmp_path)).build(0)


def test_variables_in_root_are_not_expanded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\$HOME/x/MNIST/raw: no mnist files here; variables in data.root are not"):
        MnistConfig(root="$HOME/x").build(0)
    assert all_below(tmp_path) == []


@pytest.mark.parametrize("config", [MnistConfig, Cifar10Config])
def test_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], config: type[MnistConfig]
) -> None:
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/", "http://127.0.0.1:9/again/"])
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar.tar.gz")
    with pytest.raises(DataError) as caught:
        config(root=str(tmp_path / "new" / "data")).build(0)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'new' / 'data' / config.known.folder}: no {config().name} files here; ")
    assert "the download failed ([Errno 111] Connection refused)" in message
    assert "\n" not in message
    assert all_below(tmp_path) == []
    assert capfd.readouterr().out == ""


def test_a_network_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        monkeypatch.setattr(torchvision, "DOWNLOAD_TIMEOUT_S", 0.1)
        with pytest.raises(DataError, match=r"the download failed \(timed out\)"):
            MnistConfig().build(0)
    assert all_below(tmp_path) == []
    assert socket.getdefaulttimeout() is None


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    write_idx(tmp_path / "raw")
    web, root = tmp_path / "web", tmp_path / "deep" / "data"
    web.mkdir()
    resources = []
    for name, _ in MNIST.resources:
        packed = gzip.compress((tmp_path / "raw" / name.removesuffix(".gz")).read_bytes())
        (web / name).write_bytes(packed)
        resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(MNIST, "resources", resources)
    config = MnistConfig(root=str(root), val=2)
    with served(web) as url:
        monkeypatch.setattr(MNIST, "mirrors", [url])
        labels = web / "t10k-labels-idx1-ubyte.gz"
        whole = labels.read_bytes()
        labels.write_bytes(whole[:-3])
        with pytest.raises(DataError, match="the download failed"):
            config.build(0)
        assert not root.parent.exists()  # three good files and a damaged one are no data set

        labels.write_bytes(whole)
        data = config.build(0)
    assert len(data.train) == 10
    assert sorted(path.name for path in root.iterdir()) == ["MNIST"]
    assert data.digests() == config.build(0).digests()  # now from the files alone
    assert capfd.readouterr().out == ""


def test_damaged_files(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder)
    config = MnistConfig(root=str(tmp_path), val=2)
    advice = "move the folder away, then use data.download=true"

    def refused(name: str, content: bytes, what: str) -> None:
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(content)
        with pytest.raises(DataError) as caught:
            config.build(0)
        assert str(caught.value) == f"{folder}: mnist is damaged ({what}); {advice}"
        (folder / name).write_bytes(before)

    images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    cut = "files are missing, packed or cut short"
    refused(images, (folder / images).read_bytes()[:-1], cut)
    refused(images, (folder / images).read_bytes()[:16], cut)
    refused(images, b"", cut)
    refused(images, struct.pack(">IIII", 0x803, 2**31, 2**15, 2**15) + bytes(784), cut)  # no memory is taken for it
    refused(images, struct.pack(">I", 0x8FF) + bytes(1020), cut)  # 255 axes
    refused(images, struct.pack(">IIII", 0x80D, 12, 28, 28) + bytes(12 * 784), cut)  # of another type
    refused(images, b"<html>not found</html>", cut)
    refused(labels, (folder / labels).read_bytes()[:-1], cut)
    refused(labels, struct.pack(">II", 0x801, 11) + bytes(11), "12 images (1, 28, 28), 11 labels")
    refused(labels, struct.pack(">II", 0x801, 12) + bytes([10] * 12), "labels outside 0 … 9")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="mnist is damaged"):
        config.build(0)


@pytest.mark.parametrize("blocked", ["data", "data/MNIST/raw"])
def test_a_file_where_a_folder_is_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocked: str) -> None:
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).write_text("in the way")
    with pytest.raises(DataError, match="/data/MNIST/raw: no mnist files here; the download failed"):
        MnistConfig().build(0)
    assert (tmp_path / blocked).read_text() == "in the way"


def test_stand_in() -> None:
    assert MnistConfig().fallback_config() is None
    augment = (RandomCrop(),)
    assert MnistConfig(fallback="digits", val=5000, augment=augment).fallback_config() == DigitsConfig(
        size=(28, 28), channels=1, val=5000 / 60_000, normalize="mnist", augment=augment
    )
    resized = MnistConfig(fallback="digits", val=0.1, size=40, mode="rgb", normalize="auto").fallback_config()
    assert resized == DigitsConfig(size=(40, 40), channels=3, normalize="auto")
    cifar = Cifar10Config(fallback="digits", val=0).fallback_config()
    assert cifar == DigitsConfig(size=(32, 32), channels=3, val=0, normalize="cifar10")
    assert cifar.build(0).spec.shape == (3, 32, 32)
    fraction = MnistConfig(fallback="digits", val=0.2).fallback_config()
    assert fraction is not None
    assert fraction.val == 0.2
    too_large = MnistConfig(fallback="digits", val=70_000).fallback_config()
    assert too_large is not None
    with pytest.raises(DataError, match=r"^data.val: 70000, but there are 1437 training samples$"):
        too_large.build(0)


@pytest.mark.skipif(REAL is None, reason="TRAINKIT_TEST_DATA names no folder with MNIST/raw")
def test_real_mnist() -> None:
    assert REAL is not None
    loader = LoaderConfig(batch_size=64)

    def steps(data: Data) -> tuple[int, int]:
        batches = loader.train_loader(data.train, 42, CPU)
        return len(batches), batches.sizes(len(batches) - 1, 1)[0]

    data = MnistConfig(root=REAL, download=False, val=5000).build(42)
    assert data.val is not None
    assert data.test is not None
    assert (len(data.train), len(data.val), len(data.test)) == (55_000, 5000, 10_000)
    assert steps(data) == (860, 24)
    assert steps(MnistConfig(root=REAL, download=False, val=0).build(42)) == (938, 32)
    batch = preparation(data.spec, (), 42, CPU)(data.train.take(torch.arange(1000)), None)
    assert batch.inputs.shape == (1000, 1, 28, 28)
    assert [batch.inputs.min().item(), batch.inputs.max().item()] == pytest.approx([-0.4242, 2.8215], abs=5e-5)
    assert data.test.take(torch.arange(5)).targets.tolist() == [7, 2, 1, 0, 4]


@pytest.mark.skipif(REAL is None, reason="TRAINKIT_TEST_DATA names no folder with MNIST/raw")
def test_auto_finds_the_numbers_of_mnist() -> None:
    assert REAL is not None
    spec = MnistConfig(root=REAL, download=False, val=0, normalize="auto").open(42).spec
    assert (round(spec.input.mean[0], 4), round(spec.input.std[0], 4)) == (0.1307, 0.3081)
    without_val = MnistConfig(root=REAL, download=False, val=5000, normalize="auto").open(42).spec
    assert without_val.input.mean + without_val.input.std == pytest.approx((0.1307, 0.3081), abs=2e-4)

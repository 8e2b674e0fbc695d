"""Data is never code: what the source may not contain, and files, configs and names that try to be more than data."""
# ruff: noqa: E501  # in a table, a row is a line

from __future__ import annotations

import ast
import io
import marshal
import os
import pickle
import re
import shutil
import struct
import tarfile
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import trainkit
from tests.command import ROOT, Ended, warm

SOURCE = Path(trainkit.__file__).parent
FIXTURE = ROOT / "tests/fixtures/checkpoint-schema-1.pt"

# ---------------------------------------------------------------------------------------------------------------------
# The source

MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "runpy", "code", "pty"}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "np.fromfile", "pd.read_pickle",
    "mktemp", "dictConfig", "fileConfig", "extractall", "unpack_archive", "exec_module", "add_safe_globals",
}  # fmt: skip
"""Without a dot: by whatever name it is called."""
LIBRARIES = {
    "yaml": {"parse", "dump", "SafeLoader", "CSafeLoader", "SafeDumper", "Event", "AliasEvent", "ScalarEvent", "SequenceStartEvent", "SequenceEndEvent", "MappingStartEvent", "MappingEndEvent", "StreamStartEvent", "StreamEndEvent", "DocumentStartEvent", "DocumentEndEvent", "YAMLError", "MarkedYAMLError", "reader", "Node"},
    "torch.hub": {"get_dir"},
    "torch.jit": set(),
    "torch.package": set(),
}  # fmt: skip
"""Of these no more than that is used."""
OPTIONS = {"shell": True, "allow_pickle": True, "weights_only": False}
NEEDED = {"torch.load": "weights_only", "np.load": "allow_pickle"}
IMPORTERS = {"config/registry.py": 1, "__init__.py": 1}
"""Where a module is imported by a name that is not written out: the user's own, and trainkit's public names."""


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def banned(tree: ast.AST) -> Iterator[str]:
    """What in a source file could turn data into code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names if alias.name.split(".")[0] in MODULES)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES | {"yaml"}:
            yield f"from {node.module}"
        if isinstance(node, ast.Attribute):
            library, _, attribute = dotted(node).rpartition(".")
            if library in LIBRARIES and attribute not in LIBRARIES[library]:
                yield f"{library}.{attribute}"
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        last = name.rpartition(".")[2]
        if name in CALLS or (last in CALLS - {"eval", "exec", "compile"}):  # methods of modules and patterns
            yield name
        options = {word.arg: getattr(word.value, "value", None) for word in node.keywords if word.arg}
        yield from (f"{key}={value}" for key, value in OPTIONS.items() if options.get(key, not value) is value)
        if name in NEEDED and NEEDED[name] not in options:
            yield f"{name} without {NEEDED[name]}"
        if last == "import_module" and not isinstance(node.args[0], ast.Constant):
            yield "import_module of a name from elsewhere"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_in_the_source_runs_data(path: Path) -> None:
    allowed = IMPORTERS.get(str(path.relative_to(SOURCE)), 0)
    assert list(banned(ast.parse(path.read_text()))) == ["import_module of a name from elsewhere"] * allowed


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from joblib import load", "eval(text)", "__import__(name)", "yaml.load(file, yaml.SafeLoader)",
        "yaml.safe_load(file)", "yaml.parse(file, yaml.Loader)", "from yaml import unsafe_load", "torch.load(path)",
        "torch.load(path, weights_only=False)", "np.load(path, allow_pickle=True)", "run(command, shell=True)",
        "archive.extractall()", "torch.hub.load('x', 'y')", "torch.jit.load(path)", "importlib.import_module(name)",
        "tempfile.mktemp()", "logging.config.dictConfig(config)", "torch.serialization.add_safe_globals([x])",
    ],
)  # fmt: skip
def test_the_gate_sees_what_it_is_for(code: str) -> None:
    assert list(banned(ast.parse(code)))


def test_no_library_is_as_old_as_a_known_hole() -> None:
    """torch: CVE-2025-32434 and CVE-2026-24747; PyYAML: CVE-2020-14343."""
    wanted = {"torch": (2, 10), "pyyaml": (5, 4)}
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    bounds = {line.partition(">=")[0]: tuple(map(int, line.partition(">=")[2].split("."))) for line in listed}
    assert all(bounds[library] >= version for library, version in wanted.items())


# ---------------------------------------------------------------------------------------------------------------------
# Files that are said to be checkpoints or weights


def name(module: str, attribute: str) -> bytes:
    """Opcodes that put something importable on the stack."""
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def many(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + many(*arguments) + b"R"


def pickled(opcodes: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + opcodes + b"."


TOUCH = "touch canary"
OPEN = "open('canary', 'w').close()"
SYSTEM = name("posix", "system")
CODE = marshal.dumps(compile(OPEN, "evil", "exec"))
NO_DICT = b"}"

RUN_BY_PICKLE = {
    "os.system": call(SYSTEM, text(TOUCH)),
    "subprocess": call(name("subprocess", "getoutput"), text(TOUCH)),
    "Popen": call(call(name("operator", "methodcaller"), text("wait")), call(name("subprocess", "Popen"), many(text("touch"), text("canary")))),
    "eval": call(name("builtins", "eval"), text(OPEN)),
    "exec of Python 2": call(name("__builtin__", "eval"), text(OPEN)),
    "exec": call(name("builtins", "exec"), text(OPEN)),
    "getattr chain": call(call(name("builtins", "getattr"), call(name("builtins", "__import__"), text("os")), text("system")), text(TOUCH)),
    "attrgetter chain": call(call(call(name("operator", "attrgetter"), text("system")), call(name("importlib", "import_module"), text("os"))), text(TOUCH)),
    "functools.partial": call(call(name("functools", "partial"), SYSTEM, text(TOUCH))),
    "runpy": call(name("runpy", "run_path"), text("evil.py")),
    "code object": call(call(name("types", "FunctionType"), call(name("marshal", "loads"), b"B" + struct.pack("<I", len(CODE)) + CODE), NO_DICT)),
    "pickle in a pickle": call(name("pickle", "loads"), b"B" + struct.pack("<I", len(INNER := pickled(call(SYSTEM, text(TOUCH))))) + INNER),
    "instance": many(text(TOUCH), b"")[:-1] + b"iposix\nsystem\n",
    "dotted": b"\x8c\x02os\x8c\x06system\x93" + many(text(TOUCH)) + b"R",
}  # fmt: skip
"""What opens or makes the canary when `pickle` reads it."""
OTHERS = {
    "torch.load": call(name("torch", "load"), text("inner.pt")),
    "torch.jit.load": call(name("torch.jit", "load"), text("inner.pt")),
    "torch.hub": call(name("torch.hub", "load"), text("."), text("evil")),
    "pty": call(name("pty", "spawn"), text(TOUCH)),
    "webbrowser": call(name("webbrowser", "open"), text("file:canary")),
    "a wider list": call(name("torch.serialization", "add_safe_globals"), b"(" + SYSTEM + b"l"),
    "odd rebuilding": call(name("torch._utils", "_rebuild_tensor_v2"), text("x"), text("y"), text("z")),
    "rebuilding by another": call(name("torch._tensor", "_rebuild_from_type_v2"), SYSTEM, name("torch", "Tensor"), many(text(TOUCH)), NO_DICT),
    "rebuilding with attributes": call(name("torch._tensor", "_rebuild_from_type_v2"), name("torch", "Tensor"), name("torch", "Tensor"), many(), b"}" + text("isfinite") + SYSTEM + b"s"),
    "huge": call(name("torch", "Tensor"), b"\x8a\x06" + (10**13).to_bytes(6, "little")),
    "bytes": call(name("builtins", "bytearray"), b"\x8a\x06" + (10**13).to_bytes(6, "little")),
    "set": call(name("builtins", "set"), b"]"),
    "own class": name("trainkit.experiment.schema", "ExperimentConfig") + many() + b"\x81",
}  # fmt: skip


def archive(*entries: tuple[str, bytes], packed: bool = False) -> bytes:
    file = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else 0) as out,
    ):
        for entry, content in entries:
            out.writestr(entry, content)
    return file.getvalue()


def like_torch(pickle: bytes, *, packed: bool = False) -> bytes:
    return archive(("x/data.pkl", pickle), ("x/version", b"3\n"), packed=packed)


def good() -> dict[str, bytes]:
    """The entries of a checkpoint that is as it should be."""
    with zipfile.ZipFile(FIXTURE) as stored:
        return {entry: stored.read(entry) for entry in stored.namelist()}


def tar() -> bytes:
    """What torch wrote before it wrote pickles."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as out:
        for entry in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(entry)
            info.size = len(EVIL)
            out.addfile(info, io.BytesIO(EVIL))
    return file.getvalue()


def torch_script() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file)
    return file.getvalue()


TOO_LARGE = ("huge", "bytes")
EVIL = pickled(RUN_BY_PICKLE["os.system"])
FILES: dict[str, Callable[[], bytes]] = {
    **{kind: partial(like_torch, pickled(opcodes)) for kind, opcodes in {**RUN_BY_PICKLE, **OTHERS}.items()},
    "protocol 4": lambda: like_torch(pickled(RUN_BY_PICKLE["dotted"], 4)),
    "packed": lambda: like_torch(EVIL, packed=True),
    "bare pickle": lambda: EVIL,
    "pickle of the old format": lambda: b"".join(pickled(b"\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") if part == 0 else text("x")) for part in range(3)) + EVIL,
    "tar": tar,
    "a second data.pkl": lambda: archive(*good().items(), ("archive/data.pkl", EVIL)),
    "a first data.pkl": lambda: archive(("archive/data.pkl", EVIL), *good().items()),
    "data.pkl of another folder": lambda: archive(("evil/data.pkl", EVIL), *good().items()),
    "pickle, then zip": lambda: EVIL + FIXTURE.read_bytes(),
    "zip, then pickle": lambda: like_torch(EVIL) + EVIL,
    "page, then zip": lambda: b"<html><script>" + FIXTURE.read_bytes(),
    "TorchScript": torch_script,
    "TorchScript with a pickle": lambda: archive(("x/data.pkl", EVIL), ("x/constants.pkl", EVIL), ("x/code/x.py", OPEN.encode()), ("x/version", b"3\n")),
    "safetensors": lambda: save({"weight": torch.ones(2)}),
}  # fmt: skip


@pytest.mark.parametrize("kind", RUN_BY_PICKLE)
def test_an_unsafe_reader_would_run_it(kind: str) -> None:
    """Without this, the next test could pass for another reason."""
    Path("evil.py").write_text(OPEN)
    protocol = 4 if kind == "dotted" else 2
    pickle.loads(pickled(RUN_BY_PICKLE[kind], protocol))
    assert Path("canary").exists()


@pytest.mark.parametrize("kind", FILES)
def test_no_file_is_ever_run(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "touch canary")
    Path("run/checkpoints").mkdir(parents=True)
    Path("run/run.json").write_text("{}")
    Path("evil.py").write_text(OPEN)
    Path("hubconf.py").write_text(OPEN)
    Path("inner.pt").write_bytes(EVIL)
    Path("x.pt").write_bytes(FILES[kind]())
    shutil.copy("x.pt", "run/checkpoints/last.pt")
    Path("cfg.yaml").write_text(
        "data: {name: synthetic, samples: 20, test_samples: 5}\nmodel: {name: mlp, weights: x.pt}\n"
    )
    there = {path for path in Path().rglob("*") if path.name != ".lock"}
    stored = 8 if kind in TOO_LARGE else 4
    for command, code in (("eval --ckpt x.pt", stored), ("train --resume run", stored), ("train cfg.yaml", 2)):
        refused(warm.run(command.split()), code)
    assert {path for path in Path().rglob("*") if path.name != ".lock"} == there


def refused(ended: Ended, code: int) -> str:
    """The one line that a command may say, which advises nothing unsafe."""
    [line] = ended.stderr.splitlines()
    assert (ended.code, ended.stdout) == (code, "")
    assert line.startswith("error: ")
    assert not re.search("weights_only|safe_globals|pickle", line)
    return line


# ---------------------------------------------------------------------------------------------------------------------
# Configs

MLP = "data: digits\nmodel: mlp\n"
HOSTILE = {
    "a tag": f"name: !!python/object/apply:os.system ['{TOUCH}']\n{MLP}",
    "a tag on the command line": "",
    "_target_": f"data: digits\nmodel: {{_target_: os.system, command: {TOUCH}}}\n",
    "class_path": f"data: digits\nmodel: {{name: mlp, class_path: os.system, init_args: [{TOUCH}]}}\n",
    "a dotted name": "data: digits\nmodel: os.system\n",
    "a path for a name": "data: digits\nmodel: ../evil\n",
    "dunder keys": f"{MLP}__class__: evil\n__import__: os\n",
    "dunder keys below": "data: {name: digits, __reduce__: [os.system]}\nmodel: mlp\n",
    "a format string": f"name: '{{0.__class__.__init__.__globals__}}'\n{MLP}",
    "an interpolation": "data: {name: image_folder, path: '${oc.env:HOME}'}\nmodel: mlp\n",
    "a template": "data: {name: image_folder, path: \"{{ ''.__class__ }}\"}\nmodel: mlp\n",
    "a shell": f"data: {{name: image_folder, path: '$({TOUCH})'}}\nmodel: mlp\n",
    "a pipe": f"data: {{name: image_folder, path: '|{TOUCH}'}}\nmodel: mlp\n",
    "a path to import": f"imports: [./evil]\n{MLP}",
    "a flag to import": f"imports: [-cevil]\n{MLP}",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_config_runs_nothing(kind: str) -> None:
    Path("evil.py").write_text(OPEN)
    Path("cfg.yaml").write_text(HOSTILE[kind] or MLP)
    more = [] if HOSTILE[kind] else [f"name=!!python/object/apply:os.system ['{TOUCH}']"]
    ended = warm.run(["train", "cfg.yaml", *more])
    assert (ended.code, ended.stdout) == (3 if "image_folder" in HOSTILE[kind] else 2, "")
    assert all(line.startswith("error: ") for line in ended.stderr.splitlines())
    assert sorted(os.listdir()) == ["cfg.yaml", "evil.py"]


def stored(**config: Any) -> dict[str, Any]:
    """The content of a checkpoint with something else in its config."""
    content: dict[str, Any] = torch.load(FIXTURE, weights_only=True)
    return {**content, "config": {**content["config"], **config}}


def test_a_stored_config_imports_nothing_from_beside_the_file() -> None:
    here = Path("run/checkpoints")
    here.mkdir(parents=True)
    Path("run/run.json").write_text("{}")
    for folder in (here, here.parent):
        (folder / "evil.py").write_text(OPEN)
    torch.save(stored(imports=["evil"]), here / "last.pt")
    for command in ("eval --ckpt run/checkpoints/last.pt", "train --resume run"):
        line = refused(warm.run(command.split()), 4)
        assert line.endswith(f"imports: no module 'evil' (looked in {Path.cwd()} and what is installed)")
    assert not list(Path().rglob("canary"))


def test_what_is_imported_is_said_before_it_runs() -> None:
    Path("mine.py").write_text("import sys\nprint('running', file=sys.stderr)\n")
    Path("cfg.yaml").write_text(f"imports: [mine]\n{MLP}")
    first, second, _ = warm.run(["train", "cfg.yaml"]).stderr.splitlines()
    assert (first, second) == (f"imports mine ({Path.cwd()}/mine.py)", "running")


def test_a_stored_config_does_not_decide_where_files_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    Path("run/checkpoints").mkdir(parents=True)
    Path("run/run.json").write_text("{}")
    elsewhere = {"name": "mnist", "root": str(Path("elsewhere").absolute()), "download": True}
    for change in ({"name": "../../out"}, {"name": "/out"}, {"data": elsewhere}):
        torch.save(stored(**change), "run/checkpoints/last.pt")
        for command in ("eval --ckpt run/checkpoints/last.pt", "train --resume run"):
            line = refused(warm.run(command.split()), 3 if "data" in change else 4)
            assert "elsewhere/MNIST/raw: no mnist files here; set data.download=true" in line or "name: only" in line
    assert sorted(os.listdir()) == ["run"]
    assert sorted(path.name for path in Path("run").iterdir()) == [".lock", "checkpoints", "run.json"]
    # The user may.
    ended = warm.run(["eval", "--ckpt", "run/checkpoints/last.pt", "data.download=true"])
    assert "the download failed" in refused(ended, 3)


# ---------------------------------------------------------------------------------------------------------------------
# Names, and what is kept to oneself

ESCAPES = "\x1b]0;title\x07\x1b[2J"


def test_names_do_not_reach_the_terminal_as_they_are() -> None:
    """Class names come from folders, and others from checkpoints."""
    from PIL import Image

    for split in ("train", "val"):
        for kind in ("cat", f"dog{ESCAPES}", "=1+1", "<b>owl"):
            folder = Path("pictures", split, kind)
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (8, 8)).save(folder / f"{number}{ESCAPES}.png")
    (folder / f"broken{ESCAPES}.png").write_bytes(b"")
    Path("cfg.yaml").write_text(
        "data: {name: image_folder, path: pictures, size: 8, on_error: skip}\nloader: {num_workers: 0}\n"
        "model: {name: mlp, hidden: [2]}\ntrain: {epochs: 1}\nlog: {tensorboard: true, pr_curves: true}\n"
    )
    said = [warm.run(["train", "cfg.yaml", "--run-dir", "run"]), warm.run(["eval", "--ckpt", "run", "--split", "val"])]
    board = EventAccumulator("run/tb").Reload()
    tags = [tag for known in board.Tags().values() if isinstance(known, list) for tag in known]
    assert sorted(tag for tag in tags if "dog" in tag) == [r"pr_val/dog\x1b]0;title\x07\x1b[2J"]
    assert all(tag.isprintable() for tag in tags)
    content = torch.load("run/checkpoints/last.pt", weights_only=True)
    content["meta"]["torch"] = ESCAPES
    torch.save(content, "run/checkpoints/last.pt")
    said += [warm.run(["train", "--resume", "run", "train.epochs=2"])]
    said += [warm.run(["eval", "--ckpt", f"no{ESCAPES}.pt"]), warm.run(["train", "cfg.yaml", f"seed={ESCAPES}"])]
    assert [ended.code for ended in said] == [0, 0, 0, 4, 2]
    for words in (*(ended.stdout + ended.stderr for ended in said), Path("run/train.log").read_text()):
        assert not [letter for letter in words if not letter.isprintable() and letter != "\n"]


def test_secrets_of_the_environment_are_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_API_KEY", "DB_PASSWORD", "password"):
        monkeypatch.setenv(variable, "hunter2")
    Path("fails.py").write_text("raise RuntimeError('no')\n")
    Path("cfg.yaml").write_text(
        "data: {name: synthetic, samples: 20, test_samples: 5}\nmodel: {name: mlp, hidden: [2]}\ntrain: {epochs: 1}\n"
    )
    said = [warm.run(["train", "cfg.yaml", "--run-dir", "run"]), warm.run(["eval", "--ckpt", "run"])]
    said += [warm.run(["train", "cfg.yaml", "imports=[fails]", "--debug"])]
    assert [ended.code for ended in said] == [0, 0, 1]
    files = [path.read_bytes() for path in Path("run").rglob("*") if path.is_file()]
    assert len(files) >= 6
    assert not [words for words in files if b"hunter2" in words]
    assert not [ended for ended in said if "hunter2" in ended.stdout + ended.stderr]

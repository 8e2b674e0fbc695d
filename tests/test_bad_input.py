"""The catalogue of bad input: what the real command says of it, its exit code, and that it makes nothing.

One `error:` line for each problem, all of them at once, and no traceback. In the tables `cfg.yaml` stands before what
begins with a place in it.
"""
# ruff: noqa: E501  # in a table, a row is a line

from __future__ import annotations

import io
import os
import pickle
import random
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.command import Command, Ended, bare, warm
from trainkit.experiment.loading import load

BARE = "data: digits\nmodel: mlp\n"


def write(**files: str | bytes) -> None:
    for name, content in files.items():
        Path(name.replace("__", ".")).write_bytes(content.encode() if isinstance(content, str) else content)


def refused(command: Command, words: str, code: int, problems: list[str]) -> None:
    """The whole of what a command may do about bad input: say so."""
    there = sorted(Path().rglob("*"))
    ended = command.run(shlex.split(words))
    told = "".join(f"error: {problem}\n" for problem in problems)
    said = re.sub(r"^imports .*\n", "", ended.stderr, flags=re.MULTILINE)  # which code of the user's is going to be run
    assert ended._replace(stderr=said) == Ended(code, "", told, imported_torch=command is warm)
    assert sorted(Path().rglob("*")) == there


def of_the_file(expected: str) -> list[str]:
    """`3:1: …` and `the file …` as they are told of cfg.yaml."""
    return [f"cfg.yaml:{'' if line[0].isdigit() else ' '}{line}" for line in expected.splitlines()]


# ---------------------------------------------------------------------------------------------------------------------
# Judged before torch is imported: the file

TAG = "YAML tags are not allowed"
DEEP = "nested deeper than 32"
ALIAS = "anchors and aliases are not supported; use extends"
HERE = "does not fit in here; check the indentation, and the quotes and brackets before"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # Files
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n", "1:1: expected a mapping, got a list"),
        ("5\n", "1:1: expected a mapping, got a number"),
        ("hello\n", "1:1: expected a mapping, got text"),
        (b"name: \xe9", "not UTF-8 at byte 6 (0xe9)"),
        ("name: x".encode("utf-16"), "not UTF-8 at byte 0 (0xff)"),
        ("a: 1\n" * 60_000, "larger than 256 KB"),
        (bytes(10_000_000), "larger than 256 KB"),
        ("a: 1\nb\0: 1\n", "2:2: control character 0x00"),
        ("a: \x1b[31m\n", "1:4: control character 0x1b"),
        ('a: "b\\0"\n', "1:4: control character 0x00"),
        ("a: 1\n---\nb: 2\n", "2:1: only one YAML document is allowed"),
        # Keys
        ("a:\n  lr: 1\n  lr: 2\n", "3:3: duplicate key 'lr' (first at line 2)"),
        ("? [a]\n: x\n", "1:3: keys must be plain text"),
        ("? {a: b}\n: x\n", "1:3: keys must be plain text"),
        # What could explode, or run
        ("a: &x 1\nb: *x\n", f"1:4: {ALIAS}\n2:4: {ALIAS}"),
        ("a: &a [x, x]\nb: &b [*a, *a]\n", "\n".join(f"{at}: {ALIAS}" for at in ("1:4", "2:4", "2:8", "2:12"))),
        ("a: &b {c: 1}\nd:\n  <<: *b\n", f"1:4: {ALIAS}\n3:7: {ALIAS}\n3:3: merge keys (<<) are not supported; use extends"),
        ("<<: {a: 1}\n", "1:1: merge keys (<<) are not supported; use extends"),
        ("a: !!python/object/apply:os.system [ls]\n", f"1:4: {TAG} (!!python/object/apply:os.system)"),
        ("a: !!int 5\nb: !!binary x\n", f"1:4: {TAG} (!!int)\n2:4: {TAG} (!!binary)"),
        ("!foo\na: 1\n", f"1:1: {TAG} (!foo)"),
        ("a: " + "[" * 1000, f"1:36: {DEEP}"),
        ("a: " + "[" * 200_000, f"1:36: {DEEP}"),
        ("a: " + "{a: " * 1000, f"1:129: {DEEP}"),
        ("- " * 1000 + "a", f"1:67: {DEEP}"),
        # Slips
        ("train:\n\tepochs: 1\n", "2:1: tab in the indentation; use spaces"),
        ("train:\n  epochs: 1\n\tlr: 1\n", "3:1: tab in the indentation; use spaces"),
        ("a: b: c\n", "1:5: ':' inside a value; quote it"),
        ("a: {b: c: d}\n", "1:9: ':' inside a value; quote it; or a comma is missing before it"),
        ("a: 1\nlr:0.1\n", "2:1: a space is missing after ':'"),
        ("a:\n  name: adam\n  lr:0.1\n", "3:3: a space is missing after ':'"),
        ("a:\n  lr:0.1\n\n  name: adam\n", "2:3: a space is missing after ':'"),
        ("a: {lr:0.1}\n", "1:5: a space is missing after ':'"),
        ("a: 1\nfoo\n", "2:1: expected 'key: value'"),
        ("foo\nbar: 1\n", "1:1: expected 'key: value'"),
        ("a: 1\n  b: 2\n", "1:1: has a value, so that the next line may not be indented deeper"),
        ("a:\n  b: 1\n c: 2\n", f"3:2: {HERE}"),
        ("a: 'b' c\n", f"1:8: {HERE}"),
        ("a: @b\n", "1:4: found character '@' that cannot start any token; quote it"),
        ("a: ]\n", "1:4: expected the node content, but found ']'"),
        # What is not closed, and escapes
        ("a: {b: [8, 16}\n", "1:14: list opened at 1:8 is not closed"),
        ("a: [x,\nb: 1\n", "3:1: list opened at 1:4 is not closed"),
        ("a: [1, 2\nb: 3\n", "2:2: list opened at 1:4 is not closed"),
        ("a: {b: c\nd: e\n", "2:2: mapping opened at 1:4 is not closed"),
        ("a: [\n", "2:1: list opened at 1:4 is not closed"),
        ('a: "abc\nb: 1\n', "3:1: quote opened at 1:4 is not closed"),
        ("a: 'abc\n", "2:1: quote opened at 1:4 is not closed"),
        ('a: "data\\images"\n', "1:10: unknown escape \\i in double quotes; use single quotes"),
        # All at once, those of the syntax last
        (
            "a: 1\na: 2\nb: !foo 1\nc: [\n",
            f"2:1: duplicate key 'a' (first at line 1)\n3:4: {TAG} (!foo)\n5:1: list opened at 4:4 is not closed",
        ),
    ],
)  # fmt: skip
def test_what_the_reader_refuses(content: str | bytes, expected: str) -> None:
    write(cfg__yaml=content)
    refused(bare, "train cfg.yaml", 2, of_the_file(expected))


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("nope.yaml", "nope.yaml: no such file (extended by cfg.yaml:1:10)"),
        ("bas.yaml", "bas.yaml: no such file; did you mean base.yaml? (extended by cfg.yaml:1:10)"),
        (".", ".: is a directory (extended by cfg.yaml:1:10)"),
        ("", "cfg.yaml:1:9: extends: expected one path"),
        ("[a]", "cfg.yaml:1:10: extends: expected one path"),
        ("cfg.yaml", "cfg.yaml:1:10: extends: circle: cfg.yaml -> cfg.yaml"),
        ("a.yaml", "b.yaml:1:10: extends: circle: cfg.yaml -> a.yaml -> b.yaml -> a.yaml"),
        ("broken.yaml", "broken.yaml:2:1: list opened at 1:7 is not closed (extended by cfg.yaml:1:10)"),
    ],
)
def test_parents_that_cannot_be_read(parent: str, expected: str) -> None:
    write(cfg__yaml=f"extends: {parent}\n", base__yaml=BARE, broken__yaml="data: [\n")
    write(a__yaml="extends: b.yaml\n", b__yaml="extends: a.yaml\n")
    refused(bare, "train cfg.yaml", 2, [expected])


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        # Configs
        ("train mnist.yaml", 2, "mnist.yaml: no such file; did you mean configs/mnist.yaml?"),
        ("train mnist", 2, "mnist: no such file; did you mean configs/mnist.yaml?"),
        ("train configs/mnits.yaml", 2, "configs/mnits.yaml: no such file; did you mean configs/mnist.yaml?"),
        ("train qqqqq.yaml", 2, "qqqqq.yaml: no such file"),
        ("train runs/lr=1/cfg.yaml seed=1", 2, "runs/lr=1/cfg.yaml: no such file"),
        ("train configs", 2, "configs: is a directory"),
        ("train configs/mnist.yaml/x", 2, "configs/mnist.yaml/x: not a directory"),
        ("train pipe", 2, "pipe: is not a regular file"),
        ("train /dev/zero", 2, "/dev/zero: is not a regular file"),
        ("train a\x1b[31m.yaml", 2, "a\\x1b[31m.yaml: no such file"),
        # Commands and options
        ("trian", 2, "command line: unknown command 'trian'; did you mean 'train'?"),
        ("zzz", 2, "command line: unknown command 'zzz'; see trainkit --help"),
        ("--foo", 2, "command line: no option '--foo'; overrides are written optimizer.lr=1e-3"),
        ("train", 2, "command line: CONFIG is missing; usage: trainkit train CONFIG [KEY=VALUE]..."),
        ("train seed=1", 2, "command line: CONFIG is missing; usage: trainkit train CONFIG [KEY=VALUE]..."),
        ("train --lr 1e-3 cfg.yaml", 2, "command line: no option '--lr'; overrides are written optimizer.lr=1e-3"),
        ("train cfg.yaml --set seed=1", 2, "command line: no option '--set'; overrides are written optimizer.lr=1e-3"),
        ("train cfg.yaml --quite", 2, "command line: no option '--quite'; did you mean '--quiet'?"),
        ("train cfg.yaml other.yaml", 2, "command line: one config, got two; 'other.yaml' is no key=value"),
        ("list optimizer", 2, "command line: unknown family 'optimizer'; did you mean 'optimizers'?; available: data, models, layers, losses, metrics, optimizers, schedulers, sinks, transforms, sections"),
        ("schema x", 2, "x: no such file"),
        # Overrides
        ("train cfg.yaml optimizer.lr", 2, "command line: expected key=value, got 'optimizer.lr'"),
        ("train cfg.yaml =1", 2, "command line: empty key in '=1'"),
        ("train cfg.yaml optimizer..lr=1", 2, "command line: empty key in 'optimizer..lr=1'"),
        ("train cfg.yaml name=", 2, "command line: name: value is missing"),
        ("train cfg.yaml optimizer.lr=0.1 optimizer.lr=0.2", 2, "command line: optimizer.lr given twice (0.1, 0.2)"),
        ("train cfg.yaml metrics.0=f1 metrics[0]=mae", 2, "command line: metrics[0] given twice (f1, mae)"),
        ("train cfg.yaml seed=!!python/object:x", 2, "command line: seed: YAML tags are not allowed (!!python/object:x)"),
        ("train cfg.yaml optimizer.lr=[1", 2, "command line: optimizer.lr: list opened at 1:1 is not closed"),
        (f"train cfg.yaml {'a.' * 1000}b=1", 2, "command line: nested deeper than 32"),
        (
            "train cfg.yaml = a seed=*x",
            2,
            """\
command line: empty key in '='
command line: expected key=value, got 'a'
command line: seed: anchors and aliases are not supported; use extends""",
        ),
        # Runs, checkpoints, sweeps
        ("train --resume", 2, "command line: option '--resume' requires an argument"),
        ("train --resume rnus/y", 4, "rnus/y: no such file or run; did you mean runs/y?"),
        ("train --resume runs/x", 4, "runs/x: no such file or run"),
        ("train cfg.yaml --resume runs/x", 2, "command line: --resume goes on with the stored config; 'cfg.yaml' is no key=value"),
        ("train --resume runs/x --run-dir y", 2, "command line: --resume goes on in its own directory, --run-dir cannot be given, too"),
        ("train --resume runs/x --fast-dev-run", 2, "command line: --fast-dev-run is for new runs, --resume for old ones"),
        ("eval", 2, "command line: --ckpt FILE is missing; write --ckpt best.pt"),
        ("eval my.pt", 2, "command line: --ckpt FILE is missing; write --ckpt my.pt"),
        ("eval --ckpt no.pt", 4, "no.pt: no such file or run"),
        ("eval --ckpt rnus/y", 4, "rnus/y: no such file or run; did you mean runs/y?"),
        ("eval --ckpt runs/y", 4, "runs/y: no run here (expected a run directory or a checkpoint in one)"),
        ("eval --ckpt cfg.yaml --split tset", 2, "command line: unknown split 'tset'; did you mean 'test'?; available: test, val, train"),
        ("sweep", 2, "command line: CONFIG is missing; usage: trainkit sweep CONFIG [KEY=VALUE]..."),
        ("sweep cfg.yaml --jobs 0", 2, "command line: --jobs: expected a whole number from 1 to 9999, got '0'"),
        ("sweep cfg.yaml --jobs two", 2, "command line: --jobs: expected a whole number from 1 to 9999, got 'two'"),
        ("sweep cfg.yaml --resume x", 2, "command line: --resume finishes the stored sweep; 'cfg.yaml' is not needed"),
        ("sweep nope.yaml", 2, "nope.yaml: no such file"),
    ],
)  # fmt: skip
def test_command_lines_that_make_no_sense(words: str, code: int, expected: str) -> None:
    for folder in ("configs", "runs/y"):
        Path(folder).mkdir(parents=True)
    write(cfg__yaml=BARE)
    Path("configs/mnist.yaml").write_text(BARE)
    os.mkfifo("pipe")
    refused(bare, words, code, expected.splitlines())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="no file is closed to root")
def test_a_config_that_may_not_be_read() -> None:
    write(cfg__yaml=BARE)
    Path("cfg.yaml").chmod(0)
    refused(bare, "train cfg.yaml", 2, ["cfg.yaml: permission denied"])


# ---------------------------------------------------------------------------------------------------------------------
# Judged by the schema

ADAM = "known: lr, head_lr, weight_decay, decay_bias_and_norm, betas, eps, amsgrad"
OPTIMIZERS = "known: sgd, adam, adamw, nadam, radam, adamax, rmsprop, adagrad, adadelta, muon"
MODELS = "known: mlp, cnn, embedding_bag, lstm, gru, rnn, sequential, table, transformer, unet, torchvision, timm, "
MODELS += "torchvision_segmentation"
SECTIONS = "known: name, seed, imports, data, loader, model, loss, metrics, optimizer, scheduler, train, log, checkpoint, sweep"
PRESETS = "mnist, fashion_mnist, cifar10, cifar100, imagenet, half, auto or none or a mapping"
NAME = "name: only letters, digits, . _ - (at most 100), got"
NINES = "9" * 60


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # Numbers
        ("optimizer: {lr: fast}", "3:17: optimizer.lr: expected a number, got 'fast'"),
        ("optimizer: {lr: 1e-3x}", "3:17: optimizer.lr: expected a number, got '1e-3x'"),
        ("optimizer: {lr: 10%}", "3:17: optimizer.lr: expected a number, got '10%'"),
        ("optimizer: {lr: '0,1'}", "3:17: optimizer.lr: expected a number, got '0,1'; use a decimal point"),
        ("optimizer: {lr: 0,1}", "3:17: optimizer.lr: must be > 0, got 0\n3:19: optimizer.1: unknown key for 'adam'; decimals follow a point, not a comma"),
        ("optimizer: {lr: 0}", "3:17: optimizer.lr: must be > 0, got 0"),
        ("optimizer: {lr: -0.1}", "3:17: optimizer.lr: must be > 0, got -0.1"),
        ("optimizer: {lr: .inf}", "3:17: optimizer.lr: expected a number, got '.inf'; it must be finite"),
        ("optimizer: {lr: 1e400}", "3:17: optimizer.lr: expected a number, got '1e400'; the largest number is 3.4e+38"),
        ("optimizer: {lr: 1e39}", "3:17: optimizer.lr: expected a number, got '1e39'; the largest number is 3.4e+38"),
        ("optimizer: {name: }", f"3:18: optimizer.name: value is missing; {OPTIMIZERS}"),
        ("optimizer: {lr: .nan}", "3:17: optimizer.lr: expected a number, got '.nan'; it must be finite"),
        ("optimizer: {lr: }", "3:13: optimizer.lr: value is missing"),
        ("optimizer: {lr: null}", "3:17: optimizer.lr: expected a number, got null"),
        ("optimizer: {lr: [0.1]}", "3:17: optimizer.lr: expected a number, got a list"),
        ("optimizer: {lr: '${x}'}", "3:17: optimizer.lr: expected a number, got '${x}'"),
        ('optimizer: {lr: "1e-3"}', '3:17: optimizer.lr: expected a number, got the text "1e-3"; drop the quotes'),
        ("train: {epochs: 1.5}", "3:17: train.epochs: expected a whole number, got 1.5"),
        ("train: {epochs: true}", "3:17: train.epochs: expected a whole number, got true"),
        ("train: {epochs: 1:30}", "3:17: train.epochs: expected a whole number, got '1:30'; write decimal digits only"),
        ("train: {epochs: 0x10}", "3:17: train.epochs: expected a whole number, got '0x10'; write decimal digits only"),
        ("train: {epochs: 1_0}", "3:17: train.epochs: expected a whole number, got '1_0'; write decimal digits only"),
        ("train: {epochs: ١٢}", "3:17: train.epochs: expected a whole number, got '١٢'; write decimal digits only"),
        ("train: {epochs: 010}", "3:17: train.epochs: expected a whole number, got '010'; leading zero: write 10"),
        ("train: {epochs: -05}", "3:17: train.epochs: expected a whole number, got '-05'; leading zero: write -5"),
        ("train: {epochs: -1}", "3:17: train.epochs: must be >= 1, got -1"),
        ("train: {epochs: 0}", "3:17: train.epochs: must be >= 1, got 0"),
        ("train: {epochs: 99999999999999999999}", "3:17: train.epochs: must be <= 1000000, got 99999999999999999999"),
        (
            f"train: {{epochs: {'9' * 5000}}}",
            f"3:17: train.epochs: expected a whole number, got '{NINES}…'; it has 5000 digits (limit 20)",
        ),
        ("seed: -1", "3:7: seed: must be >= 0, got -1"),
        (f"seed: {2**64}", "3:7: seed: must be <= 9223372036854775807, got 18446744073709551616"),
        ("loader: {batch_size: 0}", "3:22: loader.batch_size: must be >= 1, got 0"),
        (
            'loader: {batch_size: "32"}',
            '3:22: loader.batch_size: expected a whole number, got the text "32"; drop the quotes',
        ),
        ("loader: {num_workers: -2}", "3:23: loader.num_workers: must be >= 0 or auto, got -2"),
        ("loader: {num_workers: 10000}", "3:23: loader.num_workers: must be <= 64 or auto, got 10000"),
        ("loader: {num_workers: aut}", "3:23: loader.num_workers: expected a whole number or auto, got 'aut'; did you mean 'auto'?"),
        # Booleans, texts and choices
        ("loader: {drop_last: yes}", "3:21: loader.drop_last: expected true or false, got 'yes'"),
        ("loader: {drop_last: on}", "3:21: loader.drop_last: expected true or false, got 'on'"),
        ("loader: {drop_last: 1}", "3:21: loader.drop_last: expected true or false, got 1"),
        ("loader: {drop_last: True}", "3:21: loader.drop_last: expected true or false, got 'True'; did you mean 'true'?"),
        ('loader: {drop_last: "true"}', '3:21: loader.drop_last: expected true or false, got the text "true"; drop the quotes'),
        ("name: a/b", f"3:7: {NAME} 'a/b'"),
        ("name: ../x", f"3:7: {NAME} '../x'"),
        ("name: ..", f"3:7: {NAME} '..'"),
        ('name: "a\\nb"', f"3:7: {NAME} 'a\\nb'"),
        (f"name: {'x' * 300}", f"3:7: {NAME} '{'x' * 100}'"),
        ('name: "{{ x }}"', f"3:7: {NAME} '{{{{ x }}}}'"),
        ("name: ${env:HOME}", f"3:7: {NAME} '${{env:HOME}}'"),
        ("name: null", "3:7: name: expected text, got null"),
        ("name:", "3:1: name: value is missing"),
        ("train: {device: cudaa}", "3:17: train.device: expected auto, cpu, cuda, cuda:N or mps, got 'cudaa'"),
        ("train: {device: 'cuda:300'}", "3:17: train.device: expected auto, cpu, cuda, cuda:N or mps, got 'cuda:300'"),
        ("train: {precision: fp8}", "3:20: train.precision: expected auto, fp32, tf32, bf16 or fp16, got 'fp8'"),
        ("train: {precision: FP16}", "3:20: train.precision: expected auto, fp32, tf32, bf16 or fp16, got 'FP16'; did you mean 'fp16'?"),
        ("checkpoint: {mode: maximize}", "3:20: checkpoint.mode: expected min or max, got 'maximize'; did you mean 'max'?"),
        # Names of components
        ("optimizer: {name: admw}", "3:19: optimizer.name: unknown optimizer 'admw'; did you mean 'adamw'?"),
        ("optimizer: SGD", "3:12: optimizer.name: unknown optimizer 'SGD'; did you mean 'sgd'?"),
        ("loss: cros_entropy", "3:7: loss.name: unknown loss 'cros_entropy'; did you mean 'cross_entropy'?"),
        ("scheduler: {name: cosin}", "3:19: scheduler.name: unknown scheduler 'cosin'; did you mean 'cosine'?"),
        ("optimizer: ../../evil", f"3:12: optimizer.name: unknown optimizer '../../evil'; {OPTIMIZERS}"),
        ("optimizer: os.system", f"3:12: optimizer.name: unknown optimizer 'os.system'; {OPTIMIZERS}"),
        ("metrics: [acc]", "3:11: metrics[0].name: unknown metric 'acc'; did you mean 'accuracy'?"),
        ("optimizer: {name: 5}", "3:19: optimizer.name: expected text, got 5"),
        ("optimizer: 5", "3:12: optimizer: expected a mapping or a name, got 5"),
        ("optimizer: []", "3:12: optimizer: expected a mapping or a name, got a list"),
        ("optimizer:", "3:1: optimizer: value is missing"),
        ("optimizer:\n  lr:0.1", f"4:3: optimizer.name: unknown optimizer 'lr:0.1'; {OPTIMIZERS}; a space is missing after ':'"),
        # Keys
        ("optimizer: {momentum: 0.9}", "3:13: optimizer.momentum: unknown key for 'adam'; it is a key of sgd, rmsprop, muon"),
        ("optimizer: {name: adam, learning_rate: 1}", "3:25: optimizer.learning_rate: unknown key for 'adam'; did you mean 'lr'?"),
        ("optimizer: {1: 2}", f"3:13: optimizer.1: unknown key for 'adam'; {ADAM}"),
        ("loss: {class_path: x.y}", "3:8: loss.class_path: unknown key for 'cross_entropy'; own code comes in through imports"),
        ("train: {num_epochs: 3}", "3:9: train.num_epochs: unknown key; did you mean 'epochs'?"),
        ("train: {batch_size: 3}", "3:9: train.batch_size: unknown key; did you mean 'loader.batch_size'?"),
        ("trian: {}", "3:1: trian: unknown section; did you mean 'train'?"),
        ("epochs: 3", "3:1: epochs: unknown section; did you mean 'train.epochs'?"),
        ("lr: 3", "3:1: lr: unknown section; did you mean 'optimizer.lr'?"),
        ("1: 3", f"3:1: 1: unknown section; {SECTIONS}"),
        ("2024-01-02: 3", f"3:1: 2024-01-02: unknown section; {SECTIONS}"),
        ("no: 3", f"3:1: no: unknown section; {SECTIONS}"),
        ("__class__: 3", f"3:1: __class__: unknown section; {SECTIONS}"),
        ("_target_: os.system", "3:1: _target_: unknown section; own code comes in through imports"),
        # Lists and mappings
        ("train: []", "3:8: train: expected a mapping, got a list"),
        ("train: epochs:3", "3:8: train: expected a mapping, got 'epochs:3'; a space is missing after ':'"),
        ("train:", "3:1: train: value is missing"),
        ("metrics: accuracy", "3:10: metrics: expected a list, got 'accuracy'; write [accuracy]"),
        ("optimizer: {betas: 0.9}", "3:20: optimizer.betas: expected a list, got 0.9; write [0.9]"),
        ("optimizer: {betas: [0.9]}", "3:20: optimizer.betas: expected 2 values, got 1"),
        ("optimizer: {betas: []}", "3:20: optimizer.betas: expected 2 values, got 0"),
        ("optimizer: {betas: [0.9, 0.9, 0.9]}", "3:20: optimizer.betas: expected 2 or fewer values, got 3"),
        ("optimizer: {betas: [0.9, 1.0]}", "3:26: optimizer.betas[1]: must be < 1, got 1.0"),
        ("checkpoint: {every: 0}", "3:21: checkpoint.every: must be >= 1, got 0"),
        ("train: {eval_every: 0 epochs}", "3:21: train.eval_every: expected a number of steps, or such as '2 epochs', got '0 epochs'"),
        ("log: {every: -1}", "3:14: log.every: must be >= 1, got -1"),
        ("train: {early_stopping: {patience: 0}}", "3:36: train.early_stopping.patience: must be >= 1, got 0"),
        # What validators raise
        ("optimizer: {name: sgd, nesterov: true}", "3:12: optimizer: nesterov needs momentum > 0"),
        ("scheduler: {name: multistep, milestones: [30, 10]}", "3:42: scheduler.milestones: must rise, but 10 follows 30"),
        # What does not fit the data
        ("loss: mse", "3:7: loss: 'mse' needs numbers, the targets of the data are classes (10); use loss=cross_entropy, or change data"),
        ("checkpoint: {monitor: val/acc}", "3:23: checkpoint.monitor: unknown metric 'val/acc'; did you mean 'val/accuracy'?; available: val/accuracy, val/loss"),
    ],
)  # fmt: skip
def test_one_wrong_line(line: str, expected: str) -> None:
    write(cfg__yaml=f"{BARE}{line}\n")
    refused(warm, "train cfg.yaml", 2, of_the_file(expected))


@pytest.mark.parametrize(
    ("data", "code", "expected"),
    [
        ("5", 2, "1:7: data: expected a mapping or a name, got 5"),
        ("{name: digits, val: 1.2}", 2, "1:27: data.val: must be < 1, got 1.2"),
        ("{name: digits, val: -1}", 2, "1:27: data.val: must be >= 0, got -1"),
        ("{name: digits, val: all}", 2, "1:27: data.val: expected a number, got 'all'"),
        ("{name: digits, val: 70000}", 3, "1:27: data.val: 70000, but there are 1437 training samples"),
        ("{name: digits, subset: 70000}", 3, "1:30: data.subset: 70000, but there are 1293 training samples"),
        ("{name: digits, normalize: mnst}", 2, f"1:33: data.normalize: expected {PRESETS}, got 'mnst'; did you mean 'mnist'?"),
        ("{name: digits, normalize: 5}", 2, f"1:33: data.normalize: expected {PRESETS}, got 5"),
        ("{name: digits, normalize: {mean: 0, std: 0}}", 2, "1:48: data.normalize.std: must be > 0, got 0"),
        ("{name: digits, normalize: {mean: x}}", 2, "1:33: data.normalize.std: value is missing\n1:40: data.normalize.mean: expected a number or a list, got 'x'"),
        ("{name: digits, normalize: {mean: 0, std: [1, -2]}}", 2, "1:52: data.normalize.std[1]: must be > 0, got -2"),
        ("{name: digits, normalize: {mean: 0, std: 1, x: 1}}", 2, "1:51: data.normalize.x: unknown key; known: mean, std"),
        ("{name: digits, normalize: {mean: [0, 0, 0], std: 1}}", 3, "1:33: data.normalize: mean has 3 values, the images have 1 channel"),
        ("{name: digits, augment: [{name: random_crop, size: 8}]}", 2, "1:52: data.augment[0].size: unknown key for 'random_crop'; the window has the images' own size"),
        ("{name: digits, augment: [{name: random_crop, padding: -3}]}", 2, "1:61: data.augment[0].padding: must be >= 1, got -3"),
        ("{name: digits, augment: [{name: random_crop, padding: 64}]}", 3, "1:31: data.augment: random_crop: padding 64 must be less than the images' sides (8x8), or some windows would be black"),
        ("{name: digits, augment: [random_crp, 7]}", 2, "1:32: data.augment[0].name: unknown transform 'random_crp'; did you mean 'random_crop'?\n1:44: data.augment[1]: expected a mapping or a name, got 7"),
        ("{name: digits, augment: [random_crop, random_crop]}", 2, "1:31: data.augment: the same transform twice"),
        ("{name: csv, path: t.csv, target: price, test: 1.5}", 2, "1:53: data.test: must be < 1, got 1.5"),
    ],
)  # fmt: skip
def test_wrong_data(data: str, code: int, expected: str) -> None:
    write(cfg__yaml=f"data: {data}\nmodel: mlp\n")
    refused(warm, "train cfg.yaml", code, of_the_file(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: digits", "model: section is missing"),
        ("model: mlp", "data: section is missing"),
        ("seed: 1", "data: section is missing\nmodel: section is missing"),
        ("data: digits\nmodel: {channels: [8]}", f"2:8: model.name: value is missing; {MODELS}"),
        ("data: digits\nmodel: {name: }", f"2:14: model.name: value is missing; {MODELS}"),
        ("data: digts\nmodel: mpl", "1:7: data.name: unknown data 'digts'; did you mean 'digits'?\n2:8: model.name: unknown model 'mpl'; did you mean 'mlp'?"),
        ("data: digits\nmodel: ../../evil", f"2:8: model.name: unknown model '../../evil'; {MODELS}"),
        ("data: digits\nmodel: os.system", f"2:8: model.name: unknown model 'os.system'; {MODELS}"),
        ("data: digits\nmodel: {name: cnn, channels: []}", "2:30: model.channels: expected 1 or more values, got 0"),
        ("data: digits\nmodel: {name: cnn, num_classes: 5}", "2:20: model.num_classes: unknown key for 'cnn'; the number of classes comes from the data"),
        ("data: digits\nmodel: {name: cnn, _target_: os.system}", "2:20: model._target_: unknown key for 'cnn'; own code comes in through imports"),
    ],
)  # fmt: skip
def test_wrong_files(text: str, expected: str) -> None:
    write(cfg__yaml=f"{text}\n")
    refused(warm, "train cfg.yaml", 2, of_the_file(expected))


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = (
        "trian: {}\ntrain: {epochs: x, precision: fp8}\nmodel: {name: mlp, hiden: 3}\noptimizer: {name: sgd, lr: -1}\n"
    )
    write(cfg__yaml=text)
    expected = [
        "cfg.yaml: data: section is missing",
        "cfg.yaml:1:1: trian: unknown section; did you mean 'train'?",
        "cfg.yaml:2:17: train.epochs: expected a whole number, got 'x'",
        "cfg.yaml:2:31: train.precision: expected auto, fp32, tf32, bf16 or fp16, got 'fp8'",
        "cfg.yaml:3:20: model.hiden: unknown key for 'mlp'; did you mean 'hidden'?",
        "cfg.yaml:4:28: optimizer.lr: must be > 0, got -1",
        "command line: seed: must be >= 0, got -1",
    ]
    refused(warm, "train cfg.yaml seed=-1", 2, expected)


def test_a_parent_s_mistakes_are_told_at_their_place() -> None:
    write(base__yaml=f"{BARE}optimizer: {{lr: fast}}\n", cfg__yaml="extends: base.yaml\ntrain: {epochs: x}\n")
    expected = [
        "cfg.yaml:2:17: train.epochs: expected a whole number, got 'x'",
        "base.yaml:3:17: optimizer.lr: expected a number, got 'fast' (extended by cfg.yaml)",
    ]
    refused(warm, "train cfg.yaml", 2, expected)


MANY = "; several values are for trainkit sweep"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("optimizer.lr=abc", "optimizer.lr: expected a number, got 'abc'"),
        ("optimizer.lrr=1", "optimizer.lrr: unknown key for 'adam'; did you mean 'lr'?"),
        ("optimizerr.lr=1", "optimizerr: unknown section; did you mean 'optimizer'?"),
        ("lr=1", "lr: unknown section; did you mean 'optimizer.lr'?"),
        ("optimizer.lr.x=1", "optimizer.lr: expected a number, got a mapping"),
        ("name=$(rm)", f"{NAME} '$(rm)'"),
        ("name=#5", f"{NAME} '#5'"),
        ("'optimizer={name: sgd, lr: x}'", "optimizer.lr: expected a number, got 'x'"),
        ("optimizer.lr=1e-1,1e-2", f"optimizer.lr: expected a number, got '1e-1,1e-2'{MANY}"),
        ("train.precision=fp32,bf16", f"train.precision: expected auto, fp32, tf32, bf16 or fp16, got 'fp32,bf16'{MANY}"),
        ("optimizer=rmsprop,adagrad", f"optimizer.name: unknown optimizer 'rmsprop,adagrad'; did you mean 'rmsprop'?{MANY}"),
        ("name=a,b", f"{NAME} 'a,b'{MANY}"),
        ("model.hidden=8,9", "model.hidden: expected a list, got '8,9'; write [8,9]"),
        ("model.hidden=[8,x]", "model.hidden[1]: expected a whole number, got 'x'"),
    ],
)  # fmt: skip
def test_wrong_overrides(overrides: str, expected: str) -> None:
    write(cfg__yaml=BARE)
    refused(warm, f"train cfg.yaml {overrides}", 2, [f"command line: {line}" for line in expected.splitlines()])


# ---------------------------------------------------------------------------------------------------------------------
# Own code

LOOKED = "(looked in {here} and what is installed)"


@pytest.mark.parametrize(
    ("imports", "expected"),
    [
        ("[missing]", f"1:11: imports: no module 'missing' {LOOKED}"),
        ("[missing, gone]", f"1:11: imports: no module 'missing' {LOOKED}\n1:20: imports: no module 'gone' {LOOKED}"),
        ("[json]", "1:11: imports: 'json' registers no config"),
        ("[../evil]", "1:11: imports: expected a module name, got '../evil'"),
        ("[..evil]", "1:11: imports: expected a module name, got '..evil'"),
        ("[/tmp/evil.py]", "1:11: imports: expected a module name, got '/tmp/evil.py'"),
        ("json", "1:10: imports: expected a list, got 'json'; write [json]"),
        ("[exits]", "1:11: imports: 'exits' exits when it is imported; put what it runs below if __name__ == '__main__'"),
        ("[misnamed]", "1:11: imports: unknown family 'modle'; did you mean 'model'?"),
    ],
)  # fmt: skip
def test_wrong_imports(imports: str, expected: str) -> None:
    write(cfg__yaml=f"imports: {imports}\n{BARE}", exits__py="raise SystemExit(0)\n")
    write(misnamed__py="from trainkit import Config, register\n@register('modle')\nclass My(Config): pass\n")
    refused(warm, "train cfg.yaml", 2, of_the_file(expected.format(here=Path.cwd())))


USER_ERROR = """\
Traceback (most recent call last):
  File "{here}/exploding.py", line 4, in <module>
    helper()
  File "{here}/exploding.py", line 2, in helper
    1 / 0
ZeroDivisionError: division by zero
error: your code raised ZeroDivisionError: division by zero; --debug shows the whole traceback
"""


def test_an_error_in_a_module_of_the_users_shows_their_lines_only() -> None:
    write(cfg__yaml=f"imports: [exploding]\n{BARE}", exploding__py="def helper():\n    1 / 0\n\nhelper()\n")
    ended = warm.run(["train", "cfg.yaml"])
    assert (ended.code, ended.stdout) == (1, "")
    # Newer Pythons underline the place.
    shown = [line for line in ended.stderr.splitlines(keepends=True) if line.strip(" ~^\n")]
    assert "".join(shown[1:]) == USER_ERROR.format(here=Path.cwd())
    assert shown[0] == f"imports exploding ({Path.cwd()}/exploding.py)\n"
    assert "importlib" in warm.run(["train", "cfg.yaml", "--debug"]).stderr
    assert sorted(os.listdir()) == ["cfg.yaml", "exploding.py"]


# ---------------------------------------------------------------------------------------------------------------------
# What only the data can tell

CSV = "name: csv, target: price"
GONE = "no such file or directory"


@pytest.mark.parametrize(
    ("data", "rest", "code", "expected"),
    [
        # Paths
        (f"{CSV}, path: t.cvs", "", 3, f"cfg.yaml:1:40: data.path: {{here}}/t.cvs: {GONE}; did you mean t.csv?"),
        (f"{CSV}, path: t.csv, test: tt.csv", "", 3, f"cfg.yaml:1:53: data.test: {{here}}/tt.csv: {GONE}; did you mean t.csv?"),
        ("name: image_folder, path: picturse", "", 3, f"cfg.yaml:1:34: data.path: {{here}}/picturse: {GONE}; did you mean pictures?"),
        ("name: image_folder, path: t.csv", "", 3, "cfg.yaml:1:34: data.path: {here}/t.csv: not a directory"),
        ("name: image_txt, path: picturse, labels: l.txt", "", 3, f"cfg.yaml:1:31: data.path: {{here}}/picturse: {GONE}; did you mean pictures?"),
        ("name: image_txt, path: pictures, labels: ll.txt", "", 3, f"cfg.yaml:1:49: data.labels: {{here}}/ll.txt: {GONE}; did you mean l.txt?"),
        ("name: image_txt, path: pictures, labels: l.txt", "", 3, "l.txt:2: no picture pictures/b.pgn; did you mean pictures/b.png?"),
        ("name: image_list, paths: [pictures/a.png, b.png], labels: [0, 1]", "", 3, "cfg.yaml:1:50: data.paths[1]: no picture b.png"),
        ("name: image_list, file: t.cvs", "", 3, f"cfg.yaml:1:32: data.file: {{here}}/t.cvs: {GONE}; did you mean t.csv?"),
        ("name: tensors, file: x.npz", "", 3, f"cfg.yaml:1:29: data.file: {{here}}/x.npz: {GONE}"),
        ("name: mnist, root: ~/x, download: false", "", 3, "{here}/home/x/MNIST/raw: no mnist files here; set data.download=true to fetch them; they can also be put there unpacked, or data.root can point to them"),
        ("name: mnist, root: $HOME/x", "", 3, "{here}/$HOME/x/MNIST/raw: no mnist files here; variables in data.root are not expanded; they can also be put there unpacked, or data.root can point to them"),
        ("name: digits", "model: {name: mlp, weights: w.pth}", 2, "cfg.yaml:2:29: model.weights: no file {here}/w.pth; did you mean w.pt?"),
        # Tables
        (f"{CSV}, path: t.csv, columns: {{rooms: date}}", "", 3, "t.csv:2: rooms: no dates; say what they look like with format"),
        (f"{CSV}, path: t.csv", "loss: cross_entropy", 2, "cfg.yaml:2:7: loss: 'cross_entropy' needs classes, the targets of the data are numbers (1); use loss=mse, or change data"),
        ("name: csv, path: t.csv, target: prise", "", 3, "t.csv:1: no column 'prise'; did you mean 'price'?; there are: rooms, price"),
        # Batches
        ("name: digits", "loader: {batch_size: 1292}\nmodel: {name: sequential, layers: [flatten, {name: linear, out_features: 8}, batch_norm1d, linear]}", 3, "cfg.yaml:2:22: loader.batch_size: 1292 leaves a last batch of 1 sample, which BatchNorm (2) cannot normalise; use loader.drop_last=true or loader.batch_size=1293"),
        ("name: digits, subset: 5", "loader: {drop_last: true}", 3, "cfg.yaml:2:21: loader.drop_last: 5 samples, batch_size 64, drop_last: 0 batches; use loader.batch_size=2 or loader.drop_last=false"),
        (f"{CSV}, path: t.csv, task: regression", "loss: mse\nloader: {sampler: balanced}", 3, "cfg.yaml:3:19: loader.sampler: balanced needs classes, the targets of the data are no classes, but numbers"),
        ("name: tensors, inputs: [1], targets: [0]", "", 3, "cfg.yaml:1:7: data: inputs of shape (1,); expected (samples, features) and up to 4 axes"),
        # Length
        ("name: digits", "scheduler: {warmup_steps: 500}", 2, "cfg.yaml:2:27: scheduler.warmup_steps: must be < the run's 210 steps, got 500"),
    ],
)  # fmt: skip
def test_what_only_the_data_can_tell(
    data: str, rest: str, code: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    draws = random.Random(0)
    rows = [f"{draws.randint(1, 6)},{draws.random() * 1000:.2f}\n" for _ in range(80)]
    write(t__csv="".join(["rooms,price\n", *rows]), l__txt="a.png 0\nb.pgn 1\n", w__pt="")
    Path("pictures").mkdir()
    for name in "ab":
        Path(f"pictures/{name}.png").touch()
    model = "" if "model:" in rest else "\nmodel: mlp"
    write(cfg__yaml=f"data: {{{data}}}\n{rest}{model}\n")
    refused(warm, "train cfg.yaml", code, [expected.format(here=Path.cwd())])


# ---------------------------------------------------------------------------------------------------------------------
# What the machine does not have


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("words", "where"),
    [("train.device=cuda", "command line"), ("--device cuda:1", "command line"), ("", "cfg.yaml:3:17")],
)
def test_a_gpu_that_is_not_there(words: str, where: str) -> None:
    write(cfg__yaml=f"{BARE}train: {{device: cuda}}\n")
    name = "cuda:1" if "cuda:1" in words else "cuda"
    expected = f"{where}: train.device: {name} asked for, no CUDA device found; use cpu or auto"
    refused(warm, f"train cfg.yaml {words}", 5, [expected])


def test_a_place_for_runs_that_is_a_file() -> None:
    write(cfg__yaml=BARE, runs="")
    refused(warm, "train cfg.yaml", 5, [f"{Path.cwd()}/runs: is a file"])
    refused(warm, "train cfg.yaml --run-dir cfg.yaml/x", 5, [f"{Path.cwd()}/cfg.yaml: is a file"])
    refused(warm, f"train cfg.yaml --run-dir {'x' * 300}", 5, [f"{'x' * 300}: file name too long"])


def test_a_model_that_is_too_large() -> None:
    data, model = "{name: synthetic, shape: [4, 4]}", "{name: lstm, hidden_size: 1000000, num_layers: 16}"
    write(cfg__yaml=f"data: {data}\nmodel: {model}\n")  # 250 TB: more than a process has addresses for
    refused(warm, "train cfg.yaml", 8, ["out of memory; use a smaller model or less data"])


def test_a_variable_that_is_neither_0_nor_1(monkeypatch: pytest.MonkeyPatch) -> None:
    write(cfg__yaml="data: mnist\nmodel: mlp\n")
    monkeypatch.setenv("TRAINKIT_OFFLINE", "maybe")
    refused(warm, "train cfg.yaml", 2, ["environment: TRAINKIT_OFFLINE: expected 0 or 1, got 'maybe'"])


# ---------------------------------------------------------------------------------------------------------------------
# Sweeps

THOUSAND = ",".join(map(str, range(1, 1001)))


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ("optimizer.lr=", "optimizer.lr: empty axis"),
        ("optimizer.lr=1e-1,,1e-2", "optimizer.lr: empty value at place 2"),
        ("optimizer.lr=1e-1,fast", "optimizer.lr: expected a number, got 'fast' (trial optimizer.lr=fast)"),
        ("optimizer.lr=1e-1,-1 seed=1,2", "optimizer.lr: must be > 0, got -1 (trial optimizer.lr=-1 seed=1 and 1 more)"),
        ("optimizer.learning_rate=1,2", "optimizer.learning_rate: unknown key for 'adam'; did you mean 'lr'? (trial optimizer.learning_rate=1 and 1 more)"),
        ("optimizer.name=sgd,adam optimizer.momentum=0.9", "optimizer.momentum: unknown key for 'adam'; it is a key of sgd, rmsprop, muon (trial optimizer.name=adam optimizer.momentum=0.9)"),
        ("name=a,b", "name: may not be swept"),
        ("imports=[os],[sys]", "imports: may not be swept"),
        ("extends=a.yaml,b.yaml", "extends: may not be swept"),
        ("optimizer.lr=1,2 optimizer.lr=3", "optimizer.lr given twice"),
        (f"seed={THOUSAND} train.epochs={THOUSAND} loader.batch_size={THOUSAND}", "1000000000 trials (limit 10000)"),
    ],
)  # fmt: skip
def test_wrong_sweeps(axes: str, expected: str) -> None:
    write(cfg__yaml=BARE)
    refused(warm, f"sweep cfg.yaml {axes}", 2, [f"command line: {expected}"])


def test_a_sweep_over_data_that_is_not_there() -> None:
    write(cfg__yaml="data: {name: csv, target: x, path: none.csv}\nmodel: mlp\n")
    expected = f"cfg.yaml:1:36: data.path: {Path.cwd()}/none.csv: {GONE}"
    refused(warm, "sweep cfg.yaml seed=1,2", 3, [expected])


# ---------------------------------------------------------------------------------------------------------------------
# Runs and checkpoints

TINY = """\
name: run #1
data: {name: synthetic, shape: [4], size: 2, samples: 64, val: 16, test_samples: 16}
model: {name: mlp, hidden: [4]}
train: {epochs: 3, max_steps: 2}
log: {tensorboard: false}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A finished run, and how it ended."""
    home = tmp_path_factory.mktemp("run")
    (home / "cfg.yaml").write_text(TINY)
    return home / "a", warm.run(["train", "cfg.yaml", "--run-dir", "a"], home)


def test_the_header_shows_which_name_and_which_end_counts(run: tuple[Path, Ended]) -> None:
    directory, ended = run
    assert ended.code == 0, ended.stderr
    assert "2 steps (train.max_steps ends it before 3 epochs)" in ended.stderr
    assert load(directory / "config.yaml").name == "run"


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("--resume {run} optimizer.lr=1", 2, "command line: optimizer.lr differs (stored 0.001, given 1); start a new run"),
        ("--resume {run} optimizer=sgd", 2, "command line: optimizer.name differs (stored 'adam', given 'sgd'); start a new run"),
        ("--resume {run} optimizer.lrr=1", 2, "command line: optimizer.lrr: unknown key for 'adam'; did you mean 'lr'?"),
        ("--resume {run} train.max_steps=1", 2, "command line: the run is at step 2 already, and would end at step 1"),
        ("--resume begun", 4, "begun: no checkpoint yet; start anew: trainkit train begun/config.yaml"),
        ("--resume cfg.yaml", 4, "cfg.yaml: no run here (expected a run directory or a checkpoint in one)"),
    ],
)  # fmt: skip
def test_runs_that_cannot_go_on(words: str, code: int, expected: str, run: tuple[Path, Ended]) -> None:
    write(cfg__yaml=BARE)
    Path("begun").mkdir()
    Path("begun/run.json").write_text("{}")
    refused(warm, f"train {words.format(run=run[0])}", code, [expected])


def test_a_finished_run_is_not_run_again(run: tuple[Path, Ended]) -> None:
    ended = warm.run(["train", "--resume", str(run[0])])
    assert ended.code == 0
    assert "already complete" in ended.stdout


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def archive(**members: bytes) -> bytes:
    """A zip file, with a folder at its top as torch writes it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in members.items():
            file.writestr(f"x/{name.replace('__', '.')}", member)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a trainkit checkpoint (the file is empty)"),
        (b"epoch,loss\n1,2\n", "not a trainkit checkpoint (begins with 'epoch,loss\\n1')"),
        (b"<html><body>not found</body></html>", "not a trainkit checkpoint (begins with '<html><body>')"),
        (b"\x98\1\0\0\0\0\0\0{}", "not a trainkit checkpoint (begins with the bytes 98 01 00 00)"),  # safetensors
        (pickle.dumps(Evil()), "not a trainkit checkpoint (begins with the bytes 80 04 95"),
        (archive(constants__pkl=pickle.dumps(()), data__pkl=pickle.dumps({}), version=b"3\n"), ""),  # TorchScript
        (archive(data__pkl=pickle.dumps({"format": Evil()}, 2), version=b"3\n"), "refused, it asks for 'posix.system'; nothing was executed"),
    ],
    ids=["empty", "text", "html", "safetensors", "pickle", "torchscript", "evil"],
)  # fmt: skip
def test_files_that_are_no_checkpoints(content: bytes, expected: str) -> None:
    write(x__pt=content)
    for words in ("eval --ckpt x.pt", "eval --ckpt x.pt --json"):
        ended = warm.run(words.split())
        assert (ended.code, ended.stdout) == (4, "")
        [line] = ended.stderr.splitlines()
        assert line.startswith(f"error: x.pt: {expected}")
    assert os.listdir() == ["x.pt"]


# ---------------------------------------------------------------------------------------------------------------------
# What is accepted


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("optimizer: {lr: 1e-3}", "optimizer.lr", 0.001),
        ("optimizer: {lr: 1E-3}", "optimizer.lr", 0.001),
        ("optimizer: {lr: .001}", "optimizer.lr", 0.001),
        ("optimizer: {lr: 1}", "optimizer.lr", 1.0),
        ("name: no", "name", "no"),
        ("name: 2024-13-45", "name", "2024-13-45"),
        ("name: run #1", "name", "run"),
        ("name: 2024", "name", "2024"),
        ("name: 1.50", "name", "1.50"),
        ("name: true", "name", "true"),
        ("train: {epochs: 3, max_steps: 5}", "train.max_steps", 5),
        ("train: {eval_every: 1 epochs}", "train.eval_every", "1 epoch"),
        ("train: {eval_every: 2 step}", "train.eval_every", "2 steps"),
        ("seed: 9223372036854775807", "seed", 2**63 - 1),
        ("optimizer: {lr: 1e-3}", "optimizer.name", "adam"),
        ("loss: {label_smoothing: 0.1}", "loss.name", "cross_entropy"),
        ("loss: {label_smoothing: 0.1}\r\nseed: 1\r", "seed", 1),
        ("\ufeffseed: 1", "seed", 1),
    ],
)
def test_what_is_accepted(line: str, key: str, value: object) -> None:
    write(cfg__yaml=f"{line}\n{BARE}")
    found: Any = load(Path("cfg.yaml")).to_plain()
    for part in key.split("."):
        found = found[part]
    assert (type(found), found) == (type(value), value)


# ---------------------------------------------------------------------------------------------------------------------
# The same through a new process


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("train", 2, "command line: CONFIG is missing; usage: trainkit train CONFIG [KEY=VALUE]..."),
        ("train cfg.yaml", 2, "cfg.yaml:4:1: a space is missing after ':'"),
        ("train nope.yaml --debug", 2, "nope.yaml: no such file"),
        ("train good.yaml optimizer.lr=x", 2, "good.yaml:3:1: trian: unknown section; did you mean 'train'?\ncommand line: optimizer.lr: expected a number, got 'x'"),
        ("eval --ckpt cfg.yaml", 4, "cfg.yaml: not a trainkit checkpoint (begins with 'data: digits')"),
    ],
)  # fmt: skip
def test_the_command_as_a_process(words: str, code: int, expected: str) -> None:
    write(cfg__yaml=f"{BARE}trian: {{}}\nlr:0.1\n", good__yaml=f"{BARE}trian: {{}}\n")
    command = [sys.executable, "-m", "trainkit", *words.split()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    problems = "".join(f"error: {line}\n" for line in expected.splitlines())
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.endswith(problems)
    assert ended.stderr.startswith("Traceback" if "--debug" in words else problems)
    assert sorted(os.listdir()) == ["cfg.yaml", "good.yaml"]


def test_a_reader_that_has_seen_enough() -> None:
    """A closed pipe is no error, on stdout as on stderr."""
    for words, code in (("list", 0), ("train nope.yaml", 2)):
        read, written = os.pipe()
        os.close(read)
        command = [sys.executable, "-m", "trainkit", *words.split()]
        stdout, stderr = (subprocess.PIPE, written) if code else (written, subprocess.PIPE)
        ended = subprocess.run(command, stdout=stdout, stderr=stderr, timeout=120)
        os.close(written)
        assert (ended.returncode, ended.stdout or b"", ended.stderr or b"") == (code, b"", b"")

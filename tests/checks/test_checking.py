# ruff: noqa: E501  # in a table of messages, a row is a line
from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

from tests.command import ROOT, warm
from trainkit.checks.checking import check
from trainkit.config import registry
from trainkit.config.yamlfile import Where, from_plain
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import ConfigError, DataError
from trainkit.data.sources.torchvision import MnistConfig
from trainkit.experiment.loading import parse

CHECKPOINT_OF_BEFORE = {"data": {"name": "mnist", "val": 5000}, "model": "mlp", "checkpoint": {"mode": "min"}}
MNIST = "data: {name: mnist, val: 5000}\n"


@pytest.fixture(autouse=True)
def own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setitem(registry._families, "model", dict(registry._families["model"]))
    monkeypatch.setattr(registry, "_loaded", set(registry._loaded))


@pytest.fixture(autouse=True)
def files_of_mnist() -> None:
    """As far as a look at names tells, all data is there."""
    for folder in ("MNIST/raw", "FashionMNIST/raw", "cifar-10-batches-py", "cifar-100-python"):
        Path("data", folder).mkdir(parents=True)
        Path("data", folder, "a file").touch()


def checked(text: str, *overrides: str) -> list[str]:
    Path("my.yaml").write_text(text)
    return [found.to_text().replace("my.yaml:", "") for found in check(Path("my.yaml"), list(overrides))]


def own_net(init: str, forward: str) -> str:
    """A config with a model of one's own; no data is there, and none is needed."""
    Path("nets.py").write_text(
        "from torch import nn\nfrom trainkit import register_model\n@register_model('net')\nclass Net(nn.Module):\n"
        f"    def __init__(self, num_classes: int) -> None:\n        super().__init__()\n        {init}\n"
        f"    def forward(self, x):\n        {forward}\n"
    )
    sys.modules.pop("nets", None)
    return f"imports: [nets]\n{MNIST}model: net\n"


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_have_no_error_but_missing_files(config: Path) -> None:
    """The templates' pictures and tables are the user's."""
    errors = [found for found in check(config, []) if found.level == "error"]
    assert all(found.code == "data" and ("no such file" in found.text or "weights" in found.text) for found in errors)
    templates = ("csv_", "image_", "labels_", "pictures_", "segmentation_", "sequences_", "text_")
    assert bool(errors) <= config.stem.startswith(templates)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{MNIST}model: mpl\n", "error[config]: 2:8: model.name: unknown model 'mpl'; did you mean 'mlp'?"),
        (f"{MNIST}model: mlp\nloss: mse\n", "error[config]: 3:7: loss: 'mse' needs numbers, the targets of the data are classes (10); use loss=cross_entropy, or change data"),
        (f"{MNIST}model: mlp\ncheckpoint: {{mode: min}}\n", "error[config]: 3:20: checkpoint.mode: min would keep the worst checkpoint: a higher accuracy is better; leave mode out"),
        (f"{MNIST}model: mlp\ncheckpoint: {{monitor: val/loss, mode: max}}\n", "error[config]: 3:39: checkpoint.mode: max would keep the worst checkpoint: a lower loss is better; leave mode out"),
        (f"{MNIST}model: mlp\nloss: {{name: cross_entropy, weight: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]}}\n", "error[config]: 3:37: loss.weight: all are 0, so that nothing is learned; at least one must be above 0"),
        (f"{MNIST}model: mlp\nscheduler: one_cycle\ntrain: {{max_steps: 1}}\n", "error[config]: 3:12: scheduler: one_cycle needs 2 steps or more: the run's only one would have 4e-06 of the learning rate"),
        (f"{MNIST}model: mlp\nscheduler: coslog\ntrain: {{max_steps: 1}}\n", "error[config]: 3:12: scheduler: coslog needs 2 steps or more: the run's only one would have 0 of the learning rate"),
        (f"{MNIST}model: mlp\ncheckpoint: {{monitor: val/acc}}\n", "error[config]: 3:23: checkpoint.monitor: unknown metric 'val/acc'; did you mean 'val/accuracy'?; available: val/accuracy, val/loss"),
        ("data: {name: mnist, val: 60000}\nmodel: mlp\n", "error[data]: 1:26: data.val: 60000, but there are 60000 training samples"),
        (f"{MNIST}model: mlp\nscheduler: {{name: cosine, warmup_steps: 10000}}\n", "error[config]: 3:41: scheduler.warmup_steps: must be < the run's 8600 steps, got 10000"),
        (f"{MNIST}model: mlp\nscheduler: {{name: step, step_size: 10}}\n", "warning[idle-scheduler]: 3:12: scheduler: the run ends after 10 epochs (8,600 steps), before the learning rate first drops"),
        (f"{MNIST}model: mlp\nscheduler: {{name: exponential, gamma: 0.1}}\n", "warning[vanishing-lr]: 3:12: scheduler: a quarter before the end the learning rate is down to 1e-07 of its start"),
        (f"{MNIST}model: mlp\ntrain: {{early_stopping: {{patience: 10}}}}\n", "warning[idle-early-stopping]: 3:25: train.early_stopping: the run has 10 evaluations, so that a patience of 10 never ends it"),
        (f"{MNIST}model: mlp\nscheduler: {{name: cosine, warmup_steps: 8000}}\n", "warning[long-warmup]: 3:41: scheduler.warmup_steps: 8000 of the run's 8600 steps; a tenth or less is usual"),
        ("data: {name: mnist, val: 59000}\nmodel: mlp\n", "warning[large-val]: 1:26: data.val: holds out 59,000 samples, more than the 1,000 to train on"),
        (f"{MNIST}model: mlp\noptimizer: {{lr: 10.0}}\n", "warning[unusual-lr]: 3:17: optimizer.lr: 10 is unusual for adam (1e-06 to 0.01)"),
        (f"{MNIST}model: {{name: mlp, hidden: [64], activation: none}}\n", "warning[no-activation]: 2:8: model: nothing but linear steps from 1 to 3; is an activation missing?"),
        (f"{MNIST}model:\n  name: sequential\n  layers: [flatten, {{name: linear, in_features: 100, out_features: 5}}, linear]\n", "error[model]: 4:21: model.layers[1]: linear wants 100 features, 784 came in"),
        (f"{MNIST}model: mlp\ntrain: {{device: mps}}\n", "error[device]: 3:17: train.device: mps asked for, not available here; use cpu or auto"),
    ],
)  # fmt: skip
def test_what_is_found_in_a_file(text: str, found: str) -> None:
    assert checked(text) == [found]


@pytest.mark.parametrize(
    ("init", "forward", "found"),
    [
        ("self.fc = nn.Linear(100, num_classes)", "return self.fc(x.flatten(1))", "error[model]: 3:8: model: a trial batch of shape (2, 1, 28, 28) does not pass through layer fc (Linear): it takes 100 features but got (2, 784); in_features=784 would fit"),
        ("self.fc = nn.Linear(784, num_classes)", "return self.fc(x)", "error[model]: 3:8: model: a trial batch of shape (2, 1, 28, 28) does not pass through layer fc (Linear): it takes 784 features but got (2, 1, 28, 28); a flatten(1) before it would fit"),
        ("self.fc = nn.Linear(784, 7)", "return self.fc(x.flatten(1))", "error[model]: 3:8: model: two samples of shape (1, 28, 28) give outputs of shape (2, 7), but loss and data need (2, 10); change the model's last layer, the loss, or the data"),
        ("self.fc = nn.Linear(784, num_classes)", "return self.fc(x.flatten(1)).softmax(1)", "warning[no-logits]: 3:8: model: ends with a softmax, but losses here take logits and apply it themselves; leave it out"),
        ("self.fc = nn.Linear(784, num_classes); self.other = nn.Linear(3, 4)", "return self.fc(x.flatten(1))", "warning[no-gradient]: 3:8: model: in evaluation the outputs do not depend on other.weight and 1 more, which may not be trained"),
        ("self.fc = nn.Linear(784, num_classes); self.aux = nn.Linear(784, num_classes)", "x = x.flatten(1); return self.fc(x) if self.training else self.fc(x) + self.aux(x)", "warning[no-gradient]: 3:8: model: in training no gradient reaches aux.weight and 1 more"),
        ("self.fc = nn.Linear(784, num_classes)", "return self.head(x)", "error[model]: 3:8: model: raised AttributeError: 'Net' object has no attribute 'head' (nets.py:9)"),
        ("self.fc = nn.Linear(784, num_classes)", "return self.fc(x.flatten(1)) / (0 if self.training else 1)", "error[model]: 3:8: model: the loss is nan before the first update; look for log, sqrt and division"),
    ],
)  # fmt: skip
def test_what_is_found_in_a_model(init: str, forward: str, found: str) -> None:
    assert checked(own_net(init, forward)) == [found]


def test_what_gives_auxiliary_outputs_in_training_is_trained() -> None:
    text = "data: {name: digits_segmentation, samples: 20, test_samples: 4, val: 4}\nloader: {batch_size: 8}\n"
    model = "model: {name: torchvision_segmentation, arch: deeplabv3_mobilenet_v3_large}\n"
    shapes = "takes (2, 1, 64, 64), gives {out: (2, 11, 64, 64), aux: (2, 11, 64, 64)}"
    assert checked(text + model) == [f"fine[shapes]: 3:8: model: {shapes}"]


def test_a_layer_that_cannot_compute_in_the_precision() -> None:
    """As an LSTM in fp16, which some processors can."""
    half = "if torch.is_autocast_enabled('cpu'): raise RuntimeError('no such kernel. And a hint')"
    config = own_net(
        "self.last = nn.Linear(784, num_classes)",
        f"import torch; y = self.last(x.flatten(1))\n        {half}\n        return y",
    )
    assert checked(config + "train: {precision: fp32}\n") == []
    assert checked(config + "train: {precision: fp16}\n") == [
        "error[config]: 4:20: train.precision: in fp16 on cpu a trial batch of shape (2, 1, 28, 28) does not pass through: no such kernel; use bf16 or fp32"
    ]


def test_a_run_of_before_may_have_kept_the_worst() -> None:
    config = from_plain(CHECKPOINT_OF_BEFORE, Where("run"))
    assert parse(config, beside=None).checkpoint.mode == "min"
    with pytest.raises(ConfigError, match="would keep the worst checkpoint"):
        parse(config, beside=Path())


def test_where_output_cannot_be_written() -> None:
    Path("runs").write_text("")
    assert checked(f"{MNIST}model: mlp\n") == [f"error[storage]: {Path('runs').absolute()}: is a file"]


def test_the_data_is_not_read_and_nothing_made() -> None:
    nowhere = Path("nowhere/MNIST/raw").absolute()
    absent = f"data: {nowhere}: no mnist files here; {{}}; they can also be put there unpacked, or data.root can point to them"
    assert checked(f"{MNIST}model: mlp\n") == []
    assert checked(f"{MNIST}model: mlp\n", "data.root=nowhere") == [
        "fine[absent]: " + absent.format("training will fetch them")
    ]
    never = ["data.root=nowhere", "data.download=false"]
    why = absent.format("set data.download=true to fetch them")
    assert checked(f"{MNIST}model: mlp\n", *never) == ["error[data]: " + why.removeprefix("data: ")]
    stand_in = f"warning[absent]: {why}; data.fallback stands in for it"
    assert checked(f"{MNIST}model: mlp\n", *never, "data.fallback=digits") == [stand_in]
    assert not Path("nowhere").exists()


OWN = """
import torch
from torch import nn
from trainkit import register_loss, register_metric, register_optimizer
@register_metric("picky")
def picky(outputs, targets): raise ValueError("too few")
@register_loss("no_grad")
def no_grad(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets) if torch.is_grad_enabled() else {}["gone"]
@register_optimizer("odd_state")
class OddState(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1): super().__init__(params, lr=lr)
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]: self.state[parameter]["seen"] = {1}
"""


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ("metrics: [accuracy, picky]", "warning[metric]: 4:10: metrics: picky raised ValueError: too few (own.py:6); that was with three samples: with those of an evaluation it would end the training"),
        ("loss: no_grad", "error[config]: 4:7: loss: no_grad raised KeyError: 'gone' (own.py:9)"),
        ("optimizer: odd_state", "error[config]: a checkpoint could not be read again: checkpoint.optimizer.state.0.seen: set cannot go into a checkpoint"),
    ],
)  # fmt: skip
def test_what_only_an_evaluation_or_a_save_after_a_step_shows(
    section: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for family in ("loss", "metric", "optimizer"):
        monkeypatch.setitem(registry._families, family, dict(registry._families[family]))
    Path("own.py").write_text(OWN)
    sys.modules.pop("own", None)
    assert checked(f"imports: [own]\n{MNIST}model: mlp\n{section}\n") == [found]


def test_it_says_what_it_has_read_and_what_is_left() -> None:
    Path("good.yaml").write_text(f"{MNIST}model: mlp\n")
    write_table()
    Path("table.yaml").write_text(f"{TABLE}loader: {{batch_size: 4}}\n")
    ended = warm.run(["check", "good.yaml", "good.yaml", "table.yaml"])
    left = "whether whole batches fit into memory and what is learned (trainkit overfit, doctor, train)"
    assert ended.stdout.splitlines()[-2:] == [
        f"read of mnist: nothing, for what it holds is known; left: damaged files (trainkit data, train), {left}",
        f"read of csv: all; left: equal samples with different targets (trainkit data, train), {left}",
    ]
    plain = json.loads(warm.run(["check", "good.yaml", "--format", "json"]).stdout)
    assert plain[0]["read"][0].startswith("read of mnist: nothing")


def test_a_sketch_has_the_splits_of_the_data() -> None:
    placeholder = MnistConfig(val=5000).placeholder(0)
    assert (len(placeholder.train), len(placeholder.val or [])) == (55_000, 5000)
    assert sum(placeholder.spec.task.counts) == 55_000
    batch = placeholder.train.take(torch.tensor([0, 1]))
    assert (batch.inputs.dtype, batch.inputs.shape, batch.targets.shape) == (torch.uint8, (2, 1, 28, 28), (2,))
    with pytest.raises(DataError, match="there are 60000 training samples"):
        MnistConfig(val=70_000).placeholder(0)


def test_findings_for_programs() -> None:
    found = Diagnostic("model", "a.yaml:3:8: model: 50% too large", "error")
    assert found.to_plain() == {
        "level": "error", "code": "model", "file": "a.yaml", "line": 3, "column": 8,
        "message": "a.yaml:3:8: model: 50% too large",
    }  # fmt: skip
    line = "::error file=a.yaml,line=3,col=8,title=trainkit model::a.yaml:3:8: model: 50%25 too large"
    assert found.to_github("a.yaml") == line
    nowhere = Diagnostic("storage", "/runs: is a file", "error")
    assert nowhere.to_plain()["file"] is None
    assert nowhere.to_github("a.yaml").startswith("::error file=a.yaml,line=1,col=1,")


def test_the_command_takes_many_files() -> None:
    Path("good.yaml").write_text(f"{MNIST}model: mlp\n")
    Path("bad.yaml").write_text(f"{MNIST}model: mpl\n")
    ended = warm.run(["check", "good.yaml", "bad.yaml"])
    lines = ended.stdout.splitlines()
    assert (ended.code, ended.stderr) == (2, "")
    assert lines[0].startswith("good.yaml: ok (")
    assert lines[1] == "error[config]: bad.yaml:2:8: model.name: unknown model 'mpl'; did you mean 'mlp'?"
    assert lines[2].startswith("bad.yaml: not ok (")
    ended = warm.run(["check", "good.yaml", "bad.yaml", "model=mlp", "optimizer.lr=5", "--format", "json"])
    plain = json.loads(ended.stdout)
    assert (ended.code, [one["ok"] for one in plain]) == (0, [True, True])
    assert [one["findings"][0]["code"] for one in plain] == ["unusual-lr", "unusual-lr"]
    assert warm.run(["check", "good.yaml", "--format", "github"]).stdout == ""


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("check", "error: command line: CONFIG is missing; usage: trainkit check CONFIG... [KEY=VALUE]...\n"),
        ("check a.yaml --format xml", "error: command line: unknown format 'xml'; available: text, json, github\n"),
    ],
)
def test_wrong_words(words: str, problem: str) -> None:
    ended = warm.run(words.split())
    assert (ended.code, ended.stderr) == (2, problem)


def test_modules_of_the_same_name_beside_two_configs() -> None:
    for name in ("a", "b"):
        Path(name).mkdir()
        Path(name, "nets.py").write_text(
            "from torch import nn\nfrom trainkit import register_model\n"
            f"@register_model('net_{name}')\nclass Net(nn.Linear):\n"
            "    def __init__(self, in_features: int, num_classes: int) -> None:\n"
            "        super().__init__(in_features, num_classes)\n"
        )
        Path(name, "c.yaml").write_text(f"imports: [nets]\ndata: iris\nmodel: net_{name}\n")
    ended = warm.run(["check", "a/c.yaml", "b/c.yaml"])
    assert (ended.code, ended.stdout.count(": ok (")) == (0, 2)


def test_a_dataset_that_raises_is_an_error_of_its_config_alone() -> None:
    Path("sets.py").write_text(
        "from torch.utils.data import Dataset\nfrom trainkit import register_dataset\n"
        "@register_dataset('broken')\nclass Broken(Dataset):\n"
        "    def __len__(self): return 5\n    def __getitem__(self, number): return {}['gone']\n"
    )
    Path("bad.yaml").write_text("imports: [sets]\ndata: broken\nmodel: mlp\n")
    Path("good.yaml").write_text(f"{MNIST}model: mlp\n")
    ended = warm.run(["check", "bad.yaml", "good.yaml", "--format", "json"])
    bad, good = json.loads(ended.stdout)
    assert (ended.code, bad["ok"], good["ok"]) == (3, False, True)
    assert bad["findings"][0]["message"] == "Broken[0]: raised KeyError: 'gone' (sets.py:6)"


def test_a_module_that_raises_is_an_error_of_its_config_alone() -> None:
    Path("wrong.py").write_text("import json\njson.nothing()\n")
    Path("bad.yaml").write_text(f"imports: [wrong]\n{MNIST}model: mlp\n")
    Path("good.yaml").write_text(f"{MNIST}model: mlp\n")
    bad, good = json.loads(warm.run(["check", "bad.yaml", "good.yaml", "--format", "json"]).stdout)
    assert [bad["ok"], good["ok"]] == [False, True]
    assert bad["findings"][0]["message"].startswith("bad.yaml: imports: raised AttributeError: ")


TABLE = "data: {name: csv, path: t.csv, target: kind, missing: mean}\nmodel: mlp\n"


def write_table(odd: str = "3.5", rows: int = 40) -> None:
    lines = [f"{n},{n % 7}.5,{'red' if n % 3 else 'blue'},{'cat' if n % 2 else 'dog'}\n" for n in range(rows)]
    lines[rows // 2] = f'20,"{odd}",red,dog\n'
    Path("t.csv").write_text("id,size,colour,kind\n" + "".join(lines))


def test_a_line_for_every_column_of_a_table() -> None:
    write_table()
    Path("my.yaml").write_text(TABLE)
    ended = warm.run(["check", "my.yaml", "loader.batch_size=4"])
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[:4] == [
        "column  what it is                                         missing  different  values             inputs  what the model sees",
        "id      left out: an id: a number of its own in every row        0         40                          0  nothing",
        "size    numbers                                                  0          7  0.5 … 6.5               1  the number, standardised",
        "colour  category: words                                          0          2  red 65%, blue 35%       2  0 or 1 for each of 2 words",
    ]  # fmt: skip
    assert ended.stdout.splitlines()[4].startswith("my.yaml: ok (")
    [plain] = json.loads(warm.run(["check", "my.yaml", "--format", "json"]).stdout)
    assert [column["name"] for column in plain["columns"]] == ["id", "size", "colour"]
    assert plain["columns"][1]["becomes"] == "the number, standardised"


def test_an_odd_cell_of_a_table_is_found_before_the_training() -> None:
    write_table("oops")
    assert checked(TABLE) == [
        "error[data]: t.csv:22: size: 'oops' is no number as 97.5% of this column are (1 cell in all); mend the file, count it as missing with 'data.na_values=[oops]', or use 'data.columns={size: category}' (or drop)"
    ]


@pytest.mark.parametrize("odd", ["1,5", "1,500", "1 500", "1'500", "oops", "#DIV/0!", "a, b", "it's"])
def test_what_the_error_of_a_cell_advises_can_be_typed_in_a_shell(odd: str) -> None:
    """Where quotes disappear."""
    write_table(odd)
    if odd == "1,5":  # what stands before the decimals holds for all numbers
        Path("t.csv").write_text(Path("t.csv").read_text().replace(".5", ""))
    [problem] = checked(TABLE)
    advice = re.search(r"(?:say it|count it as missing) with (.+?)(?: \(|, or | and )", problem)
    assert advice is not None
    assert [found for found in checked(TABLE, *shlex.split(advice[1])) if found.startswith("error")] == []


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (f"{MNIST}model: mpl\n", 2),
        ("data: {name: image_folder, path: none}\nmodel: cnn\n", 3),
        ("data: digits\nmodel: mlp\nloader: {batch_size: 5000, drop_last: true}\n", 3),
        (f"{MNIST}model: mlp\ntrain: {{device: mps}}\n", 5),
    ],
)
def test_an_error_has_the_exit_code_that_training_has(config: str, code: int) -> None:
    Path("my.yaml").write_text(config)
    assert warm.run(["check", "my.yaml"]).code == warm.run(["train", "my.yaml"]).code == code

from __future__ import annotations

import io

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.optim import Optimizer

from tests.conftest import MakeExperiment, equal, weights
from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.experiment.schema import ExperimentConfig
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train
from trainkit.training.optimizers import (
    AdadeltaConfig,
    AdagradConfig,
    AdamaxConfig,
    AdamConfig,
    AdamwConfig,
    MuonConfig,
    NadamConfig,
    OptimizerConfig,
    RadamConfig,
    RmspropConfig,
    SgdConfig,
    trainable,
)
from trainkit.training.schedulers import CosineConfig, PlateauConfig

CPU = torch.device("cpu")

ALL: list[OptimizerConfig] = [
    SgdConfig(),
    SgdConfig(momentum=0.9, nesterov=True, weight_decay=1e-2),
    AdamConfig(weight_decay=1e-2),
    AdamConfig(amsgrad=True),
    AdamwConfig(),
    RmspropConfig(momentum=0.5, centered=True),
    AdagradConfig(lr_decay=0.1),
    AdadeltaConfig(),
    NadamConfig(momentum_decay=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    RadamConfig(betas=(0.8, 0.9), weight_decay=0.1),
    AdamaxConfig(eps=1e-6),
]


class Weight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))


@pytest.mark.parametrize(
    ("config", "first", "second"),
    [
        (SgdConfig(lr=0.1), 0.8, 0.64),
        (SgdConfig(lr=0.1, momentum=0.9), 0.8, 0.46),
        (AdamConfig(lr=0.1), 0.9, 0.800412),
        (AdamwConfig(lr=0.1), 0.899, 0.798519),
        (RmspropConfig(lr=0.1), 0.0, 0.0),
        (AdagradConfig(lr=0.1), 0.9, 0.833104),
        (AdadeltaConfig(lr=0.1), 0.999684, 0.999359),
        (NadamConfig(lr=0.1), 0.894355, 0.819973),
        (RadamConfig(lr=0.1), 0.8, 0.621053),  # at first the bare momentum
        (AdamaxConfig(lr=0.1), 0.9, 0.805168),
    ],
)
def test_first_steps(config: OptimizerConfig, first: float, second: float) -> None:
    model = Weight()
    optimizer = config.build(model, CPU)
    for expected in (first, second):
        optimizer.zero_grad()
        model.w.square().backward()
        optimizer.step()
        assert model.w.item() == pytest.approx(expected, abs=1e-6)


def trained(model: nn.Module, optimizer: Optimizer) -> list[torch.Tensor]:
    torch.manual_seed(1)
    inputs, targets = torch.randn(32, 6), torch.randn(32, 2)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    return list(model.parameters())


@pytest.mark.parametrize("config", ALL)
def test_fused_equals_unfused(config: OptimizerConfig) -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))

    ours, plain = model(), model()
    optimizer = config.build(ours, CPU)
    has_kernel = isinstance(config, SgdConfig | AdamConfig | AdamwConfig | AdagradConfig)
    assert optimizer.defaults.get("fused", None) is (True if has_kernel else None)
    fixed = ("fused", "decoupled_weight_decay") if isinstance(config, AdamwConfig) else ("fused",)
    options = {key: value for key, value in optimizer.defaults.items() if key not in fixed}
    unfused = type(optimizer)(plain.parameters(), **options)
    for a, b in zip(trained(ours, optimizer), trained(plain, unfused), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("config", ALL)
def test_every_field_reaches_torch(config: OptimizerConfig) -> None:
    optimizer = config.build(Weight(), CPU)
    for key, value in config.model_dump(exclude={"name", "head_lr", "decay_bias_and_norm"}).items():
        assert optimizer.defaults[key] == value, key


def test_no_kernel_elsewhere() -> None:
    meta = SgdConfig().build(Weight().to("meta"), torch.device("meta"))
    assert not meta.defaults["fused"]


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_unknown_arguments_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        registry.find("optimizer", name).model_validate_json(f'{{"name": "{name}", "maximize": true}}')


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_defaults_are_not_unusual(name: str) -> None:
    config = registry.find("optimizer", name)()
    assert isinstance(config, OptimizerConfig)
    low, high = config.usual_lr
    assert low <= config.lr <= high


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValidationError, match="nesterov needs momentum > 0"):
        SgdConfig(nesterov=True)


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert trainable(model) == list(model[1].parameters())


def network() -> nn.Module:
    """A convolution, a normalisation, an embedding and two linear layers, one without a bias."""
    torch.manual_seed(0)
    return nn.ModuleDict(
        {
            "conv": nn.Conv2d(1, 4, 3),
            "norm": nn.BatchNorm2d(4),
            "embedding": nn.Embedding(5, 3),
            "hidden": nn.Linear(3, 6),
            "head": nn.Linear(6, 2, bias=False),
        }
    )


def names_by_group(model: nn.Module, optimizer: Optimizer) -> list[list[str]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return [[names[parameter] for parameter in group["params"]] for group in optimizer.param_groups]


WEIGHTS = ["conv.weight", "embedding.weight", "hidden.weight", "head.weight"]
ONE_DIMENSION = ["conv.bias", "norm.weight", "norm.bias", "hidden.bias"]


@pytest.mark.parametrize("name", [name for name in registry.names("optimizer") if name != "muon"])
def test_decay_may_spare_biases_and_norms(name: str) -> None:
    model = network()
    config_class = registry.find("optimizer", name)
    everything = config_class(weight_decay=0.1)
    assert isinstance(everything, OptimizerConfig)
    assert names_by_group(model, everything.build(model, CPU)) == [[name for name, _ in model.named_parameters()]]
    spared = config_class(weight_decay=0.1, decay_bias_and_norm=False)
    assert isinstance(spared, OptimizerConfig)
    optimizer = spared.build(model, CPU)
    assert names_by_group(model, optimizer) == [WEIGHTS, ONE_DIMENSION]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]


def test_no_group_is_empty() -> None:
    for model, decay in ((nn.Linear(2, 2, bias=False), 0.5), (nn.BatchNorm1d(2), 0.0)):
        groups = SgdConfig(weight_decay=0.5, decay_bias_and_norm=False).build(model, CPU).param_groups
        assert [group["weight_decay"] for group in groups] == [decay]


HEAD = ["head.weight"]


@pytest.mark.parametrize("name", [name for name in registry.names("optimizer") if name != "muon"])
def test_the_head_may_have_a_rate_of_its_own(name: str) -> None:
    model = network()
    backbone = [key for key, _ in model.named_parameters() if key not in HEAD]
    config_class = registry.find("optimizer", name)
    config = config_class(lr=0.01, head_lr=0.1)
    assert isinstance(config, OptimizerConfig)
    optimizer = config.build(model, CPU)
    assert names_by_group(model, optimizer) == [backbone, HEAD]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]
    spared = config_class(lr=0.01, head_lr=0.1, weight_decay=0.2, decay_bias_and_norm=False)
    assert isinstance(spared, OptimizerConfig)
    optimizer = spared.build(model, CPU)
    assert names_by_group(model, optimizer) == [[key for key in WEIGHTS if key not in HEAD], ONE_DIMENSION, HEAD]
    options = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert options == [(0.01, 0.2), (0.01, 0.0), (0.1, 0.2)]


def test_the_head_moves_at_its_own_rate() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = SgdConfig(lr=0.1, head_lr=0.5, decay_bias_and_norm=False).build(model, CPU)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = [float((before[key] - value).mean()) for key, value in model.state_dict().items()]
    assert moved == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert names_by_group(model, optimizer) == [["0.weight"], ["0.bias"], ["1.weight"], ["1.bias"]]


def test_schedulers_scale_both_rates() -> None:
    model = network()
    optimizer = AdamConfig(lr=0.01, head_lr=0.1).build(model, CPU)
    scheduler = CosineConfig().build(optimizer, max_steps=4, steps_per_epoch=1, mode="min")
    for factor in (1.0, 0.853553, 0.5, 0.146447):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([0.01 * factor, 0.1 * factor], rel=1e-5)
        optimizer.step()
        scheduler.step()
    optimizer = AdamConfig(lr=0.01, head_lr=0.1).build(model, CPU)
    plateau = PlateauConfig(patience=0).build(optimizer, max_steps=4, steps_per_epoch=1, mode="min")
    for value in (1.0, 2.0):
        plateau.observe(value)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.001, 0.01])


def test_the_head_alone_when_all_else_is_frozen() -> None:
    model = network()
    model.requires_grad_(False)
    model.get_submodule("head").requires_grad_(True)
    [group] = SgdConfig(lr=0.1, head_lr=0.5).build(model, CPU).param_groups
    assert group["lr"] == 0.5
    [group] = SgdConfig(lr=0.1).build(model, CPU).param_groups
    assert group["lr"] == 0.1


def test_a_rate_for_a_head_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer\.head_lr: the model has no linear or convolutional layer$"):
        AdamConfig(head_lr=0.1).build(nn.LayerNorm(3), CPU)


def test_spared_parameters_only_follow_their_gradient() -> None:
    model = nn.Linear(1, 1)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    optimizer = SgdConfig(lr=0.1, weight_decay=0.5, decay_bias_and_norm=False).build(model, CPU)
    (0 * model(torch.ones(1, 1))).sum().backward()
    optimizer.step()
    assert model.weight.item() == pytest.approx(0.95)
    assert model.bias.item() == 1


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_muon_is_torchs_muon_and_adamw() -> None:
    config = MuonConfig(lr=0.01, momentum=0.9, betas=(0.8, 0.99), weight_decay=0.2)
    ours, theirs = network(), network()
    optimizer = config.build(ours, CPU)
    matrices = [theirs.get_parameter(name) for name in ("hidden.weight", "head.weight")]
    others = [
        parameter for name, parameter in theirs.named_parameters() if name not in ("hidden.weight", "head.weight")
    ]
    pair: tuple[Optimizer, ...] = (
        torch.optim.Muon(matrices, lr=0.01, momentum=0.9, weight_decay=0.2, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.01, betas=(0.8, 0.99), weight_decay=0.2, fused=True),
    )
    for step in range(4):
        for model in (ours, theirs):
            give_gradients(model, step)
        optimizer.step()
        for member in pair:
            member.step()
        if step == 1:  # what a scheduler does
            for group in [group for one in (optimizer, *pair) for group in one.param_groups]:
                group["lr"] *= 0.1
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in ours.parameters())


def test_muons_groups() -> None:
    model = network()
    matrices, others = ["hidden.weight", "head.weight"], ["conv.weight", "embedding.weight"]
    rest = [name for name, _ in model.named_parameters() if name not in matrices]
    assert names_by_group(model, MuonConfig().build(model, CPU)) == [matrices, rest]
    spared = MuonConfig(decay_bias_and_norm=False).build(model, CPU)
    assert names_by_group(model, spared) == [matrices, others, ONE_DIMENSION]
    assert [group["weight_decay"] for group in spared.param_groups] == [0.1, 0.1, 0.0]
    bare = nn.Linear(2, 2, bias=False)
    assert names_by_group(bare, MuonConfig().build(bare, CPU)) == [["weight"]]


def test_muons_groups_with_a_rate_for_the_head() -> None:
    model = network()
    rest = [name for name, _ in model.named_parameters() if name not in ("hidden.weight", "head.weight")]
    optimizer = MuonConfig(lr=0.01, head_lr=0.1).build(model, CPU)
    assert names_by_group(model, optimizer) == [["hidden.weight"], ["head.weight"], rest]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1, 0.01]
    # The first group's rate is recorded: the backbone's, also where the head is the only matrix.
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    optimizer = MuonConfig(lr=0.01, head_lr=0.1).build(model, CPU)
    assert names_by_group(model, optimizer) == [["0.weight", "0.bias"], ["2.bias"], ["2.weight"]]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1, 0.1]
    before = [parameter.detach().clone() for parameter in model.parameters()]
    give_gradients(model, 0)
    optimizer.step()
    assert all((one != other).any() for one, other in zip(before, model.parameters(), strict=True))


def test_muon_needs_a_linear_layer() -> None:
    with pytest.raises(ConfigError) as caught:
        MuonConfig().build(nn.Conv2d(1, 1, 3), CPU)
    assert str(caught.value) == (
        "optimizer: 'muon' is for models with linear layers, this one has none; use optimizer=adamw"
    )


@pytest.mark.parametrize(
    "config",
    [
        *ALL,
        AdamConfig(decay_bias_and_norm=False),
        MuonConfig(decay_bias_and_norm=False),
        SgdConfig(momentum=0.9, head_lr=0.1),
        MuonConfig(head_lr=0.1, decay_bias_and_norm=False),
    ],
)
def test_state_round_trip(config: OptimizerConfig) -> None:
    straight, resumed = network(), network()
    optimizer = config.build(straight, CPU)
    for step in range(2):
        give_gradients(straight, step)
        optimizer.step()
    resumed.load_state_dict(straight.state_dict())
    buffer = io.BytesIO()
    torch.save(checkpoint.plain(optimizer.state_dict(), "optimizer"), buffer)
    buffer.seek(0)
    again = config.build(resumed, CPU)
    again.load_state_dict(torch.load(buffer, weights_only=True))
    for step in range(2, 4):
        for model, one in ((straight, optimizer), (resumed, again)):
            give_gradients(model, step)
            one.step()
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_run_with_several_groups_goes_on_to_the_last_bit(name: str, make: MakeExperiment) -> None:
    def experiment(epochs: int) -> ExperimentConfig:
        optimizer = {"name": name, "lr": 1e-3, "head_lr": 1e-2, "decay_bias_and_norm": False}
        return make(optimizer=optimizer, train={"epochs": epochs})

    straight, half = train(experiment(2)), train(experiment(1))
    resume(half.run_dir, ["train.epochs=2"])
    last = "checkpoints/last.pt"
    assert equal(weights(straight.run_dir / last), weights(half.run_dir / last))
    meta = checkpoint.load(straight.run_dir / last)["meta"]
    order = {
        "adamw": ["0.weight", "4.weight", "0.bias", "4.bias", "7.weight", "7.bias"],
        "muon": ["4.weight", "7.weight", "0.weight", "0.bias", "4.bias", "7.bias"],
    }
    assert meta["parameters"] == order[name]


@pytest.mark.parametrize(
    ("name", "fields", "problem"),
    [
        ("sgd", '"decay_bias_and_norm": 0', "valid boolean"),
        ("nadam", '"amsgrad": true', "Extra inputs are not permitted"),
        ("radam", '"betas": [0.9, 1]', "less than 1"),
        ("adamax", '"eps": 0', "greater than 0"),
        ("muon", '"ns_steps": 100', "less than 100"),
        ("muon", '"momentum": 1', "less than 1"),
        ("adam", '"head_lr": 0', "greater than 0"),
    ],
)
def test_bad_values_are_refused(name: str, fields: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        registry.find("optimizer", name).model_validate_json(f'{{"name": "{name}", {fields}}}')

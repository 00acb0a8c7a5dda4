"""How weights start: the distribution of each Linear in both layouts, logits before training."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import pytest
import torch
import yaml
from hierarchies import Spec, random_spec
from topologies import random_family, random_topology
from torch import Tensor, nn

import homespec
from homespec.api import LoadedSpec
from homespec.bench.random_batch import random_features

SPEC = """
homespec: 1
name: initial
features:
  user: {id: {buckets: 50}, dim: 24}
  video: {id: {buckets: 50}, dim: 16}
  past:
    sequence:
      of: [video]
      with: {liked: {id: {vocab: 2}, dim: 16}}
      max_len: 4
      encoder: {din: {hidden: [24, 20], activation: relu}}
groups: {watch: [click, finish], social: [like, follow]}
tasks: {click: {rate: 0.2}, finish: {}, like: {}, follow: {}}
experts:
  hidden: [32, 24]
  width: 16
  meta:
    shared: {count: 3, norm: none, activation: relu}
    nodes:
      watch: {count: 2, norm: none, activation: none}
      social: {count: 2, norm: layer, activation: relu}
  task:
    shared: {count: 2, norm: batch, activation: relu}
    nodes:
      click: {count: 1, norm: none, activation: dice}
      like: {count: 2, norm: none, activation: swish, hidden_activation: swish}
      follow: {count: 1, hidden: [], norm: none, activation: none}
gates:
  feature: {loras: 2, rank: 8}
  mixture: {hidden: [28]}
  task: {mixture: {hidden: []}}
towers: {hidden: [20, 12]}
"""
HE = (
    r"experts\.meta\.shared\.\d\.linears\.[012]",
    r"experts\.meta\.watch\.\d\.linears\.[01]",  # none of the last one: nothing follows it
    r"experts\.task\.click\.\d\.linears\.[01]",  # DICE normalises by itself
    r"experts\.task\.like\.\d\.linears\.[012]",
    r"gates\.meta\.\w+\.linears\.0",
    r"towers\.\w+\.linears\.[01]",
    r"features\.past\.encoder\.layers\.[01]",
)
"""The Linears of SPEC that ReLU or Swish follows, in MLPs that no norm follows."""
DRAWS = 24
ROWS = 1024


def drawn(spec: LoadedSpec, optimize: bool) -> dict[str, Tensor]:
    """Weights by logical name, as they start in several models: [draws, …]."""
    code = homespec.build_module(spec, optimize=optimize)
    states = []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        states.append({k: v.clone() for k, v in code.logical_state(code.Model()).items()})
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def linears(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices of Linears by name, without the tables and the LoRAs' second factors."""
    tables = re.compile(r"features\.(?!past\.encoder)|.*\.up\.")
    return {
        name.removesuffix(".weight"): tensor
        for name, tensor in weights.items()
        if tensor.dim() == 3 and not tables.match(name)
    }


def check_uniform(values: Tensor, bound: float, name: str) -> None:
    """All within ± bound, and moments as those of a uniform distribution."""
    x = values.flatten().double() / bound
    assert x.abs().max() <= 1, name
    spread = len(x) ** -0.5
    assert x.abs().max() > 1 - 12 / len(x), name
    for power, moment in ((1, 0), (2, 1 / 3), (3, 0), (4, 1 / 5)):
        # 5 standard errors: the variance of x ** power is below 1 / (2 power + 1)
        assert abs(x.pow(power).mean() - moment) < 5 * spread / (2 * power + 1) ** 0.5, name


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("init", ["auto", "torch"])
def test_each_linear_has_its_distribution(optimize: bool, init: str) -> None:
    """He's bound is that of what one Linear reads, however many are stacked."""
    weights = drawn(homespec.loads(SPEC + f"init: {init}\n"), optimize)
    found = set()
    for name, matrix in linears(weights).items():
        he = [each for each in HE if re.fullmatch(each, name)] if init == "auto" else []
        found |= set(he)
        fan_in = matrix.shape[2]
        check_uniform(matrix, (6 / fan_in) ** 0.5 if he else fan_in**-0.5, name)
        bias = weights.get(f"{name}.bias")
        if bias is None:
            assert re.match(r"experts\.task\.(shared|watch|social|finish)|.*down", name), name
        elif he:
            assert not bias.any(), name
        elif name != "towers.click.linears.2":
            check_uniform(bias, fan_in**-0.5, name)
    assert found == (set(HE) if init == "auto" else set())
    start = torch.full((DRAWS, 1), 0.2).logit()
    torch.testing.assert_close(weights["towers.click.linears.2.bias"], start)


def test_experts_with_a_state_each_read_one_state() -> None:
    """ML-MMoE: four states go into four experts, and each of them reads the width of one."""
    spec = homespec.load("specs/families/ml_mmoe.yaml", ("experts.hidden=[16]", "experts.width=8"))
    code = homespec.build_module(spec)
    matrix = code.logical_state(code.Model())["experts.task.shared.3.linears.0.weight"]
    assert matrix.shape == (16, 8)
    assert (6 / 8) ** 0.5 * 0.8 < matrix.abs().max() <= (6 / 8) ** 0.5


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "tanh", "leaky_relu", "prelu"])
def test_each_activation_has_its_gain(activation: str, optimize: bool) -> None:
    """The deviation is that of torch's own initialisers with `calculate_gain`."""
    text = re.sub(r"activation: (relu|swish)", f"activation: {activation}", SPEC)
    text = text.replace("experts:\n", f"experts:\n  hidden_activation: {activation}\n")
    text = text.replace("[28]}", f"[28], hidden_activation: {activation}}}")
    text = text.replace("[20, 12]}", f"[20, 12], activation: {activation}}}")
    weights = drawn(homespec.loads(text), optimize)
    found = set()
    for name, matrix in linears(weights).items():
        he = [each for each in HE if re.fullmatch(each, name)]
        found |= set(he)
        example = torch.empty(matrix.shape[1:])
        if not he:
            bound = matrix.shape[2] ** -0.5
        elif activation == "tanh":
            nn.init.xavier_uniform_(example, nn.init.calculate_gain("tanh"))
            bound = nn.init.calculate_gain("tanh") * (6 / sum(matrix.shape[1:])) ** 0.5
        else:
            slope = {"gelu": 0.0, "leaky_relu": 0.01, "prelu": 0.25}[activation]
            nn.init.kaiming_uniform_(example, a=slope)
            gain: float = nn.init.calculate_gain("leaky_relu", slope)
            bound = gain * (3 / matrix.shape[2]) ** 0.5
        assert example.abs().max() <= bound or not he
        check_uniform(matrix, bound, name)
        if he:
            assert not weights[f"{name}.bias"].any(), name
    assert found == set(HE)
    slopes = {name for name in weights if name.endswith(".act.weight")}
    assert bool(slopes) == (activation == "prelu")
    assert all((weights[name] == 0.25).all() for name in slopes)


@pytest.mark.parametrize("optimize", [True, False])
def test_what_has_no_such_linear_is_the_same_file(optimize: bool) -> None:
    """Batch norm, gates of one Linear, towers of one, DIN with DICE: nothing to start otherwise."""
    text = SPEC.partition("experts:")[0].replace(", activation: relu", "")
    text += "experts: {hidden: [8], width: 8}\ntowers: {hidden: []}\n"
    auto, torchs = (
        homespec.compile(homespec.loads(text + f"init: {init}\n"), optimize=optimize)
        for init in ("auto", "torch")
    )
    assert without_head(auto) == without_head(torchs)


def test_files_for_inference_draw_nothing() -> None:
    for optimize in (True, False):
        made = [
            homespec.compile(
                homespec.loads(SPEC + f"init: {init}\n"), optimize=optimize, mode="inference"
            )
            for init in ("auto", "torch")
        ]
        assert without_head(made[0]) == without_head(made[1])


def without_head(text: str) -> str:
    """A generated file without the hash of its spec."""
    return re.sub(r"spec sha256: \w+", "", text)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("draw", [random_spec, random_family, random_topology])
def test_random_specs_start_alike_in_both_layouts(draw: Callable[[int], Spec], seed: int) -> None:
    """The biases that start at 0 are the same ones, and no weight is beyond its bound."""
    spec = homespec.loads(yaml.safe_dump(draw(seed), sort_keys=False))
    states = []
    for optimize in (True, False):
        code = homespec.build_module(spec, optimize=optimize)
        states.append(code.logical_state(code.Model()))
    zeros = [
        {n for n, t in state.items() if n.endswith("bias") and not t.any()} for state in states
    ]
    assert zeros[0] == zeros[1]
    for state in states:
        for name, matrix in state.items():
            if re.search(r"linears\.\d+\.weight", name):
                he = name.replace("weight", "bias") in zeros[0]
                greatest = 5 / 3 * 6**0.5 if he else 1  # that of tanh
                assert matrix.abs().max() <= greatest / matrix.shape[1] ** 0.5, name


# ---------------------------------------------------------------- the first step


@functools.cache
def start(name: str, init: str = "auto") -> tuple[float, float]:
    """Of random rows before training: the logits' mean standard deviation over rows, and the share
    of the experts' output channels that are 0 in all rows."""
    spec = homespec.load(f"specs/families/{name}.yaml", (f"init={init}",))
    torch.manual_seed(0)
    features = random_features(spec, ROWS, "cpu")
    model = homespec.build(spec, optimize=False)
    outputs: list[Tensor] = []
    for expert in (each for each in model.modules() if type(each).__name__ == "Expert"):
        expert.register_forward_hook(lambda _module, _args, out: outputs.append(out))
    with torch.no_grad():
        logits_TB = model.train()(features, stacked=True)
    dead = torch.stack([(out == 0).all(0).double().mean() for out in outputs])
    return float(logits_TB.std(1).mean()), float(dead.mean())


@pytest.mark.parametrize("family", ["mmoe", "cgc", "ple", "ml_mmoe"])
def test_published_families_do_not_start_almost_constant(family: str) -> None:
    home, _ = start("home")
    spread, dead = start(family)
    before, dead_before = start(family, "torch")
    assert spread > home / 40
    assert spread > 8 * before
    assert dead <= dead_before
    assert dead < 0.1

"""What a model needs is in its state or in its code: casts, the meta device, and what is saved."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import homespec
from homespec.bench.random_batch import random_features, set_fitted

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
SPECS = {path.stem: path for path in sorted((ROOT / "specs").rglob("[!_]*.yaml"))}
FILES: dict[str, dict[str, Any]] = {
    "optimised": {},
    "plain": {"optimize": False},
    "inference": {"mode": "inference"},
    "plain inference": {"optimize": False, "mode": "inference"},
}
ALL = """\
homespec: 1
name: all
features:
  user: {id: {buckets: 9}, dim: 4}
  tab: {id: {vocab: 5}, dim: 2}
  last: {table: tab}
  age: {bucketize: [0.1, 0.35], dim: 4}
  years: {table: age}
  days: {bucketize: {quantiles: 4}, dim: 4}
  asr: {dense: 3, project: 2, missing: learned}
groups: {a: [x, y], b: [z, w]}
tasks: {x: {rate: 0.1}, z: {rate: 0.2}, y: {}, w: {}}
experts: {width: 4, norm: batch, activation: dice}
"""
EVENTS = "  past: {sequence: {of: [tab, age, days], max_len: 3, encoder: ENCODER}}\n"
DIN = "{din: {hidden: [4], activation: dice}}"
SEARCH = "{twin: {width: 4, heads: 2, top: 2}}"
TEXTS = {"all": ALL, "swish": ALL.replace("dice", "swish")} | {
    name: ALL.replace("groups:", EVENTS.replace("ENCODER", encoder) + "groups:")
    for name, encoder in (("din", DIN), ("twin", SEARCH))
}
"""Shared tables, tasks that are out of order, and every kind of running statistics."""


def loaded(name: str) -> homespec.api.LoadedSpec:
    return homespec.loads(TEXTS[name]) if name in TEXTS else homespec.load(SPECS[name])


def trained(spec: homespec.api.LoadedSpec, options: dict[str, Any]) -> nn.Module:
    """A model with weights and statistics as if it were trained, in evaluation."""
    torch.manual_seed(0)
    model = homespec.build(spec, **options).eval()
    code = homespec.build_module(spec, **options)
    set_fitted(code, model, spec)
    state = code.logical_state(model)
    for name, tensor in state.items():
        if not name.endswith(("boundaries", "scaling", "vocabulary")):
            tensor.copy_(torch.randn_like(tensor) * 0.1 + name.endswith("var"))
    return model


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[task], other[task]) for task in one)


def constants(model: nn.Module) -> dict[str, Tensor]:
    """The boundaries that the file gives, exact and rounded."""
    found = {}
    buffers = dict(model.named_buffers())
    for path, module in model.named_modules():
        own = getattr(module, "boundaries", {})
        if isinstance(own, dict):
            pairs = own
        else:
            pairs = {"": (own, module.rounded)} if f"{path}.boundaries" not in buffers else {}
        for name, (exact, rounded) in pairs.items():
            found |= {f"{path}.{name}.bound": exact, f"{path}.{name}.rounded": rounded}
    return found


KEPT = (
    "running_mean", "running_var", "num_batches_tracked", "scale", "shift", ".boundaries",
    ".vocabulary",
)  # fmt: skip
"""Buffers of a state. What the spec gives is in no state, or old ones would come back with it."""

files = pytest.mark.parametrize("file", FILES)
every = pytest.mark.parametrize("name", [*SPECS, *TEXTS])


@files
@every
def test_from_the_meta_device(name: str, file: str) -> None:
    """Every way to give a model made there its weights gives the model that had them."""
    spec, options = loaded(name), FILES[file]
    code = homespec.build_module(spec, **options)
    model, features = trained(spec, options), random_features(spec, 8, "cpu")
    expected, state = model(features), model.state_dict()

    def empty() -> nn.Module:
        with torch.device("meta"):
            made: nn.Module = code.Model()
        return made.eval()

    filled, assigned, by_name = empty(), empty(), empty()
    filled.to_empty(device="cpu").load_state_dict(state)
    assigned.load_state_dict(state, assign=True)
    moved = copy.deepcopy(model).to_empty(device="cpu")
    moved.load_state_dict(state)
    by_name.to_empty(device="cpu")
    code.load_logical_state(by_name, code.logical_state(model))
    for other in (filled, assigned, moved, by_name):
        assert same(other(features), expected)
    kept = state.keys() - dict(model.named_parameters()).keys()
    assert all(name.endswith(KEPT) for name in kept), kept


@files
@pytest.mark.parametrize("name", TEXTS)
def test_the_meta_device_has_shapes(name: str, file: str) -> None:
    """A model that stays there computes shapes, and says what is not known."""
    spec, options = loaded(name), FILES[file]
    with torch.device("meta"):
        model = homespec.build_module(spec, **options).Model().eval()
    features = {n: t.to("meta") for n, t in random_features(spec, 8, "cpu").items()}
    with pytest.raises(ValueError, match="boundaries of days are not known"):
        model(features)
    model.unset = ()
    assert {logit.shape for logit in model(features).values()} == {(8,)}


CASTS = {
    "float": torch.float32,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "double": torch.float64,
}


@files
@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("name", [*TEXTS, "kuairand", "nested"])
def test_a_cast_is_what_build_makes(name: str, cast: str, file: str) -> None:
    spec, options, dtype = loaded(name), FILES[file], CASTS[cast]
    model, features = trained(spec, options), random_features(spec, 8, "cpu")
    built = homespec.build(spec, dtype=dtype, **options).eval()
    built.load_state_dict(model.state_dict())
    expected = built(features)
    for how in (getattr(nn.Module, cast), lambda m: m.to(dtype), lambda m: m.to("cpu", dtype)):
        found = how(copy.deepcopy(model))
        assert same(found(features), expected)
        assert [p.dtype for p in found.parameters()] == [p.dtype for p in built.parameters()]
        assert {logit.dtype for logit in found(features).values()} == {dtype}


@files
@pytest.mark.parametrize("name", TEXTS)
def test_casts_round_no_boundary_and_no_statistic(name: str, file: str) -> None:
    spec = loaded(name)
    model = trained(spec, FILES[file])

    def exact() -> dict[str, Tensor]:
        return {n: b for n, b in model.named_buffers() if b.is_floating_point()} | constants(model)

    before = {name: tensor.clone() for name, tensor in exact().items()}
    for cast in ("half", "bfloat16", "double", "float", "double", "half", "float"):
        getattr(model, cast)()
        for buffer, old in before.items():
            new = exact()[buffer]
            assert torch.equal(new.double(), old.double()), (cast, buffer)
            wanted = old.dtype if "bound" in buffer or buffer in constants(model) else None
            if wanted is None:
                wanted = torch.float64 if cast == "double" else torch.float32
            assert new.dtype == wanted, (cast, buffer)


@files
@every
def test_no_average_changes_a_constant(name: str, file: str) -> None:
    """The moving average of a model that stays as it is computes what the model does.

    torch averages integers by way of floats and cuts them: 169 becomes 168, the row of another id.
    """
    spec = loaded(name)
    model, features = trained(spec, FILES[file]), random_features(spec, 8, "cpu")
    averages = (
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True),
        AveragedModel(model),
    )
    for average in averages:
        for _ in range(3):
            average.update_parameters(model)
        torch.testing.assert_close(average(features), model(features))
        kept = constants(average.module)
        assert all(torch.equal(kept[name], old) for name, old in constants(model).items())


@files
def test_export_keeps_constants(file: str) -> None:
    """The exported program has them, whatever the type of numbers it was exported for."""
    spec = loaded("all")
    model = trained(spec, FILES[file])
    for dtype in (torch.float32, torch.float64, torch.int64):
        features = random_features(spec, 8, "cpu")
        for name in ("age", "years", "days"):
            features[name] = (features[name] * 3).to(dtype)
        program = torch.export.export(model, (features,))
        assert same(program.module()(features), model(features))

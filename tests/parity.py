"""A model's generated code against an oracle, in everything that a step of training shows.

Float64, both layouts, to rounding. Weights go by logical name, so a wrong name, a swapped expert or
a transposed matrix shows too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from hierarchies import Spec, random_features, random_labels, randomise
from masks import Masks
from torch import Tensor, nn

import homespec

torch.set_num_threads(1)

TOLERANCE = 1e-10
BATCH = 16
LAYOUTS = {"optimised": True, "plain": False}


def load(spec: Spec) -> Any:
    """The same spec as homespec reads it, from YAML text."""
    return homespec.loads(yaml.safe_dump(spec, sort_keys=False))


def build(loaded: Any, layout: str, **options: Any) -> tuple[nn.Module, ModuleType]:
    """The generated model of a spec in float64, and the Python module it comes from."""
    optimize = LAYOUTS.get(layout, True)
    model = homespec.build(loaded, dtype=torch.float64, optimize=optimize, **options)
    return model, sys.modules[type(model).__module__]


def split(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A logical state's parameters and its buffers."""
    ends = (".running_mean", ".running_var", ".boundaries", ".scaling", ".vocabulary")
    buffers = {name: tensor for name, tensor in state.items() if name.endswith(ends)}
    return {name: t for name, t in state.items() if name not in buffers}, buffers


def gradients(model: nn.Module, functions: Any) -> dict[str, Tensor]:
    """Gradients by logical name: laid out as the parameters are, so put in their place to read."""
    parameters = list(model.parameters())
    values = [parameter.detach().clone() for parameter in parameters]
    for parameter in parameters:
        assert parameter.grad is not None, "a parameter that no loss reaches"
        parameter.data.copy_(parameter.grad)
    found = {name: t.detach().clone() for name, t in functions.logical_state(model).items()}
    for parameter, value in zip(parameters, values, strict=True):
        parameter.data.copy_(value)
    return split(found)[0]


def observe(
    model: nn.Module, functions: Any, features: dict[str, Tensor], labels: dict[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """What a model computes before, in and after one step of SGD, each thing by name."""
    seen = {"v": {"": functions.v(features).detach().clone()}}
    seen["evaluated"] = model.eval()(features)
    seen["logits"] = model.train()(features)
    seen["losses"] = functions.losses(seen["logits"], labels)
    loss = functions.loss(seen["logits"], labels)
    loss.backward()
    seen["loss"] = {"": loss}
    seen["gradient"] = gradients(model, functions)
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    seen["after a step"] = {n: t.clone() for n, t in functions.logical_state(model).items()}
    seen["evaluated after a step"] = model.eval()(features)
    return seen


def assert_close(what: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Names, shapes and values; everything at once, and by name only to say where it differs."""
    assert {n: t.shape for n, t in found.items()} == {n: t.shape for n, t in expected.items()}, what
    ours, theirs = (
        torch.cat([tensors[name].detach().flatten() for name in expected])
        for tensors in (found, expected)
    )
    if torch.allclose(ours, theirs, TOLERANCE, TOLERANCE):
        return
    wrong = {
        name: f"{(found[name] - tensor).abs().max().item():.1e}"
        for name, tensor in expected.items()
        if not torch.allclose(found[name], tensor, TOLERANCE, TOLERANCE)
    }
    pytest.fail(f"{what}: differs by {wrong}")


def compare(
    spec: Spec, oracle: Any, seed: int, layouts: Iterable[str] = LAYOUTS, **options: Any
) -> None:
    """Both layouts of a spec, or others with options, against an oracle, on one batch.

    The oracle has the methods of `reference.Reference`; its `logical_state` names its tensors. What
    dropout leaves is the same everywhere: masks are handed out by logical place.
    """
    generator = torch.Generator().manual_seed(seed)
    masks = Masks(seed)
    if hasattr(oracle, "take"):
        oracle.take(masks)
    features = random_features(spec, BATCH, generator)
    labels = random_labels(spec, BATCH, generator)
    if seed % 5 == 0:  # nothing is known of one task in this batch
        labels[next(iter(labels))][:] = torch.nan
    weights = randomise(oracle.logical_state(), generator)
    oracle.load_logical_state(weights)
    functions = SimpleNamespace(
        v=oracle.v,
        losses=oracle.losses,
        loss=oracle.loss,
        logical_state=type(oracle).logical_state,
    )
    expected = observe(oracle, functions, features, labels)
    loaded = load(spec)
    for layout in layouts:
        with pytest.MonkeyPatch.context() as patch:
            model, module = build(loaded, layout, **options)
            assert set(module.TASKS) == set(spec["tasks"])
            module.load_logical_state(model, weights)
            masks.hand_out(model, spec, patch)
            assert_close(f"{layout}: loaded", module.logical_state(model), weights)
            named = sum(tensor.numel() for tensor in split(weights)[0].values())
            assert sum(p.numel() for p in model.parameters()) == named, "parameters without a name"
            functions = SimpleNamespace(
                v=model.features,
                losses=module.losses,
                loss=module.loss,
                logical_state=module.logical_state,
            )
            found = observe(model, functions, features, labels)
            for what, values in expected.items():
                assert_close(f"{layout}: {what}", found[what], values)
            logits = model.trunk(model.features(features))
            logits = dict(zip(module.TASKS, logits.unbind(), strict=True))
            assert_close(f"{layout}: trunk", logits, expected["evaluated after a step"])

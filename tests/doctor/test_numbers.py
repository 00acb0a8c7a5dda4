"""The numbers of the doctor, summed batch by batch, against a naive computation in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from doctor_models import random_trunk
from hierarchies import random_features, random_labels, random_spec
from numpy.typing import NDArray
from parity import load
from planted import InMemory
from topologies import random_family, random_topology
from torch import Tensor

from homespec.activations.observers import Observer
from homespec.activations.walk import Trunk, Values
from homespec.data.batches import Batch
from homespec.doctor.examine import Options, examine
from homespec.doctor.sample import Sample
from homespec.graph.nodes import ExpertSet, FeatureGate, Gate, Mix
from homespec.health.measures import QUANTILES, Health
from homespec.train.load_run import Run

Array = NDArray[np.float64]
ROWS = 60
TOLERANCE = 0.05
DRAWS = {"hierarchy": random_spec, "family": random_family, "topology": random_topology}
SEEDS = range(4)


def drawn(draw: Callable[[int], dict[str, Any]], seed: int) -> tuple[Trunk, Batch, Run]:
    spec = draw(seed)
    trunk, random = random_trunk(spec, seed), torch.Generator().manual_seed(seed)
    features = random_features(spec, ROWS, random)
    labels = random_labels(spec, ROWS, random)
    run = Run(Path("runs/drawn"), load(spec), trunk.code, trunk.model, {})
    return trunk, Batch(features, labels), run


@pytest.fixture(params=[(d, s) for d in DRAWS for s in SEEDS], ids=lambda p: f"{p[0]}-{p[1]}")
def case(request: pytest.FixtureRequest) -> tuple[Trunk, Values, Health]:
    draw, seed = request.param
    trunk, batch, run = drawn(DRAWS[draw], seed)
    with torch.no_grad():
        values = trunk(trunk.inputs(batch.features))
    options = Options(sample_rows=0, tolerance=TOLERANCE)
    return trunk, values, examine(run, InMemory(batch, size=17), options)


def close(found: object, expected: object) -> None:
    np.testing.assert_allclose(
        np.array(found, float), np.array(expected, float), rtol=1e-9, atol=1e-12
    )


def entropy(shares: Array) -> Array:
    return cast(
        Array, -np.where(shares > 0, shares * np.log(np.maximum(shares, 1e-300)), 0).sum(-1)
    )


def test_experts(case: tuple[Trunk, Values, Health]) -> None:
    _, values, health = case
    for expert in health.experts:
        a = values[expert.set][:, expert.index].numpy()
        close(expert.zeros, (a == 0).mean())
        close(expert.near_zeros, (abs(a) < TOLERANCE).mean())
        close(expert.dead_channels, (a.max(0) - a.min(0) < TOLERANCE).mean())
        close(expert.mean_abs, abs(a).mean())
        close(expert.std, math.sqrt(a.var(0).mean()))
        close(expert.quantiles, np.quantile(a[:17], QUANTILES))


def mixes(trunk: Trunk) -> Iterator[tuple[Mix, list[str]]]:
    for mix in trunk.graph.of(Mix):
        names = [
            f"{port.node}.{i}"
            for port, count in zip(mix.sets, mix.counts, strict=True)
            for i in range(count)
        ]
        yield mix, names


def test_uses(case: tuple[Trunk, Values, Health]) -> None:
    trunk, values, health = case
    for expert in health.experts:
        means = {
            mix.gate.node: values[mix.gate.node][:, names.index(expert.name)].numpy().mean()
            for mix, names in mixes(trunk)
            if expert.name in names
        }
        total = sum(means.values())
        assert [use.gate for use in expert.uses] == list(means)
        close([use.weight for use in expert.uses], list(means.values()))
        shares = np.array(list(means.values())) / total
        close([use.share for use in expert.uses], shares)
        close(expert.evenness, np.exp(entropy(shares)) / len(shares))


def test_gates(case: tuple[Trunk, Values, Health]) -> None:
    trunk, values, health = case
    gates = {gate.name: gate for gate in health.gates}
    everything = {mix.gate.node: names for mix, names in mixes(trunk)}
    for name, experts in everything.items():
        gate, g = gates[name], values[name].numpy()
        assert list(gate.experts) == experts
        close(gate.mean, g.mean(0))
        close(gate.std, g.std(0))
        close(gate.top, np.bincount(g.argmax(1), minlength=g.shape[1]) / len(g))
        close(gate.perplexity, np.exp(entropy(g).mean()) / g.shape[1])
        close(gate.mean_perplexity, np.exp(entropy(g.mean(0))) / g.shape[1])
        close(gate.variance_rows, g.var(0).sum())
        means = {
            expert: [
                values[n][:, e.index(expert)].numpy().mean()
                for n, e in everything.items()
                if expert in e
            ]
            for expert in experts
        }
        close(gate.variance_gates, sum(np.var(each) for each in means.values()))


def test_sources(case: tuple[Trunk, Values, Health]) -> None:
    trunk, values, health = case
    gates = {gate.name: gate for gate in health.gates}
    for mix, _ in mixes(trunk):
        g = np.split(values[mix.gate.node].numpy(), np.cumsum(mix.counts)[:-1], 1)
        s = [np.zeros_like(each) for each in g]
        for gate, position in mix.residuals:
            s[position] = s[position] + values[gate.node].numpy()
        a = [values[port.node].numpy() for port in mix.sets]

        def lengths(weights: list[Array], a: list[Array] = a) -> Array:
            mixed = [np.einsum("bk,bkd->bd", w, e) for w, e in zip(weights, a, strict=True)]
            means = np.array([np.linalg.norm(each, axis=1).mean() for each in mixed])
            return cast(Array, means / means.sum())

        both = [one + other for one, other in zip(g, s, strict=True)]
        weight = np.array([each.mean(0).sum() for each in both])
        sources = gates[mix.gate.node].sources
        close([x.fair for x in sources], np.array(mix.counts) / sum(mix.counts))
        close([x.weight for x in sources], [each.mean(0).sum() for each in g])
        close([x.contribution for x in sources], lengths(g))
        close([x.weight_with_self for x in sources], weight / weight.sum())
        close([x.contribution_with_self for x in sources], lengths(both))
        a_sizes = [abs(e[:, k]).mean() for e in a for k in range(e.shape[1])]
        close(gates[mix.gate.node].scale_ratio, max(a_sizes) / min(a_sizes))


def test_feature_gates(case: tuple[Trunk, Values, Health]) -> None:
    trunk, values, health = case
    nodes = {node.name: node for node in trunk.graph.of(FeatureGate)}
    assert [gate.name for gate in health.feature_gates] == list(nodes)
    for gate in health.feature_gates:
        module = trunk.module(nodes[gate.name])
        node = nodes[gate.name]
        x = values[node.reads[0].node]
        read = torch.cat([values[port.node] for port in node.reading], 1)
        of_another = len(node.reads) > 1 or node.activation != "none"
        with torch.no_grad():
            ones = (module(x, read) if of_another else module(x)) / x  # it multiplies by its gate
            effects = [(2 * lora(read).sigmoid() - 1).abs().mean() for lora in module.loras]
        f = ones.numpy()
        known = ~np.isnan(f).any(0)
        close(gate.std if known.all() else 0, math.sqrt(f.var(0).mean()) if known.all() else 0)
        if known.all():
            np.testing.assert_allclose(gate.mean, f.mean(), rtol=1e-6)
            np.testing.assert_allclose([gate.low, gate.high], [f.min(), f.max()], rtol=1e-6)
            close(gate.saturated, (abs(f - 1) > 0.95).mean())
        close([lora.effect for lora in gate.loras], effects)
        assert math.isclose(sum(lora.weight for lora in gate.loras), 1)


def test_tasks(case: tuple[Trunk, Values, Health]) -> None:
    trunk, _, health = case
    assert [task.name for task in health.tasks] == list(trunk.tasks)
    for task in health.tasks:
        assert math.isfinite(task.loss)
        assert task.rows <= health.rows == ROWS
        if task.kind == "binary":
            assert sum(point.rows for point in task.calibration) == task.rows


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("seed", SEEDS)
def test_losses_are_the_files_own(draw: Callable[[int], dict[str, Any]], seed: int) -> None:
    trunk, batch, run = drawn(draw, seed)
    with torch.no_grad():
        expected = trunk.code.losses(trunk.model(batch.features), batch.labels)
    health = examine(run, InMemory(batch, size=17), Options(sample_rows=0))
    close([task.loss for task in health.tasks], [float(expected[t.name]) for t in health.tasks])


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_are_those_of_each_loss_alone(seed: int) -> None:
    trunk, batch, run = drawn(random_spec, seed)
    health = examine(run, InMemory(batch, size=17), Options(sample_rows=ROWS))
    paths = {node.name: node.path for node in run.spec.analysis.root.walk()}
    for task in health.tasks:
        trunk.model.zero_grad()
        loss = trunk.code.losses(trunk.model(batch.features), batch.labels)[task.name]
        loss.backward()  # type: ignore[no-untyped-call]
        for role in ("task", "group", "shared"):
            owners = [node.name for node in paths[task.name] if node.role == role]
            of_role = [
                (torch.zeros_like(weight) if weight.grad is None else weight.grad).flatten()
                for node in trunk.graph.of(ExpertSet)
                if node.place in owners
                for weight in trunk.module(node).parameters()
            ]
            expected = float(torch.cat(of_role).square().mean().sqrt()) if of_role else math.nan
            found = getattr(task.gradients, "own" if role == "task" else role)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_a_walk_that_strays_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    _, batch, run = drawn(random_spec, 0)
    monkeypatch.setattr(Trunk, "logits", lambda *_: torch.zeros(1, dtype=torch.float64))
    with pytest.raises(AssertionError, match="differ from the model's own"):
        examine(run, InMemory(batch), Options(sample_rows=0))


def test_gates_of_one_expert_have_the_weight_one(case: tuple[Trunk, Values, Health]) -> None:
    trunk, _, health = case
    alone = {node.name for node in trunk.graph.of(Gate) if node.choices == 1}
    assert all(gate.mean == (1.0,) for gate in health.gates if gate.name in alone)


def numbers_held(observer: Observer) -> int:
    """How many numbers the sums of an evaluation hold."""

    def held(thing: object) -> int:
        if isinstance(thing, Tensor):
            return thing.numel()
        if isinstance(thing, dict):
            return sum(map(held, thing.values()))
        return held(vars(thing)) if hasattr(thing, "__dict__") else 0

    return held(vars(observer))


def test_memory_does_not_grow_with_rows() -> None:
    trunk, batch, _ = drawn(random_spec, 0)
    observer = Observer(TOLERANCE, 0.95)
    x = trunk.inputs(batch.features).repeat(30, 1)
    held = []
    with torch.no_grad():
        for _ in range(3):
            trunk(x, watch=observer)
            held.append(numbers_held(observer))
    assert held[0] == held[1] == held[2] > 0
    sample = Sample(100, 100_000, [math.nan])
    for _ in range(100):
        sample.add(x[:1000], torch.zeros(1, 1000))
    assert sample.rows < 150

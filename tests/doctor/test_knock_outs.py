"""Knock-outs against models that were changed by hand, and intervals against simulations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from doctor_models import random_trunk
from hierarchies import random_features, random_labels, random_spec
from parity import load
from planted import InMemory, diagnosed, planted
from topologies import random_family, random_topology
from torch import Tensor

from homespec.activations.similarity import Covariances
from homespec.activations.walk import Trunk, renormalised
from homespec.data.batches import Batch
from homespec.doctor.examine import Options, examine
from homespec.doctor.row_losses import RowLosses
from homespec.doctor.sample import Differences, Sample
from homespec.doctor.scores import Scores
from homespec.graph.nodes import ExpertSet, Mix
from homespec.health.measures import Health, Knockout
from homespec.health.thresholds import Thresholds
from homespec.train.load_run import Run
from homespec.train.metrics import auc

DRAWS = {"hierarchy": random_spec, "family": random_family, "topology": random_topology}
ROWS = 40
NEVER = -1e9
State = dict[str, Tensor]


def examined(
    draw: Callable[[int], dict[str, Any]], seed: int
) -> tuple[Trunk, Batch, Health, Callable[[State], dict[str, float]]]:
    """A model, its rows and its health, and the losses with other weights."""
    spec = draw(seed)
    trunk, random = random_trunk(spec, seed), torch.Generator().manual_seed(seed)
    labels = random_labels(spec, ROWS, random)
    batch = Batch(random_features(spec, ROWS, random), labels)
    run = Run(Path("runs/drawn"), load(spec), trunk.code, trunk.model, {})
    health = examine(run, InMemory(batch, size=17), Options(sample_rows=ROWS))

    def losses(state: State) -> dict[str, float]:
        own = {name: t.clone() for name, t in trunk.code.logical_state(trunk.model).items()}
        trunk.code.load_logical_state(trunk.model, state)
        with torch.no_grad():
            found = trunk.code.losses(trunk.model(batch.features), batch.labels)
        trunk.code.load_logical_state(trunk.model, own)
        return {task: float(loss) for task, loss in found.items()}

    return trunk, batch, health, losses


def columns(trunk: Trunk, set_name: str, index: int) -> Iterator[tuple[str, int]]:
    """The output layers of gates and self gates, and which column is that of the expert."""
    for mix in trunk.graph.of(Mix):
        start = 0
        for port, count in zip(mix.sets, mix.counts, strict=True):
            if port.node == set_name:
                yield mix.gate.node, start + index
            start += count
        for gate, position in mix.residuals:
            if mix.sets[position].node == set_name:
                yield gate.node, index


def without(trunk: Trunk, set_name: str, index: int) -> State | None:
    """Weights whose gates never choose the expert; None where a gate has no weights for that."""
    state = {name: t.clone() for name, t in trunk.code.logical_state(trunk.model).items()}
    for gate, column in columns(trunk, set_name, index):
        biases = [name for name in state if name.startswith(f"{gate}.linears.") and "bias" in name]
        if not biases:
            return None
        state[max(biases)][column] = NEVER
    return state


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("seed", range(5))
def test_without_an_expert(draw: Callable[[int], dict[str, Any]], seed: int) -> None:
    trunk, _, health, losses = examined(draw, seed)
    before = losses(trunk.code.logical_state(trunk.model))
    found = {k.target: k for k in health.knockouts if k.kind == "without_expert"}
    for node in trunk.graph.of(ExpertSet):
        for index in range(node.count):
            state = without(trunk, node.name, index)
            if state is not None:
                after = losses(state)
                changes = {e.task: e.change for e in found[f"{node.name}.{index}"].effects}
                for task, loss in after.items():
                    change = changes.get(task, 0.0)  # that it cannot reach
                    assert math.isclose(loss - before[task], change, rel_tol=1e-6, abs_tol=1e-9)


def effect(knockouts: tuple[Knockout, ...], kind: str, target: str, task: str) -> float:
    (found,) = (k for k in knockouts if (k.kind, k.target) == (kind, target))
    return next(e.change for e in found.effects if e.task == task)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("seed", range(4))
def test_gates_held_at_their_means(draw: Callable[[int], dict[str, Any]], seed: int) -> None:
    """A gate with weights 0 and the logarithms of the means as biases is constant."""
    trunk, _, health, losses = examined(draw, seed)
    before = losses(trunk.code.logical_state(trunk.model))
    means = {gate.name: gate.mean for gate in health.gates}
    for knockout in health.knockouts:
        if knockout.kind != "constant_gate":
            continue
        state = {name: t.clone() for name, t in trunk.code.logical_state(trunk.model).items()}
        last = max(name for name in state if name.startswith(f"{knockout.target}.linears."))
        last = last.rpartition(".")[0]
        state[f"{last}.weight"].zero_()
        state[f"{last}.bias"].copy_(torch.tensor(means[knockout.target]).log())
        after = losses(state)
        for each in knockout.effects:
            change = after[each.task] - before[each.task]
            assert math.isclose(change, each.change, rel_tol=1e-4, abs_tol=1e-7)


@torch.no_grad()
def test_without_a_lora_its_values_are_one() -> None:
    limits = Thresholds(lora_effect=math.inf)  # tries all
    run, rows = planted(lambda state: None)
    health = examine(run, rows, Options(sample_rows=4000, thresholds=limits))
    state = {name: t.clone() for name, t in run.module.logical_state(run.model).items()}
    batch = rows.batch
    before = run.module.losses(run.model(batch.features), batch.labels)
    tried = [k for k in health.knockouts if k.kind == "without_lora"]
    assert len(tried) == 2 * len(health.feature_gates)
    for knockout in tried[:4]:
        changed = dict(state)
        changed[f"{knockout.target}.up.weight"] = torch.zeros_like(
            state[f"{knockout.target}.up.weight"]
        )
        run.module.load_logical_state(run.model, changed)
        after = run.module.losses(run.model(batch.features), batch.labels)
        for each in knockout.effects:
            change = float(after[each.task] - before[each.task])
            assert math.isclose(change, each.change, rel_tol=1e-3, abs_tol=1e-6)


def test_what_is_tried_and_whom_it_reaches() -> None:
    _, health, _ = diagnosed(lambda state: None)
    kinds = {k.kind for k in health.knockouts}
    expected = {"without_expert", "without_set", "shuffled_set"}
    assert kinds == expected | {"constant_gate", "constant_feature_gate"}
    for knockout in health.knockouts:
        for each in knockout.effects:
            assert each.low < each.change < each.high or each.change == 0
    alone = [k for k in health.knockouts if k.target.startswith("experts.task.like")]
    assert {e.task for k in alone for e in k.effects} == {"like"}


def test_a_set_of_one_expert_is_the_expert() -> None:
    _, health, _ = diagnosed(lambda state: None)
    one = effect(health.knockouts, "without_expert", "experts.task.like.0", "like")
    assert one == effect(health.knockouts, "without_set", "experts.task.like", "like")


def test_what_is_left_of_a_sure_gate_adds_up_to_one() -> None:
    weights = [torch.tensor([[1e-41, 0.0], [0.0, 0.0]]), torch.tensor([[3e-41], [0.0]])]
    found = torch.cat(renormalised(weights), 1)
    torch.testing.assert_close(
        found, torch.tensor([[0.25, 0.0, 0.75], [0.0] * 3]), rtol=1e-3, atol=0
    )


def test_the_only_expert_of_a_set_is_left_out_once() -> None:
    run, rows = planted(lambda state: None)
    steps: dict[str, int] = {}

    def progress(what: str, number: int) -> Callable[[int], None]:
        steps[what] = number
        return lambda further: None

    health = examine(run, rows, Options(sample_rows=100), progress)
    alone = [node for node in run.spec.analysis.graph.of(ExpertSet) if node.count == 1]
    assert alone
    changes = len(health.knockouts) - len(alone)
    assert steps["knock-outs"] == changes * health.sample_rows


# ---------------------------------------------------------------- intervals


def test_the_interval_of_an_even_sample_is_the_textbook_one() -> None:
    random = torch.Generator().manual_seed(0)
    values = torch.randn(1, 500, generator=random, dtype=torch.float64)
    values[0, :50] = torch.nan
    sample = Sample(1000, 500, [math.nan])
    sample.add(torch.zeros(500, 1), torch.zeros(1, 500))
    sums = Differences(1)
    sums.add(values, torch.zeros(500, dtype=torch.long))
    found = sums.interval(0, sample)
    seen = values[0, 50:].numpy()
    assert math.isclose(found.mean, seen.mean())
    error = seen.std(ddof=1) / math.sqrt(len(seen))
    assert math.isclose(found.high - found.mean, 1.959963984540054 * error, rel_tol=2e-3)


def simulate(seed: int, wanted: int) -> tuple[float, float, float]:
    """The interval of a mean in which rare positives count most, from a stratified sample."""
    random = torch.Generator().manual_seed(seed)
    rows, rate = 20_000, 0.01
    positive = torch.rand(rows, generator=random) < rate
    values = torch.randn(rows, generator=random).double() + 100 * positive
    sample = Sample(wanted, rows, [rate])
    numbers = torch.arange(rows).float().unsqueeze(1)
    sample.add(numbers, positive.float().unsqueeze(0))
    sample.join()
    sums = Differences(1)
    for chunk in sample.chunks(512):
        sums.add(values[chunk.x_BV[:, 0].long()].unsqueeze(0), chunk.strata_B)
    found = sums.interval(0, sample)
    return found.mean, found.low, found.high


def test_intervals_of_stratified_samples_hold_the_truth_as_often_as_they_say() -> None:
    found = [simulate(seed, 2000) for seed in range(300)]
    held = np.mean([low <= 1.0 <= high for _, low, high in found])
    assert 0.92 < held < 0.98
    assert abs(np.mean([mean for mean, _, _ in found]) - 1.0) < 0.02


def test_rare_positives_are_drawn_more_often() -> None:
    random = torch.Generator().manual_seed(0)
    labels = (torch.rand(1, 50_000, generator=random) < 0.002).float()
    sample = Sample(5000, 50_000, [0.002])
    sample.add(torch.zeros(50_000, 1), labels)
    assert sample.labelled(0)[1] == int(labels.sum())
    assert 4500 < sample.rows < 5500
    assert (sample.weights * sample.counts).sum() == 50_000


def test_a_sample_has_no_more_rows_than_are_wanted() -> None:
    random = torch.Generator().manual_seed(1)  # not that of the sample
    labels = (torch.rand(1, 40_000, generator=random) < 0.1).float()
    sample = Sample(2000, 40_000, [0.001])  # a hundred times as many positives come
    for low in range(0, 40_000, 1000):
        numbers = torch.arange(low, low + 1000).float().unsqueeze(1)
        sample.add(numbers, labels[:, low : low + 1000])
    assert sample.rows > 5000
    sample.join()
    assert sample.rows == 2000
    (chunk,) = sample.chunks(2000)
    rows = chunk.x_BV[:, 0].long()
    assert torch.equal(chunk.labels_TB[0], labels[0, rows])
    assert torch.equal(chunk.strata_B, labels[0, rows].long())
    assert rows[-1] > 38_000
    assert (sample.weights * sample.counts).sum() == 40_000
    share = sample.weights[1] * sample.counts[1] / 40_000
    assert math.isclose(share, float(labels.mean()), rel_tol=1e-6)


def test_all_rows_are_taken_if_they_are_few() -> None:
    sample = Sample(5000, 300, [0.002, math.nan])
    sample.add(torch.zeros(300, 1), torch.zeros(2, 300))
    assert sample.rows == 300


# ---------------------------------------------------------------- parts


def test_scores_give_the_auc_and_the_calibration() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5000, generator=random) * 2
    labels = torch.bernoulli(logits.sigmoid(), generator=random)
    labels[:100] = torch.nan
    scores = Scores()
    for low in range(0, 5000, 700):
        scores.add(logits[low : low + 700], labels[low : low + 700])
    assert math.isclose(scores.auc, auc(logits.numpy(), labels.numpy()), abs_tol=1e-4)
    curve = scores.calibration()
    assert sum(point.rows for point in curve) == 4900
    assert all(abs(point.predicted - point.observed) < 0.08 for point in curve)


def naive_cka(one: Tensor, other: Tensor) -> float:
    one, other = one - one.mean(0), other - other.mean(0)
    cross = (one.T @ other).norm() ** 2
    return float(cross / ((one.T @ one).norm() * (other.T @ other).norm()))


def test_similarity_is_linear_cka() -> None:
    random = torch.Generator().manual_seed(0)
    outputs = torch.randn(400, 3, 5, generator=random, dtype=torch.float64) + 7
    turn = torch.linalg.qr(torch.randn(5, 5, generator=random, dtype=torch.float64))[0]
    outputs[:, 2] = 3 * outputs[:, 0] @ turn + 1
    sums = Covariances()
    for low in range(0, 400, 150):
        part = outputs[low : low + 150]
        sums.add(part, torch.ones(len(part)))
    first, second, third = sums.siblings()
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.position, third.position) == (2, 0)
    assert math.isclose(first.similarity, 1)
    most = max(naive_cka(outputs[:, 1], outputs[:, i]) for i in (0, 2))
    assert math.isclose(second.similarity, most, rel_tol=1e-9)
    matrix, offset = sums.fit(0, 2)
    torch.testing.assert_close(outputs[:, 2] @ matrix + offset, outputs[:, 0], atol=1e-4, rtol=1e-4)


def test_weights_of_rows_count_as_rows_that_occur_so_often() -> None:
    outputs = torch.randn(50, 2, 4, generator=torch.Generator().manual_seed(0)).double()
    weights = torch.tensor([1.0, 3.0]).repeat(25)
    weighted, repeated = Covariances(), Covariances()
    weighted.add(outputs, weights)
    every = outputs.repeat_interleave(weights.long(), 0)
    repeated.add(every, torch.ones(len(every)))
    torch.testing.assert_close(weighted.covariance(), repeated.covariance())


def test_row_losses_of_regressions_are_in_units_of_their_scale() -> None:
    spec = load(
        {
            "homespec": 1,
            "name": "regression",
            "features": {"x": {"dense": 3}},
            "groups": {"one": ["watch", "stay"], "two": ["like", "buy"]},
            "tasks": {
                "watch": {"label": "w", "kind": "regression", "loss": "huber", "scale": 60.0},
                "stay": {"label": "s", "kind": "regression", "loss": "squared"},
                "like": {"label": "l"},
                "buy": {"label": "b", "where": "like"},
            },
        }
    )
    from doctor_models import plain

    trunk, random = plain(spec), torch.Generator().manual_seed(0)
    features = {"x": torch.randn(30, 3, generator=random, dtype=torch.float64)}
    labels = {
        "watch": 100 * torch.rand(30, generator=random),
        "stay": torch.rand(30, generator=random),
        "like": torch.ones(30).index_fill(0, torch.arange(10), 0),
        "buy": torch.ones(30).index_fill(0, torch.arange(0, 30, 2), 0),
    }
    with torch.no_grad():
        logits = trunk.model(features, stacked=True)
        expected = trunk.code.stacked_losses(logits, labels)
        of_rows = RowLosses(trunk.code)
        found = of_rows(logits, of_rows.labels(labels, {}))
    assert int(found[3].isnan().sum()) == 10
    torch.testing.assert_close(found.nanmean(1), expected)

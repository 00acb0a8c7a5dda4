"""The doctor: losses of a sample when a gate may not use an expert, and similar changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from homespec.activations.observers import Observer
from homespec.activations.similarity import Covariances
from homespec.activations.walk import Trunk
from homespec.doctor.edits import (
    Change,
    Constant,
    ConstantExpert,
    Replaced,
    Shuffled,
    Without,
    WithoutLora,
    reached,
)
from homespec.doctor.row_losses import RowLosses
from homespec.doctor.sample import Differences, Sample
from homespec.graph.nodes import ExpertSet, FeatureGate, Gate
from homespec.health.measures import Effect, Kind, Knockout
from homespec.health.thresholds import Thresholds

CHUNK = 4096
"""Rows in a batch."""

Progress = Callable[[str, int], Callable[[int], None]]
"""Takes a description and a number of steps, and returns a function to call with the steps done."""


def silent(_what: str, _steps: int) -> Callable[[int], None]:
    """Report no progress."""
    return lambda _further: None


@dataclass(frozen=True)
class Trial:
    """A change of the model, with the names under which it is reported."""

    change: Change
    kind: Kind
    target: str
    by: str = ""


def covariances(trunk: Trunk, sample: Sample) -> dict[str, Covariances]:
    """The covariances of the outputs of each set of several experts."""
    found: dict[str, Covariances] = {}
    weights = sample.weights
    several = [node for node in trunk.graph.of(ExpertSet) if node.count > 1]
    for chunk in sample.chunks(CHUNK) if several else ():
        values = trunk(chunk.x_BV)
        for node in several:
            of_rows = weights[chunk.strata_B]
            found.setdefault(node.name, Covariances()).add(values[node.name], of_rows)
    return found


def trials(
    trunk: Trunk, seen: Observer, similar: dict[str, Covariances], limits: Thresholds
) -> Iterator[Trial]:
    """All changes to try."""
    for node in trunk.graph.of(ExpertSet):
        yield from _of_set(node)
    yield from _of_quiet_experts(trunk, seen, limits)
    for gate in trunk.graph.of(Gate):
        if gate.choices > 1 and not gate.is_static:
            mean = seen.weights[gate.name].moments.mean
            yield Trial(Constant(gate.name, mean), "constant_gate", gate.name)
    for feature_gate in trunk.graph.of(FeatureGate):
        yield from _of_feature_gate(feature_gate, seen, limits)
    for name, covariance in similar.items():
        yield from _of_copies(name, covariance, limits)


def _of_set(node: ExpertSet) -> Iterator[Trial]:
    alone = [Without({node.name: (index,)}) for index in range(node.count)]
    for index, change in enumerate(alone):
        yield Trial(change, "without_expert", f"{node.name}.{index}")
    every = alone[0] if node.count == 1 else Without({node.name: tuple(range(node.count))})
    yield Trial(every, "without_set", node.name)
    yield Trial(Shuffled(node.name), "shuffled_set", node.name)


def _of_quiet_experts(trunk: Trunk, seen: Observer, limits: Thresholds) -> Iterator[Trial]:
    """Hold each expert that may have collapsed at its mean.

    Removing such an expert would also raise the weights of the others, which changes the mixture
    even if the expert carries no information.
    """
    for node in trunk.graph.of(ExpertSet):
        sums, layer = seen.experts[node.name], seen.experts_of_layer(node.layer)
        largest = max(float(each.sizes.value.max()) for each in layer)
        near, sizes = sums.near_zeros.value.tolist(), sums.sizes.value.tolist()
        for index in range(node.count):
            if near[index] > limits.zeros or sizes[index] * limits.scale_ratio < largest:
                change = ConstantExpert(node.name, index, sums.moments.mean[index])
                yield Trial(change, "constant_expert", f"{node.name}.{index}")


def _of_feature_gate(node: FeatureGate, seen: Observer, limits: Thresholds) -> Iterator[Trial]:
    sums = seen.feature_gates[node.name]
    mean = sums.moments.mean
    yield Trial(Constant(node.name, mean), "constant_feature_gate", node.name)
    effects = (sums.effects.value * sums.weights.value).tolist()
    for index, effect in enumerate(effects):
        if effect < limits.lora_effect:
            target = f"{node.name}.loras.{index}"
            yield Trial(WithoutLora(node.name, index), "without_lora", target)


def _of_copies(name: str, covariance: Covariances, limits: Thresholds) -> Iterator[Trial]:
    for index, sibling in enumerate(covariance.siblings()):
        if sibling is not None and sibling.similarity >= limits.similarity:
            change = Replaced(
                name, index, sibling.position, *covariance.fit(index, sibling.position)
            )
            target, by = f"{name}.{index}", f"{name}.{sibling.position}"
            yield Trial(change, "replaced_expert", target, by)


def measure(
    trunk: Trunk, sample: Sample, tried: Iterable[Trial], progress: Progress = silent
) -> list[Knockout]:
    """The effects of changes on the losses of the tasks that they reach.

    A change that several trials share, such as leaving out the only expert of a set, is made once.
    """
    tried, losses = list(tried), RowLosses(trunk.code)
    changes = {id(trial.change): trial.change for trial in tried}
    sums = {key: Differences(len(trunk.tasks)) for key in changes}
    advance = progress("knock-outs", sample.rows * len(changes))
    for chunk in sample.chunks(CHUNK):
        base = trunk(chunk.x_BV)
        labels_TB = chunk.labels_TB.to(chunk.x_BV.device)
        before_TB = losses(trunk.logits(base), labels_TB)
        for key, change in changes.items():
            changed = trunk(chunk.x_BV, base, change)
            after_TB = losses(trunk.logits(changed), labels_TB)
            sums[key].add(after_TB - before_TB, chunk.strata_B)
            advance(len(chunk.strata_B))
    return [
        Knockout(
            t.kind, t.target, t.by, tuple(_effects(trunk, t.change, sums[id(t.change)], sample))
        )
        for t in tried
    ]


def _effects(trunk: Trunk, change: Change, sums: Differences, sample: Sample) -> Iterator[Effect]:
    of_change = reached(trunk.graph, change)
    for number, task in enumerate(trunk.tasks):
        if task in of_change:
            found = sums.interval(number, sample)
            yield Effect(task, found.mean, found.low, found.high)

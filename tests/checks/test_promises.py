"""Promises of a spec: what the graph says of them is what autograd says, on random specs.

The model is the reference, which knows nothing of homespec's graph. An expert is read by a task
exactly if the task's loss has a gradient that is not 0 by one of its weights, for one of several
random weights and batches: with one, all ReLUs on the way may be off.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterable
from typing import Any

import pytest
import torch
import yaml
from hierarchies import Spec, random_features, random_labels, random_spec, randomise
from parity import build
from reference import Reference, columns_in
from reference_plan import Tree
from topologies import random_family, random_topology

import homespec
from homespec.diagnostics import Diagnostic, Severity

torch.set_num_threads(1)

DRAWS = 6
SPECS = [draw(seed) for seed in range(12) for draw in (random_spec, random_family, random_topology)]


class Cut(Reference):
    """The reference in which states of some nodes pass on no gradient."""

    def __init__(self, spec: Spec, nodes: Iterable[str]) -> None:
        super().__init__(spec)
        self.nodes = set(nodes)

    def trunk(self, v: torch.Tensor) -> dict[str, torch.Tensor]:
        states = {n: [v[:, columns_in(found)]] for n, found in self.columns.items()}
        for layer in self.layers:
            states = layer(states, v)
            for node in self.nodes & states.keys():
                states[node] = [state.detach() for state in states[node]]
        read = {task: states[self.read[task]][0] for task in self.towers}
        return {task: tower(read[task])[:, 0] for task, tower in self.towers.items()}


def attached(options: Any) -> Any:
    """The spec without cut gradients: what a gate reads without gradients it still reads."""
    if isinstance(options, dict):
        kept = {key: attached(value) for key, value in options.items() if key != "detach"}
        return {**kept, "sees": "all"} if kept.get("sees") == "forward" else kept
    return [attached(each) for each in options] if isinstance(options, list) else options


@functools.cache
def read_by(number: int, nodes: frozenset[str] = frozenset()) -> dict[str, set[str]]:
    """By task the nodes whose experts its loss has a gradient by, as autograd finds them."""
    spec = attached(SPECS[number])
    model = Cut(spec, nodes)
    parameters = {n: t for n, t in model.logical_state().items() if n.startswith("experts.")}
    parameters = {n: t for n, t in parameters.items() if t.requires_grad}
    found: dict[str, set[str]] = {task: set() for task in spec["tasks"]}
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)
        model.load_logical_state(randomise(model.logical_state(), generator))
        logits = model(random_features(spec, 16, generator))
        for task, loss in model.losses(logits, random_labels(spec, 16, generator)).items():
            if not loss.requires_grad:
                continue
            gradients = torch.autograd.grad(
                loss, list(parameters.values()), retain_graph=True, allow_unused=True
            )
            for name, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None and gradient.abs().max() > 0:
                    found[task].add(name.split(".")[2])
    return found


def errors(spec: Spec, **expect: Any) -> list[Diagnostic]:
    """What is wrong with the promises of a spec that is sound without."""
    text = yaml.safe_dump({**spec, "expect": expect}, sort_keys=False)
    try:
        homespec.loads(text)
    except homespec.SpecError as error:
        return [d for d in error.report.diagnostics if d.rule.severity is Severity.ERROR]
    return []


def tasks_of(tree: Tree, node: str, spec: Spec) -> list[str]:
    return [name for name in [node, *tree.below(node)] if name in spec["tasks"]]


def pairs(spec: Spec, seed: int) -> list[tuple[str, str]]:
    """Some pairs of tasks and groups of which neither is in the other."""
    tree = Tree(spec)
    nodes = [node for node in tree.nodes if node != "shared"]
    beside = [
        (a, b)
        for a, b in itertools.combinations(nodes, 2)
        if a not in tree.path(b) and b not in tree.path(a)
    ]
    return random.Random(seed).sample(beside, min(4, len(beside)))


@pytest.mark.parametrize("number", range(len(SPECS)))
@pytest.mark.parametrize("cut", [[], ["shared"], "group"])
def test_isolation_is_what_autograd_finds(number: int, cut: Any) -> None:
    spec = SPECS[number]
    if cut == "group":
        cut = [*list(spec.get("groups", {}))[:2], "shared"]
    gradients, tree = read_by(number, frozenset(cut)), Tree(spec)
    more = {"except_through": cut} if cut else {}
    for a, b in pairs(spec, number):
        found = {
            (owner, reader)
            for owner, reader in ((a, b), (b, a))
            if any(
                gradients[task] & {owner, *tree.below(owner)}
                for task in tasks_of(tree, reader, spec)
            )
        }
        said = errors(spec, isolated=[[a, b]], **more)
        assert {d.rule.code for d in said} <= {"HS312"}
        assert len(said) == len(found), (a, b, found, [d.message for d in said])


@pytest.mark.parametrize("number", range(len(SPECS)))
@pytest.mark.parametrize("cut", [[], ["shared"]])
def test_what_a_task_reads_is_what_autograd_finds(number: int, cut: list[str]) -> None:
    spec = SPECS[number]
    gradients = read_by(number, frozenset(cut))
    more = {"except_through": cut} if cut else {}
    for task in spec["tasks"]:
        owners = sorted(gradients[task] - {"shared", task})
        assert errors(spec, reads={task: owners}, **more) == []
        for owner in owners:
            others = [name for name in owners if name != owner]
            (said,) = errors(spec, reads={task: others}, **more)
            assert said.rule.code == "HS313"
            assert said.label == f"does not list `{owner}`"


@pytest.mark.parametrize("number", range(len(SPECS)))
def test_what_a_group_reads_is_what_autograd_finds(number: int) -> None:
    """All its tasks together; experts of what is in it are its own."""
    spec, tree = SPECS[number], Tree(SPECS[number])
    for group in spec.get("groups", {}):
        inside = {group, *tree.below(group)}
        read = set().union(*(read_by(number)[task] for task in tasks_of(tree, group, spec)))
        owners = sorted(read - inside - {"shared"})
        assert errors(spec, reads={group: owners}) == []
        for owner in owners:
            others = [name for name in owners if name != owner]
            (said,) = errors(spec, reads={group: others})
            assert said.label == f"does not list `{owner}`"


def test_both_verdicts_are_drawn() -> None:
    """The proof would be idle if all pairs were isolated, or none."""
    verdicts = [
        bool(errors(SPECS[number], isolated=[[a, b]]))
        for number in range(len(SPECS))
        for a, b in pairs(SPECS[number], number)
    ]
    assert 0.1 < sum(verdicts) / len(verdicts) < 0.9


@pytest.mark.parametrize("number", range(0, len(SPECS), 9))
def test_the_generated_code_agrees(number: int) -> None:
    """The same gradients in the code that homespec writes, without its optimisations."""
    spec = SPECS[number]
    model, module = build(homespec.loads(yaml.safe_dump(spec, sort_keys=False)), "plain")
    names = list(model.parameters())
    found: dict[str, set[str]] = {task: set() for task in spec["tasks"]}
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)
        weights = randomise(Reference(spec).logical_state(), generator)
        for task in found:
            module.load_logical_state(model, weights)
            features = random_features(spec, 16, torch.Generator().manual_seed(draw))
            labels = random_labels(spec, 16, torch.Generator().manual_seed(draw))
            loss = module.losses(model(features), labels)[task]
            gradients = torch.autograd.grad(loss, names, allow_unused=True)
            with torch.no_grad():
                for parameter, gradient in zip(names, gradients, strict=True):
                    parameter.copy_(torch.zeros_like(parameter) if gradient is None else gradient)
            state = module.logical_state(model)
            found[task] |= {
                name.split(".")[2]
                for name, tensor in state.items()
                if name.startswith("experts.") and "running" not in name and tensor.abs().max() > 0
            }
    assert found == read_by(number)

"""The families as their papers define them, each on its own: naive, float64, without homespec.

Written from HOME.md section 7 alone: Shared-Bottom; MoE with one gate; MMoE (Ma et al. 2018);
ML-MMoE; CGC and PLE (Tang et al. 2020). One module for each expert, python loops. `draw(family,
rng)` makes a random case, `spec_of(case)` says it in homespec's language, `MODELS[family](case)` is
the model. The only thing taken over are the logical names under which weights are compared.

MMoE and PLE may have groups. A group's experts then serve the tasks below it, as the shared ones
serve all: a gate mixes what stands above its node, at it, and below it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Level:
    """The experts of one layer: how many by role, their hidden widths and their width."""

    shared: int
    group: int
    task: int
    hidden: list[int]
    width: int

    def experts(self, tasks_own: bool, grouped: bool) -> dict[str, Any]:
        counts = {"shared": self.shared, "hidden": self.hidden, "width": self.width}
        counts |= {"group": self.group} if grouped else {}
        return counts | ({"task": self.task} if tasks_own else {})


@dataclass
class Case:
    """Sizes of a model. `groups` hold tasks, or one group that holds tasks."""

    family: str
    inputs: int
    groups: dict[str, list[str]]
    tasks: list[str]
    levels: list[Level]
    tower: list[int]

    def above(self, node: str) -> list[str]:
        """The groups around a task or group, outermost first."""
        around = [group for group, members in self.groups.items() if node in members]
        return [*self.above(around[0]), *around] if around else []

    def below(self, group: str) -> list[str]:
        """Groups and tasks in a group, each group before its members."""
        return [n for member in self.groups.get(group, []) for n in [member, *self.below(member)]]

    @property
    def nodes(self) -> list[str]:
        """All groups and tasks, each group before its members."""
        tops = [n for n in [*self.groups, *self.tasks] if not self.above(n)]
        return [n for top in tops for n in [top, *self.below(top)]]


def draw(family: str, rng: random.Random) -> Case:
    tasks = rng.sample(["click", "like", "follow", "share", "stay"], rng.randint(1, 4))
    groups: dict[str, list[str]] = {}
    if family in ("mmoe", "ple") and rng.random() < 0.5:
        cut = rng.randint(1, len(tasks))
        groups = {"active": tasks[:cut]} | ({"passive": tasks[cut:]} if tasks[cut:] else {})
        if rng.random() < 0.4:  # a group in a group
            groups = {"all": ["active", *groups.get("passive", [])], "active": groups["active"]}
    depth = rng.randint(1, 4) if family in ("ple", "ml_mmoe") else 1
    levels = []
    for _ in range(depth):
        hidden = [rng.randint(3, 6) for _ in range(rng.randint(0, 2))]
        counts = [rng.randint(1, 4), rng.randint(1, 2), rng.randint(1, 3)]
        levels.append(Level(*counts, hidden, rng.randint(3, 6)))
    if family == "shared_bottom":
        levels[0].shared = 1
    tower = [rng.randint(3, 5) for _ in range(rng.randint(0, 2))]
    return Case(family, rng.randint(2, 6), groups, tasks, levels, tower)


def spec_of(case: Case) -> dict[str, Any]:
    tasks_own = case.family in ("cgc", "ple")
    layers = [level.experts(tasks_own, bool(case.groups)) for level in case.levels]
    spec: dict[str, Any] = {
        "homespec": 1,
        "name": "published",
        "family": case.family,
        "features": {"x": {"dense": case.inputs}},
        "tasks": {task: {} for task in case.tasks},
        "experts": {"task": layers[-1]},
        "towers": {"hidden": case.tower},
    }
    if case.family in ("ple", "ml_mmoe"):
        spec["layers"] = len(layers)
    if layers[:-1]:
        spec["experts"]["meta"] = layers[:-1]
    if case.groups:
        spec["groups"] = case.groups
    return spec


# ---------------------------------------------------------------- parts


class Expert(nn.Module):
    """Linear and ReLU, layer after layer, the last one included."""

    def __init__(self, n: int, widths: list[int]) -> None:
        super().__init__()
        self.linears = nn.ModuleList()
        for width in widths:
            self.linears.append(nn.Linear(n, width))
            n = width

    def forward(self, x: Tensor) -> Tensor:
        for linear in self.linears:
            x = torch.relu(linear(x))
        return x


class Tower(Expert):
    """Linear and ReLU, the last layer bare: a logit."""

    def forward(self, x: Tensor) -> Tensor:
        for linear in self.linears[:-1]:
            x = torch.relu(linear(x))
        return self.linears[-1](x)[:, 0]


class Gate(nn.Module):
    """softmax(W x + b), one weight for each expert; over a single expert the weight is 1."""

    def __init__(self, n: int, experts: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(n, experts)] if experts > 1 else [])

    def forward(self, x: Tensor, experts: list[Tensor]) -> Tensor:
        total = torch.zeros_like(experts[0])
        weights = torch.softmax(self.linears[0](x), 1) if self.linears else torch.ones(len(x), 1)
        for k, expert in enumerate(experts):
            total = total + weights[:, k : k + 1] * expert
        return total


class Model(nn.Module):
    """What all families share: v, the towers, the loss, and the table of logical names."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.parts: dict[str, nn.Module] = {}
        self.build()
        for task in case.tasks:
            self.part(f"towers.{task}", Tower(case.levels[-1].width, [*case.tower, 1]))
        self.double()

    def build(self) -> None:
        """Make the experts and gates."""
        raise NotImplementedError

    def states(self, v: Tensor) -> dict[str, Tensor]:
        """What the tower of each task reads."""
        raise NotImplementedError

    def part(self, name: str, module: nn.Module) -> nn.Module:
        self.parts[name] = module
        self.add_module(name.replace(".", "/"), module)
        return module

    def experts(self, layer: str, node: str, count: int, n: int, level: Level) -> list[nn.Module]:
        names = [f"experts.{layer}.{node}.{k}" for k in range(count)]
        return [self.part(name, Expert(n, [*level.hidden, level.width])) for name in names]

    def v(self, features: dict[str, Tensor]) -> Tensor:
        return torch.where(torch.isnan(features["x"]), 0.0, features["x"])

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        states = self.states(self.v(features))
        return {task: self.parts[f"towers.{task}"](states[task]) for task in self.case.tasks}

    def losses(self, logits: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy, averaged over the samples whose label is known (HOME.md section 6)."""
        found = {}
        for task, y in labels.items():
            known = ~torch.isnan(y)
            p = torch.sigmoid(logits[task][known])
            entropy = -(y[known] * torch.log(p) + (1 - y[known]) * torch.log(1 - p))
            found[task] = entropy.sum() / max(1, int(known.sum()))
        return found

    def loss(self, logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        return torch.stack(list(self.losses(logits, labels).values())).sum()

    def logical_state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": parameter
            for name, part in self.parts.items()
            for key, parameter in part.named_parameters()
        }

    @torch.no_grad()
    def load_logical_state(self, state: dict[str, Tensor]) -> None:
        for name, parameter in self.logical_state().items():
            parameter.copy_(state[name])


# ---------------------------------------------------------------- the families


class SharedBottom(Model):
    """y_t = tower_t(f(v))."""

    def build(self) -> None:
        (level,) = self.case.levels
        (self.bottom,) = self.experts("task", "shared", 1, self.case.inputs, level)

    def states(self, v: Tensor) -> dict[str, Tensor]:
        return dict.fromkeys(self.case.tasks, self.bottom(v))


class MoE(Model):
    """y_t = tower_t(sum_k g(v)_k f_k(v)): one gate for all tasks."""

    def build(self) -> None:
        (level,) = self.case.levels
        self.bottom = self.experts("task", "shared", level.shared, self.case.inputs, level)
        self.gate = self.part("gates.task.shared", Gate(self.case.inputs, level.shared))

    def states(self, v: Tensor) -> dict[str, Tensor]:
        mixed = self.gate(v, [expert(v) for expert in self.bottom])
        return dict.fromkeys(self.case.tasks, mixed)


class MMoE(Model):
    """y_t = tower_t(sum_k g_t(v)_k f_k(v)): a gate for each task."""

    def build(self) -> None:
        case, (level,) = self.case, self.case.levels
        self.bottom = {"shared": self.experts("task", "shared", level.shared, case.inputs, level)}
        for group in case.groups:
            self.bottom[group] = self.experts("task", group, level.group, case.inputs, level)
        self.gates = {}
        for task in case.tasks:
            choices = level.shared + level.group * len(case.above(task))
            self.gates[task] = self.part(f"gates.task.{task}", Gate(case.inputs, choices))

    def states(self, v: Tensor) -> dict[str, Tensor]:
        found = {}
        for task in self.case.tasks:
            serving = ["shared", *self.case.above(task)]
            experts = [expert(v) for node in serving for expert in self.bottom[node]]
            found[task] = self.gates[task](v, experts)
        return found


class MLMMoE(Model):
    """Stacked MMoE: below the last layer a gate for each expert of the next one; gates read v."""

    def build(self) -> None:
        case, levels = self.case, self.case.levels
        n = case.inputs
        self.stack: list[tuple[list[nn.Module], list[nn.Module]]] = []
        for k, level in enumerate(levels):
            last = k == len(levels) - 1
            layer = "task" if last else "meta" if k == 0 else f"meta{k + 1}"
            experts = self.experts(layer, "shared", level.shared, n, level)
            names = case.tasks if last else [f"shared.{e}" for e in range(levels[k + 1].shared)]
            makes = [Gate(case.inputs, level.shared) for _ in names]
            gates = [
                self.part(f"gates.{layer}.{name}", gate)
                for name, gate in zip(names, makes, strict=True)
            ]
            self.stack.append((experts, gates))
            n = level.width

    def states(self, v: Tensor) -> dict[str, Tensor]:
        reads = [v] * len(self.stack[0][0])
        for experts, gates in self.stack:
            values = [expert(x) for expert, x in zip(experts, reads, strict=True)]
            reads = [gate(v, values) for gate in gates]
        return dict(zip(self.case.tasks, reads, strict=True))


class CGC(Model):
    """Gate of task t: softmax(W_t v) over the shared experts and the task's own."""

    def build(self) -> None:
        case, (level,) = self.case, self.case.levels
        self.shared = self.experts("task", "shared", level.shared, case.inputs, level)
        self.own = {t: self.experts("task", t, level.task, case.inputs, level) for t in case.tasks}
        self.gates = {
            t: self.part(f"gates.task.{t}", Gate(case.inputs, level.shared + level.task))
            for t in case.tasks
        }

    def states(self, v: Tensor) -> dict[str, Tensor]:
        shared = [expert(v) for expert in self.shared]
        return {
            task: self.gates[task](v, shared + [expert(v) for expert in own])
            for task, own in self.own.items()
        }


class PLE(Model):
    """Levels of CGC. u_t reads its own state and mixes {shared, own}; u_s mixes all experts.

    In the last level only tasks have gates: a shared one would be dead.
    """

    def build(self) -> None:
        case, n = self.case, self.case.inputs
        self.stack: list[tuple[dict[str, list[nn.Module]], dict[str, nn.Module]]] = []
        for k, level in enumerate(case.levels):
            last = k == len(case.levels) - 1
            layer = "task" if last else "meta" if k == 0 else f"meta{k + 1}"
            counts = {"shared": level.shared}
            for node in case.nodes:
                counts[node] = level.task if node in case.tasks else level.group
            experts = {m: self.experts(layer, m, count, n, level) for m, count in counts.items()}
            gates = {}
            for node in case.tasks if last else counts:
                choices = sum(counts[m] for m in self.mixed(node))
                gates[node] = self.part(f"gates.{layer}.{node}", Gate(n, choices))
            self.stack.append((experts, gates))
            n = level.width

    def mixed(self, node: str) -> list[str]:
        """The nodes whose experts a gate mixes."""
        if node == "shared":
            return ["shared", *self.case.nodes]
        return ["shared", *self.case.above(node), node, *self.case.below(node)]

    def states(self, v: Tensor) -> dict[str, Tensor]:
        u = dict.fromkeys(["shared", *self.case.nodes], v)
        for experts, gates in self.stack:
            e = {node: [expert(u[node]) for expert in own] for node, own in experts.items()}
            seen = {n: [x for m in self.mixed(n) for x in e[m]] for n in gates}
            u = {n: gate(u[n], seen[n]) for n, gate in gates.items()}
        return u


MODELS: dict[str, type[Model]] = {
    "shared_bottom": SharedBottom,
    "moe": MoE,
    "mmoe": MMoE,
    "ml_mmoe": MLMMoE,
    "cgc": CGC,
    "ple": PLE,
}

"""Oracle, second half: the law written from HOME.md; one module per expert, python loops, float64.

Deliberately naive, and without homespec: `Reference(spec)` takes the plain dict of a spec (language
v1). Sections are those of HOME.md.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from reference_crosses import Crossed
from reference_lists import Pooled
from reference_plan import SHARED, TOWERS, Plan, Tree, places, plans
from reference_reading import Reading, Slices
from reference_sequences import Sequence
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

ACTIVATIONS = {
    "relu": torch.relu,
    "swish": lambda u: u * torch.sigmoid(u),
    "gelu": lambda u: u * (1 + torch.erf(u / math.sqrt(2))) / 2,
    "tanh": lambda u: (torch.exp(u) - torch.exp(-u)) / (torch.exp(u) + torch.exp(-u)),
    "leaky_relu": lambda u: torch.relu(u) - 0.01 * torch.relu(-u),
    "none": lambda u: u,
}


class PReLU(nn.Module):
    """u above 0, a u below, with a learned from 0.25 on (section 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, u: Tensor) -> Tensor:
        return torch.relu(u) - self.weight * torch.relu(-u)


class BatchNorm(nn.Module):
    """Per channel over the batch (section 2).

    Normalises by the biased variance; the running average takes the unbiased one.
    """

    def __init__(self, width: int, eps: float, momentum: float, affine: bool) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, s: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training:
            batch = len(s)
            mean = s.sum(0) / batch
            var = ((s - mean) ** 2).sum(0) / batch
            with torch.no_grad():
                unbiased = var * batch / (batch - 1)
                self.running_mean += self.momentum * (mean - self.running_mean)
                self.running_var += self.momentum * (unbiased - self.running_var)
        normal = (s - mean) / torch.sqrt(var + self.eps)
        return normal if self.weight is None else self.weight * normal + self.bias


class LayerNorm(nn.Module):
    """Per sample over the channels, affine."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, s: Tensor) -> Tensor:
        centred = s - s.mean(1, keepdim=True)
        var = (centred**2).mean(1, keepdim=True)
        return self.weight * centred / torch.sqrt(var + self.eps) + self.bias


class Dice(BatchNorm):
    """f(s) = p s + (1 - p) alpha s, p = sigmoid(BN(s)) without affine, alpha from 0 (section 8)."""

    def __init__(self, width: int, eps: float, momentum: float) -> None:
        super().__init__(width, eps, momentum, affine=False)
        self.alpha = nn.Parameter(torch.zeros(width))

    def forward(self, s: Tensor) -> Tensor:
        p = torch.sigmoid(super().forward(s))
        return p * s + (1 - p) * self.alpha * s


def norm_of(options: dict[str, Any], width: int) -> nn.Module:
    """The norm of an expert or of a tower's hidden layer."""
    eps = options["norm_eps"]
    if options["norm"] == "batch":
        return BatchNorm(width, eps, options["norm_momentum"], affine=True)
    return LayerNorm(width, eps) if options["norm"] == "layer" else nn.Identity()


class Dropout(nn.Module):
    """In training each number is 0 with probability p, else over 1 - p; `masks` says which."""

    def __init__(self, p: float, place: str = "") -> None:
        super().__init__()
        self.p, self.place = p, place
        self.masks: Any = None

    def forward(self, x: Tensor) -> Tensor:
        return self.masks(self.place, x, self.p) if self.training and self.p else x


class Mlp(nn.Module):
    """Hidden Linears with an activation, the last one bare."""

    def __init__(
        self,
        n: int,
        hidden: list[int],
        out: int,
        activation: str,
        last_bias: bool = True,
        norm: dict[str, Any] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.dropouts = [Dropout(dropout, f"hidden.{i}") for i in range(len(hidden))]
        self.registered = nn.ModuleList(self.dropouts)  # which has no weights
        normed = norm is not None and norm["norm"] != "none"
        self.activation = ACTIVATIONS.get(activation)
        self.linears, self.hidden = nn.ModuleList(), nn.ModuleList()
        if activation == "prelu" or normed:
            self.hidden.extend(nn.ModuleDict() for _ in hidden)
        for i, width in enumerate(hidden):
            biased = not normed or norm["norm"] != "batch"
            self.linears.append(nn.Linear(n, width, bias=biased))
            n = width
            if normed:
                self.hidden[i]["norm"] = norm_of(norm, width)
            if activation == "prelu":
                self.hidden[i]["act"] = PReLU()
        self.linears.append(nn.Linear(n, out, bias=last_bias))

    def forward(self, x: Tensor) -> Tensor:
        for i, linear in enumerate(self.linears[:-1]):
            x = linear(x)
            if len(self.hidden) and "norm" in self.hidden[i]:
                x = self.hidden[i]["norm"](x)
            activation = self.activation or self.hidden[i]["act"]
            x = self.dropouts[i](activation(x))
        return self.linears[-1](x)


class Expert(nn.Module):
    """activation(norm(MLP_E(x))), [B, n] -> [B, D] (section 2)."""

    def __init__(self, n: int, options: dict[str, Any]) -> None:
        super().__init__()
        width, eps, momentum = options["width"], options["norm_eps"], options["norm_momentum"]
        last_bias = options["norm"] != "batch"  # BatchNorm would take it away again
        hidden, between = options["hidden"], options["hidden_activation"]
        mlp = Mlp(n, hidden, width, between, last_bias, dropout=options["dropout"])
        self.linears, self.hidden, self.mlp = mlp.linears, mlp.hidden, mlp.forward
        self.dropouts = [*mlp.dropouts, Dropout(options["dropout"])]
        self.registered = nn.ModuleList(self.dropouts)
        self.norm = norm_of(options, width)
        if options["activation"] == "dice":
            self.dice = self.activation = Dice(width, eps, momentum)
        elif options["activation"] == "prelu":
            self.act = self.activation = PReLU()
        else:
            self.activation = ACTIVATIONS[options["activation"]]

    def forward(self, x: Tensor) -> Tensor:
        return self.dropouts[-1](self.activation(self.norm(self.mlp(x))))


class Lora(nn.Module):
    """x B A, B [read, r], A [r, n] zero at first, no bias (section 4).

    An MLP where it is `bent`: relu(x B + b) A + a (PEPNet).
    """

    def __init__(self, n: int, rank: int, read: int, bent: bool) -> None:
        super().__init__()
        self.bent = bent
        self.down = nn.Linear(read, rank, bias=bent)
        self.up = nn.Linear(rank, n, bias=bent)
        for parameter in self.up.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        low = self.down(x)
        return self.up(torch.relu(low) if self.bent else low)


class FeatureGate(nn.Module):
    """Fea_Gate(x) [B, n] -> [B, n], values in (0, 2) (section 4)."""

    def __init__(self, n: int, options: dict[str, Any], read: int = 0) -> None:
        super().__init__()
        count, rank, self.mix = options["loras"], options["rank"], options["mix"]
        if rank == "width/loras":
            rank = max(1, n // count)
        bent = options.get("activation", "none") == "relu"
        self.loras = nn.ModuleList(Lora(n, rank, read or n, bent) for _ in range(count))
        self.router = nn.Linear(read or n, count) if count > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """The values of the gate by what it reads."""
        weights = torch.ones(len(x), 1, dtype=x.dtype)
        if self.router is not None:
            weights = torch.softmax(self.router(x), 1)
        logits = [lora(x) for lora in self.loras]
        if self.mix == "before_sigmoid":
            return 2 * torch.sigmoid(weighted_sum(weights, logits))
        return weighted_sum(weights, [2 * torch.sigmoid(logit) for logit in logits])


def gate(n: int, options: dict[str, Any], out: int) -> Mlp:
    """The logits of a mixture gate or of a self gate."""
    return Mlp(n, options["hidden"], out, options["hidden_activation"])


class Static(nn.Module):
    """Numbers that are parameters and the same in all rows, [out] -> [B, out]."""

    def __init__(self, name: str, out: int, start: float) -> None:
        super().__init__()
        self.name = name
        self.register_parameter(name, nn.Parameter(torch.full((out,), start)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([getattr(self, self.name)] * len(x))


def weighted_sum(g: Tensor, values: list[Tensor]) -> Tensor:
    """Sum(g, {e_j}) = sum_j g[:, j, None] * e_j (section 1)."""
    total = torch.zeros_like(values[0])
    for j, value in enumerate(values):
        total = total + g[:, j, None] * value
    return total


class Layer(nn.Module):
    """One layer, {node: states, each [B, n]} -> {node: states, each [B, D]} (sections 3 to 5, 7).

    A node has one state, or one for each expert that reads its own (ML-MMoE). `widths` are those of
    a node's states put together, `counts` how many there are, `v` the features that nodes read.
    """

    def __init__(
        self, plan: Plan, widths: dict[str, int], counts: dict[str, int], v: dict[str, Columns]
    ) -> None:
        super().__init__()
        self.plan, self.v = plan, v
        self.mixture, self.feature, self.self_gate = map(plan.gate, ("mixture", "feature", "self"))
        self.parts: dict[str, nn.Module] = {}  # by logical name
        self.counts = {node: plan.several.get(node, 1) for node in plan.outputs}
        self.widths: dict[str, int] = {}  # of the states that the layer outputs
        self.widths_read = widths
        for node in plan.sets:
            source = plan.source(node)
            self.add_set(node, widths[source] // counts[source], widths[source])
        for node in plan.outputs:
            visible = [plan.expert(m) for m in plan.visible(node)]
            self.widths[node] = visible[0]["width"] * self.counts[node]
            experts = sum(options["count"] for options in visible)
            if experts > 1:  # a choice of one needs no gate
                for place in self.places(node):
                    mixer: nn.Module = Static("bias", experts, 0.0)
                    if self.mixture["input"] != "none":
                        mixer = gate(self.width_of(self.mixture, node, 0), self.mixture, experts)
                    self.parts[self.name("gates", place)] = mixer
        self.registered = nn.ModuleList(self.parts.values())

    def features_of(self, node: str, word: str) -> Columns:
        """The features that the gate of a node reads: of its path, or of the nearest v."""
        near = [m for m in reversed(self.plan.tree.path(node)) if m in self.v]
        read: Columns = {}
        for m in near if word == "path" else near[:1]:
            read = {**read, **{key: at for key, at in self.v[m].items() if key not in read}}
        return read

    def name(self, kind: str, node: str) -> str:
        return f"{kind}.{self.plan.name}.{node}"

    def places(self, node: str) -> list[str]:
        """The names of a node's states: the node, or node.0, node.1, … for the next's experts."""
        several = self.plan.several.get(node)
        return [node] if several is None else [f"{node}.{k}" for k in range(several)]

    def feature_places(self, node: str) -> list[str]:
        """The names of the feature gates before a set: one for each state that it reads."""
        count = self.plan.expert(node)["count"]
        return [f"{node}.{k}" for k in range(count)] if self.plan.reads_each(node) else [node]

    def add_set(self, node: str, n: int, whole: int) -> None:
        """The experts of a node, reading [B, n]; its feature gates; its self gate, [B, whole]."""
        options, outputs = self.plan.expert(node), self.plan.outputs
        for k in range(options["count"]):
            self.parts[self.name("experts", node) + f".{k}"] = Expert(n, options)
        if self.feature:
            for place in self.feature_places(node):
                read = self.width_of(self.feature, node, n)
                gate_of_set = FeatureGate(n, self.feature, read)
                self.parts[self.name("feature_gates", place)] = gate_of_set
        if self.self_gate and (node in outputs or self.self_gate["sets"] == "all"):
            count = options["count"]
            own_gate: nn.Module = Static("weights", count, 1 / count)
            if self.self_gate["input"] != "none":
                own_gate = gate(self.width_of(self.self_gate, node, whole), self.self_gate, count)
            self.parts[self.name("self_gates", node)] = own_gate

    def forward(self, states: dict[str, list[Tensor]], v: Tensor) -> dict[str, list[Tensor]]:
        plan, outputs = self.plan, {}
        reads = {m: states[plan.source(m)] for m in plan.sets}
        gated = {m: self.feature_gated(m, x, states, v) for m, x in reads.items()}
        experts = {m: self.experts(m, x) for m, x in gated.items()}  # once per sample (section 3)
        taken = {m: self.self_gate_input(m, states, reads[m], gated[m], v) for m in plan.sets}
        for node in plan.outputs:
            visible = plan.visible(node)
            seen = {m: self.seen_by(node, m, experts[m]) for m in visible}
            values = [e for m in visible for e in seen[m]]
            # Its own residual, and those of sets that are no outputs themselves.
            added = [
                self.residual(m, taken[m], seen[m])
                for m in visible
                if m == node or m not in plan.outputs
            ]
            read = self.gate_input(node, states, gated, v) if len(values) > 1 else v
            outputs[node] = []
            for place in self.places(node):
                mixed = weighted_sum(self.weights(place, read, len(values)), values)
                outputs[node].append(mixed + sum(added))
        return outputs

    def seen_by(self, node: str, owner: str, experts: list[Tensor]) -> list[Tensor]:
        """The experts of `owner` as a gate mixes them: `forward` without gradients off its path."""
        tree = self.plan.tree
        foreign = owner not in [*tree.path(node), *tree.below(node)]
        if self.mixture["sees"] == "forward" and foreign:
            return [e.detach() for e in experts]
        return experts

    def slices(self, node: str) -> Slices:
        """The columns of each feature that a node may read."""
        return {name: at for (name, _), at in self.features_of(node, "own").items()}

    def width_of(self, options: dict[str, Any], node: str, own: int) -> int:
        """The width of what a gate of a node reads; `own` is that of its own state."""

        def of_word(word: str) -> int:
            states = sum(self.widths_read[m] for m in self.plan.states_of(node, word))
            if options is self.mixture and options["gated"] and states:
                return states
            if word == "v" or (self.plan.index == 0 and word == "path"):
                return len(columns_in(self.features_of(node, word)))
            return own if own and word != "path" else states

        return Reading(options, self.slices(node)).width(of_word)

    def path(self, node: str, states: dict[str, list[Tensor]], v: Tensor) -> Tensor:
        """The states along a node's path, nearest first."""
        if self.plan.index == 0:
            return v[:, columns_in(self.features_of(node, "path"))]
        return torch.cat([x for m in self.plan.states_of(node, "path") for x in states[m]], 1)

    def feature_gated(
        self, node: str, reads: list[Tensor], states: dict[str, list[Tensor]], v: Tensor
    ) -> list[Tensor]:
        """The set's inputs x * Fea_Gate(x); x itself where feature gates are off (section 4)."""
        if not self.feature:
            return reads
        gates = [self.parts[self.name("feature_gates", p)] for p in self.feature_places(node)]
        reading = Reading(self.feature, self.slices(node))
        near, path = v[:, columns_in(self.features_of(node, "v"))], self.path(node, states, v)
        return [
            x * gate_of_set(reading(v, {"v": near, "path": path, "own": x}.__getitem__))
            for gate_of_set, x in zip(gates, reads, strict=True)
        ]

    def self_gate_input(
        self,
        node: str,
        states: dict[str, list[Tensor]],
        reads: list[Tensor],
        gated: list[Tensor],
        v: Tensor,
    ) -> Tensor:
        """What the self gate of a node reads."""
        if not self.self_gate or self.self_gate["input"] == "none":
            return v
        own = torch.cat(reads, 1)
        values = {"own": own, "ungated": own, "gated": torch.cat(gated, 1)}
        values["v"] = v[:, columns_in(self.features_of(node, "v"))]
        values["path"] = self.path(node, states, v)
        return Reading(self.self_gate, self.slices(node))(v, values.__getitem__)

    def experts(self, node: str, reads: list[Tensor]) -> list[Tensor]:
        """The outputs of a node's experts, each of which reads its own state or all the one."""
        count = self.plan.expert(node)["count"]
        own = reads if self.plan.reads_each(node) else reads * count
        assert len(own) == count
        return [self.parts[self.name("experts", node) + f".{k}"](x) for k, x in enumerate(own)]

    def residual(self, node: str, taken: Tensor, experts: list[Tensor]) -> Tensor:
        """Sum(SG(x), own experts), SG a sigmoid if there is one, else softmax (section 5).

        Static weights are taken as they are.
        """
        name = self.name("self_gates", node)
        if name not in self.parts:
            return torch.zeros_like(experts[0])
        logits = self.parts[name](taken)
        if self.self_gate["input"] == "none":
            return weighted_sum(logits, experts)
        weights = torch.sigmoid(logits) if len(experts) == 1 else torch.softmax(logits, 1)
        return weighted_sum(weights, experts)

    def gate_input(
        self,
        node: str,
        states: dict[str, list[Tensor]],
        gated: dict[str, list[Tensor]],
        v: Tensor,
    ) -> Tensor:
        """What the gate of a node reads: features, its states or their feature-gated copies, v."""

        def of_word(word: str) -> Tensor:
            found = self.plan.states_of(node, word)
            if not found or (self.plan.index == 0 and not self.mixture["gated"]):
                return v[:, columns_in(self.features_of(node, word))]
            taken: list[Tensor] = []
            for m in found:
                reader = self.plan.gated_by(node, m) if self.mixture["gated"] else None
                taken += states[m] if reader is None else gated[reader]
            return torch.cat(taken, 1)

        if self.mixture["input"] == "none":
            return v
        return Reading(self.mixture, self.slices(node))(v, of_word)

    def weights(self, place: str, x: Tensor, experts: int) -> Tensor:
        """G [B, experts]: softmax of a Linear (section 3), 1 where there is no choice."""
        if experts == 1:
            return torch.ones(len(x), 1).double()
        return torch.softmax(self.parts[self.name("gates", place)](x), 1)


# ---------------------------------------------------------------- features, raw -> v (section 1)


class Feature(nn.Module):
    """One feature; row 0 of a table is for a missing value."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        if "number" in spec:
            self.width, self.scale = 1, spec["number"].get("scale", "standard")
            if self.scale != "none":
                self.register_buffer("scaling", torch.full((2,), math.nan))
            return
        if "dense" in spec:
            self.width = spec.get("project", spec["dense"])
            if spec.get("missing") == "learned":
                self.missing = nn.Parameter(torch.zeros(spec["dense"]))
            if "project" in spec:
                self.projection = nn.Linear(spec["dense"], spec["project"])
            return
        if "id" in spec:
            rows = spec["id"].get("vocab") or spec["id"].get("buckets")
            if isinstance(rows, dict):
                rows = rows["max_size"]
                self.register_buffer("vocabulary", torch.full((3, rows), math.nan))
        else:
            rows = spec["bucketize"].get("quantiles") if self.fitted else len(spec["bucketize"]) + 1
        self.width = spec["dim"]
        self.weight = nn.Parameter(torch.randn(1 + rows, self.width))
        if self.fitted:
            self.register_buffer("boundaries", torch.full((rows - 1,), math.nan))

    @property
    def fitted(self) -> bool:
        """Whether the boundaries are not in the spec."""
        return isinstance(self.spec.get("bucketize"), dict)

    def row(self, value: float) -> int:
        if "bucketize" in self.spec:  # buckets are closed on the left: [b_i, b_i+1)
            cuts = self.boundaries.tolist() if self.fitted else self.spec["bucketize"]
            return 0 if math.isnan(value) else 1 + sum(b <= value for b in cuts)
        if "buckets" in self.spec["id"]:
            return 0 if value == -1 else 1 + value % self.spec["id"]["buckets"]
        if hasattr(self, "vocabulary"):
            words = {
                int(low) + int(high): int(row)
                for low, high, row in self.vocabulary.T.tolist()
                if not math.isnan(low)  # not fitted yet
            }
            return words.get(int(value), 0)
        return 1 + value if 0 <= value < self.spec["id"]["vocab"] else 0

    def vector(self, x: Tensor) -> Tensor:
        gone = bool(torch.isnan(x).all())
        x = torch.where(torch.isnan(x), 0.0, x)
        if gone and hasattr(self, "missing"):
            x = self.missing
        return self.projection(x) if hasattr(self, "projection") else x

    def number(self, x: float) -> float:
        if math.isnan(x):
            return 0.0
        if self.scale == "log":
            x = math.copysign(math.log(1 + abs(x)), x)
        offset, unit = (0.0, 1.0) if self.scale == "none" else self.scaling.tolist()
        return (x - offset) / unit

    def forward(self, values: Tensor) -> Tensor:
        if "number" in self.spec:
            return torch.tensor([[self.number(x)] for x in values.tolist()], dtype=torch.float64)
        if "dense" in self.spec:
            return torch.stack([self.vector(value) for value in values.double()])
        return torch.stack([self.weight[self.row(value)] for value in values.tolist()])


# ---------------------------------------------------------------- the model


class SideBySide(nn.Module):
    """Several tables of one feature: the same values looked up in each."""

    def __init__(self, parts: list[Any]) -> None:
        super().__init__()
        self.each = parts  # the model has their weights
        self.width = sum(part.width for part in parts)

    def forward(self, values: Any) -> Tensor:
        return torch.cat([part(values) for part in self.each], 1)


Columns = dict[tuple[str, str], list[int]]
"""The columns of each feature, by its name and place, among the look-ups of all features."""


def read_columns(
    tree: Tree, at: dict[str, list[str]], widths: dict[str, int]
) -> dict[str, Columns]:
    """What each node with a v of its own reads: every feature from the nearest place above it."""
    where: Columns = {}
    end = 0
    for name, found in at.items():
        for place in found:
            start, end = end, end + widths[name] // len(found)
            where[name, place] = list(range(start, end))
    nodes = [n for n in tree.nodes if n == SHARED or any(n in found for found in at.values())]
    read: dict[str, Columns] = {}
    for node in nodes:
        near = {n: [m for m in tree.path(node) if m in found] for n, found in at.items()}
        read[node] = {(n, found[-1]): where[n, found[-1]] for n, found in near.items() if found}
    return read


def columns_in(columns: Columns) -> list[int]:
    return [column for found in columns.values() for column in found]


class Reference(nn.Module):
    """The model for the plain dict of a spec: features -> logits by task."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        self.tasks = {task: options or {} for task, options in spec["tasks"].items()}
        given = spec["features"]
        owners = {
            name: Feature(f)
            for name, f in given.items()
            if not {"sequence", "table", "cross"} & f.keys()
        }
        tree = Tree(spec)
        at = {name: places(f, tree) for name, f in given.items()}
        self.tables = {  # by place, of features with several tables
            name: {place: Feature(given[name]) for place in found}
            for name, found in at.items()
            if len(found) > 1
        }
        fields = {
            name: owners[f.get("table", name)]
            for name, f in given.items()
            if not {"sequence", "cross"} & f.keys()
        }
        fields |= {n: Crossed(f, fields) for n, f in given.items() if "cross" in f}
        self.features = {
            name: fields.get(name) or Sequence(name, feature["sequence"], fields, Feature)
            for name, feature in given.items()
        }
        lists = {name: f["list"] for name, f in given.items() if "list" in f}
        self.features |= {n: Pooled(n, options, fields[n]) for n, options in lists.items()}
        self.features |= {
            n: SideBySide(
                [Pooled(n, lists[n], table) if n in lists else table for table in tables.values()]
            )
            for n, tables in self.tables.items()
        }
        self.columns = read_columns(tree, at, {n: f.width for n, f in self.features.items()})
        widths = {n: sum(map(len, found.values())) for n, found in self.columns.items()}
        counts = dict.fromkeys(widths, 1)
        self.layers: list[Layer] = []
        for plan in plans(spec):
            self.layers.append(Layer(plan, widths, counts, self.columns))
            widths, counts = self.layers[-1].widths, self.layers[-1].counts
        self.read = {task: tree.nearest(task, list(widths)) for task in self.tasks}
        self.towers = {task: self.tower(task, widths[self.read[task]]) for task in self.tasks}
        self.parts: dict[str, nn.Module] = {}  # by logical name
        own = {
            name: owners.get(name) or part
            for name, part in self.features.items()
            if "table" not in given[name] and name not in self.tables
        }
        self.parts |= {f"features.{name}": part for name, part in own.items()}
        for name, tables in self.tables.items():
            self.parts |= {f"features.{name}.{place}": part for place, part in tables.items()}
        for layer in self.layers:
            self.parts |= layer.parts
        self.parts |= {f"towers.{task}": part for task, part in self.towers.items()}
        self.registered = nn.ModuleList(self.parts.values())
        default = spec.get("feature_dropout", 0.0)
        self.of_features = nn.ModuleDict(
            {n: Dropout(f.get("dropout", default), f"features.{n}") for n, f in given.items()}
        )
        self.double()

    def take(self, masks: Any) -> None:
        """Drop what these masks say, by logical place, in training."""
        for dropout in self.of_features.values():
            dropout.masks = masks
        for name, part in self.parts.items():
            for dropout in getattr(part, "dropouts", ()):
                own = dropout.place.removeprefix(f"{name}.").removeprefix(name)
                dropout.place, dropout.masks = f"{name}.{own}".rstrip("."), masks

    def tower(self, task: str, n: int) -> Mlp:
        given = self.tasks[task]
        options = TOWERS | self.spec.get("towers", {}) | given.get("tower", {})
        activation, dropout = options["activation"], options["dropout"]
        tower = Mlp(n, options["hidden"], 1, activation, norm=options, dropout=dropout)
        if "rate" in given:  # starts out predicting the expected rate
            nn.init.constant_(tower.linears[-1].bias, math.log(given["rate"] / (1 - given["rate"])))
        return tower

    def v(self, features: dict[str, Tensor]) -> Tensor:
        """Raw features by feature name -> v [B, V], in the spec's order."""
        raw = {
            name: features[name] if isinstance(part, Feature) else features
            for name, part in self.features.items()
        }
        raw |= {n: features[n] for n in self.tables if "list" not in self.spec["features"][n]}
        parts = {name: part(raw[name]) for name, part in self.features.items()}
        return torch.cat([self.of_features[name](part) for name, part in parts.items()], 1)

    def trunk(self, v: Tensor) -> dict[str, Tensor]:
        """v [B, V], the look-ups of all features -> logits [B] by task."""
        states = {n: [v[:, columns_in(found)]] for n, found in self.columns.items()}
        for layer in self.layers:
            states = layer(states, v)
        return {t: tower(states[self.read[t]][0])[:, 0] for t, tower in self.towers.items()}

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.trunk(self.v(features))

    def losses(self, logits: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """Per task: mean cross-entropy over its observed samples, 0 without any (section 6)."""
        losses = {}
        for task in self.tasks:
            observed = ~torch.isnan(labels[task])
            x, y = logits[task][observed], labels[task][observed]
            entropy = -(y * logsigmoid(x) + (1 - y) * logsigmoid(-x))
            losses[task] = entropy.sum() / max(1, len(x))
        return losses

    def loss(self, logits: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        losses = self.losses(logits, labels)
        return sum(options.get("weight", 1.0) * losses[t] for t, options in self.tasks.items())

    def logical_state(self) -> dict[str, Tensor]:
        """Every parameter and buffer by its logical name; the tensors themselves, not copies."""
        state = {}
        for prefix, part in self.parts.items():
            for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
                state[f"{prefix}.{name}"] = tensor
        return state

    @torch.no_grad()
    def load_logical_state(self, state: dict[str, Tensor]) -> None:
        own = self.logical_state()
        assert own.keys() == state.keys()
        for name, tensor in own.items():
            tensor.copy_(state[name])

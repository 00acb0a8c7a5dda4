"""Oracle of sequences: each row and each event by itself, in float64, from docs/sequences.md.

Deliberately naive and written apart from the generated code: no padding, no masks, no batches. Keys
are made of each event, attention units read their whole input, searches sort Python lists.
"""

from __future__ import annotations

import math
from itertools import count, pairwise
from typing import Any

import torch
from torch import Tensor, nn

Event = dict[str, Any]
"""Field -> raw value."""


def options_of(encoder: Any) -> tuple[str, dict[str, Any]]:
    """Kind and options of `encoder: din` or `encoder: {din: {…}}`."""
    if isinstance(encoder, str):
        return encoder, {}
    ((kind, options),) = encoder.items()
    return kind, options


ACTIVATIONS = {
    "relu": torch.relu,
    "swish": lambda u: u * torch.sigmoid(u),
    "gelu": lambda u: u * torch.special.ndtr(u),
    "tanh": lambda u: 2 * torch.sigmoid(2 * u) - 1,
    "leaky_relu": lambda u: torch.maximum(u, 0.01 * u),
}


class Slope(nn.Module):
    """PReLU: u above 0, a u below."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 0.25))

    def forward(self, u: Tensor) -> Tensor:
        return torch.clamp(u, min=0) + self.weight * torch.clamp(u, max=0)


class Unit(nn.Module):
    """A Linear of the attention unit, with DICE or PReLU behind it where asked for."""

    def __init__(
        self, n: int, out: int, dice: tuple[float, float] | None, slope: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, n))
        self.bias = nn.Parameter(torch.randn(out))
        if dice:
            self.dice = Dice(out, *dice)
        if slope:
            self.act = Slope()


class Dice(nn.Module):
    """p s + (1 - p) alpha s with p = sigmoid(BN(s)), BN over a list of events [N, H]."""

    def __init__(self, width: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, s: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training and len(s):
            mean = sum(s) / len(s)
            var = sum((event - mean) ** 2 for event in s) / len(s)
        if self.training and len(s) > 1:
            with torch.no_grad():
                unbiased = var * len(s) / (len(s) - 1)
                self.running_mean.copy_(
                    (1 - self.momentum) * self.running_mean + self.momentum * mean
                )
                self.running_var.copy_(
                    (1 - self.momentum) * self.running_var + self.momentum * unbiased
                )
        p = torch.sigmoid((s - mean) / torch.sqrt(var + self.eps))
        return p * s + (1 - p) * self.alpha * s


class Din(nn.Module):
    """Sum of the events, each times an MLP of [q, k, q - k, q k, w]."""

    def __init__(self, q: int, e: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.activation = options.get("activation", "dice")
        self.softmax = options.get("softmax", False)
        statistics = (options.get("norm_eps", 1e-5), options.get("norm_momentum", 0.1))
        widths = [3 * q + e, *options.get("hidden", [36])]
        self.layers = nn.ModuleList(
            Unit(
                a, b, statistics if self.activation == "dice" else None, self.activation == "prelu"
            )
            for a, b in pairwise(widths)
        )
        self.out = nn.Linear(widths[-1], 1, bias=not self.softmax)
        self.width = e

    def forward(self, rows: list[tuple[Tensor, list[Tensor]]]) -> list[Tensor]:
        inputs = []
        for q, events in rows:
            for x in events:
                k, w = x[: len(q)], x[len(q) :]
                inputs.append(torch.cat([q, k, q - k, q * k, w]))
        u = torch.stack(inputs) if inputs else torch.zeros(0, 1)
        for layer in self.layers if inputs else ():
            u = u @ layer.weight.T + layer.bias
            if self.activation == "dice":
                u = layer.dice(u)
            else:
                activation = ACTIVATIONS.get(self.activation) or layer.act
                u = activation(u)
        weights = [self.out(each)[0] for each in u] if inputs else []
        found = []
        for _, events in rows:
            mine, weights = weights[: len(events)], weights[len(events) :]
            if self.softmax and events:
                mine = list(torch.softmax(torch.stack(mine), 0))
            found.append(
                sum((w * x for w, x in zip(mine, events, strict=True)), torch.zeros(self.width))
            )
        return found


class Gru(nn.Module):
    """u, r and the new state have their weights below each other."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(n, 3 * width)
        self.states = nn.Linear(width, 3 * width, bias=False)
        self.width = width

    def forward(self, events: list[Tensor], attention: list[Tensor] | None = None) -> list[Tensor]:
        h = torch.zeros(self.width, dtype=torch.float64)
        found = []
        for t, x in enumerate(events):
            (wu, wr, wh), (bu, br, bh) = self.inputs.weight.chunk(3), self.inputs.bias.chunk(3)
            uu, ur, uh = self.states.weight.chunk(3)
            u = torch.sigmoid(wu @ x + uu @ h + bu)
            r = torch.sigmoid(wr @ x + ur @ h + br)
            new = torch.tanh(wh @ x + r * (uh @ h) + bh)
            if attention is not None:
                u = attention[t] * u
            h = (1 - u) * h + u * new
            found.append(h)
        return found


class Dien(nn.Module):
    """GRU, attention softmax(h_t W e_a), AUGRU; its last state."""

    def __init__(self, q: int, e: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.width = options.get("width", e)
        self.extractor, self.evolution = Gru(e, self.width), Gru(self.width, self.width)
        self.attention = nn.Linear(q, self.width, bias=False)

    def forward(self, rows: list[tuple[Tensor, list[Tensor]]]) -> list[Tensor]:
        found = []
        for q, events in rows:
            if not events:
                found.append(torch.zeros(self.width))
                continue
            interests = self.extractor(events)
            scores = torch.stack([h @ self.attention.weight @ q for h in interests])
            found.append(self.evolution(interests, list(torch.softmax(scores, 0)))[-1])
        return found


class Sim(nn.Module):
    """For each head softmax((W_b x) . (W_a q) / sqrt(d)), the weighted sum of the events."""

    def __init__(self, q: int, e: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.heads = options.get("heads", 2)
        width = options.get("width", next(n for n in count(q) if n % self.heads == 0))
        self.query = nn.Linear(q, width, bias=False)
        self.key = nn.Linear(e, width, bias=False)
        self.width = self.heads * e

    def forward(self, rows: list[tuple[Tensor, list[Tensor]]]) -> list[Tensor]:
        return [
            torch.cat([self.head(i, q, events) for i in range(self.heads)])
            if events
            else torch.zeros(self.width)
            for q, events in rows
        ]

    def head(self, i: int, q: Tensor, events: list[Tensor]) -> Tensor:
        query = self.query(q).chunk(self.heads)[i]
        keys = [self.key(x).chunk(self.heads)[i] for x in events]
        scores = torch.stack([key @ query / math.sqrt(len(query)) for key in keys])
        return sum(a * x for a, x in zip(torch.softmax(scores, 0), events, strict=True))


class Twin(nn.Module):
    """alpha_i = (K_h W^h)(q W^q) / sqrt(d) + K_c c_i, softmax, values, all heads, W^o."""

    def __init__(self, q: int, e: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.heads = options.get("heads", 4)
        self.width = options.get("width", next(n for n in count(q) if n % self.heads == 0))
        self.query = nn.Linear(q, self.width, bias=False)
        self.key = nn.Linear(q, self.width, bias=False)
        if e > q:
            self.cross = nn.Linear(e - q, self.heads, bias=False)
        self.value = nn.Linear(e, self.width, bias=False)
        self.out = nn.Linear(self.width, self.width, bias=False)

    def score(self, i: int, q: Tensor, x: Tensor) -> Tensor:
        k, w = x[: len(q)], x[len(q) :]
        query, key = self.query(q).chunk(self.heads)[i], self.key(k).chunk(self.heads)[i]
        bias = self.cross.weight[i] @ w if len(w) else 0.0
        return query @ key / math.sqrt(len(query)) + bias

    def total(self, q: Tensor, x: Tensor) -> float:
        return sum(self.score(i, q, x).item() for i in range(self.heads))

    def forward(self, rows: list[tuple[Tensor, list[Tensor]]]) -> list[Tensor]:
        found = []
        for q, events in rows:
            if not events:
                found.append(torch.zeros(self.width))
                continue
            heads = []
            for i in range(self.heads):
                a = torch.softmax(torch.stack([self.score(i, q, x) for x in events]), 0)
                values = [self.value(x).chunk(self.heads)[i] for x in events]
                heads.append(sum(weight * v for weight, v in zip(a, values, strict=True)))
            found.append(self.out(torch.cat(heads)))
        return found


class Mean(nn.Module):
    """The mean of the events."""

    def __init__(self, q: int, e: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.width = e

    def forward(self, rows: list[tuple[Tensor, list[Tensor]]]) -> list[Tensor]:
        return [
            sum(events) / len(events) if events else torch.zeros(self.width) for _, events in rows
        ]


ENCODERS = {"mean": Mean, "din": Din, "dien": Dien, "sim": Sim, "twin": Twin}


class Sequence(nn.Module):
    """A sequence feature: the raw tensors of a batch -> [B, width].

    `fields` are the candidate's own `reference.Feature`s by name, `field` makes one from its spec.
    """

    def __init__(self, name: str, spec: dict[str, Any], fields: dict[str, Any], field: Any) -> None:
        super().__init__()
        self.name, self.of = name, spec["of"]
        self.shared = [fields[f] for f in self.of]  # a list: their weights are the candidate's
        given = spec.get("with", {})
        own = {n: field(options) for n, options in given.items() if "table" not in options}
        for n, part in own.items():
            self.add_module(n, part)
        # What is looked up in the table of a feature has no weights of its own.
        self.more = {n: own[n] if n in own else fields[given[n]["table"]] for n in given}
        q = sum(f.width for f in self.shared)
        e = q + sum(f.width for f in self.more.values())
        kind, self.options = options_of(spec["encoder"])
        self.kind = kind
        self.encoder = ENCODERS[kind](q, e, self.options)
        self.width = self.encoder.width

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        rows = []
        for b in range(len(features[f"{self.name}.{self.of[0]}"])):
            q = torch.cat(
                [self.value(f, features[n][b]) for n, f in zip(self.of, self.shared, strict=True)]
            )
            events = self.search(
                q, {n: features[n][b].item() for n in self.of}, self.events(features, b)
            )
            rows.append((q, [self.embedded(event) for event in events]))
        nothing = sum(0 * p.sum() for p in self.parameters())  # where no event is in the batch
        return torch.stack([x.double() + nothing for x in self.encoder(rows)])

    def events(self, features: dict[str, Tensor], b: int) -> list[Event]:
        """The events of a row that are there."""
        names = [*self.of, *self.more]
        length = features[f"{self.name}.{self.of[0]}"].shape[1]
        all_ = [{n: raw(features[f"{self.name}.{n}"][b, t]) for n in names} for t in range(length)]
        return [event for event in all_ if is_there(event[self.of[0]])]

    def value(self, feature: Any, value: Any) -> Tensor:
        if "dense" in feature.spec:
            return feature.vector(value.double())
        return feature.weight[feature.row(value.item() if isinstance(value, Tensor) else value)]

    def embedded(self, event: Event) -> Tensor:
        shared = [self.value(f, event[n]) for n, f in zip(self.of, self.shared, strict=True)]
        return torch.cat([*shared, *(self.value(f, event[n]) for n, f in self.more.items())])

    def search(self, q: Tensor, candidate: Event, events: list[Event]) -> list[Event]:
        """What the first stage leaves, in the order of the events."""
        if self.kind not in ("sim", "twin"):
            return events
        by, top = self.options.get("by"), self.options.get("top", 20 if self.kind == "sim" else 100)
        if by:
            hits = [e for e in events if e[by] == candidate[by] and candidate[by] != -1]
            return hits[-top:]
        scores = []
        for event in events:
            x = self.embedded(event).detach()
            if self.kind == "twin":
                scores.append(self.encoder.total(q.detach(), x))
            else:
                scores.append((x[: len(q)] * q.detach()).sum().item())
        best = sorted(range(len(events)), key=lambda t: (scores[t], t))[-top:]
        return [events[t] for t in sorted(best)]


def raw(value: Tensor) -> Any:
    """A number, or a vector as it is."""
    return value.item() if value.dim() == 0 else value


def is_there(value: float) -> bool:
    """Whether the first field of an event has a value."""
    return value != -1 and not (isinstance(value, float) and math.isnan(value))

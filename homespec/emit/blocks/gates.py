"""Gates: the products that compute logits and low ranks, feature gates, mixtures of experts."""

import torch
from torch import nn

from homespec.emit.blocks.constants import USER_WIDTH
from homespec.emit.blocks.stacks import linear_init


class Projections(nn.Module):
    """Linears with the same input, as one product: x [G, N, B] -> [S, O, B] of each section.

    A section is (logical names of S Linears, output rows O of each); the g-th S/G Linears of every
    section read input g. The first `unbiased` sections have no bias.
    """

    def __init__(self, shape, *sections, unbiased):
        super().__init__()
        inputs, width = shape
        self.sections = sections
        rows = [len(names) // inputs * each for names, each in sections]
        self.unbiased_rows, self.biased_rows = rows[:unbiased], rows[unbiased:]
        self.weight = linear_init(width, inputs, sum(rows), width)
        self.bias = linear_init(width, inputs, sum(self.biased_rows))

    def _logical(self):
        inputs, start = len(self.weight), 0
        for names, rows in self.sections:
            share = len(names) // inputs
            for i, name in enumerate(names):
                g, at = i // share, start + i % share * rows  # the input, and the first row
                yield "weight", f"{name}.weight", (g, slice(at, at + rows))
                if start >= sum(self.unbiased_rows):
                    at -= sum(self.unbiased_rows)
                    yield "bias", f"{name}.bias", (g, slice(at, at + rows))
            start += share * rows

    def forward(self, x):
        t = torch.bmm(self.weight, x)
        unbiased, biased = t.split([sum(self.unbiased_rows), sum(self.biased_rows)], dim=1)
        biased = biased + self.bias.unsqueeze(-1).to(biased.dtype)
        parts = (*unbiased.split(self.unbiased_rows, dim=1), *biased.split(self.biased_rows, dim=1))
        return [
            part.unflatten(1, (-1, rows)).flatten(0, 1)
            for part, (_, rows) in zip(parts, self.sections, strict=True)
        ]


class Projections__logits(nn.Module):
    """Linears with the same input, as one product: x [G, N, B] -> [S, O, B] of each section.

    A section is (logical names of S Linears, output rows O of each); the g-th S/G Linears of every
    section read input g.
    """

    def __init__(self, shape, *sections):
        super().__init__()
        inputs, width = shape
        self.sections = sections
        self.rows = [len(names) // inputs * rows for names, rows in sections]
        self.weight = linear_init(width, inputs, sum(self.rows), width)
        self.bias = linear_init(width, inputs, sum(self.rows))

    def _logical(self):
        inputs, start = len(self.weight), 0
        for names, rows in self.sections:
            share = len(names) // inputs
            for i, name in enumerate(names):
                g, at = i // share, start + i % share * rows  # the input, and the first row
                yield "weight", f"{name}.weight", (g, slice(at, at + rows))
                yield "bias", f"{name}.bias", (g, slice(at, at + rows))
            start += share * rows

    def forward(self, x):
        t = torch.bmm(self.weight, x)
        parts = (t + self.bias.unsqueeze(-1).to(t.dtype)).split(self.rows, dim=1)
        return [
            part.unflatten(1, (-1, rows)).flatten(0, 1)
            for part, (_, rows) in zip(parts, self.sections, strict=True)
        ]


class SplitProjections(Projections):
    """Projections of v, given as the user's part [1, U, 1] and the candidates' [1, V - U, B].

    Returns [S, O, B] for each section. The product with the user's part is computed only once.
    """

    def __init__(self, shape, *sections, unbiased):
        inputs, width = shape
        super().__init__((inputs, width - USER_WIDTH), *sections, unbiased=unbiased)
        self.user_weight = linear_init(width, *self.weight.shape[:2], USER_WIDTH)

    def _logical(self):
        for attr, name, index in super()._logical():
            yield attr, name, index
            if attr == "weight":
                yield "user_weight", name.removesuffix("weight") + "user_weight", index

    def forward(self, v):
        user, candidates = v
        t = torch.bmm(self.user_weight, user)
        of_user = t.split([len(names) * rows for names, rows in self.sections], dim=1)
        return [
            part + once.unflatten(1, (-1, rows)).flatten(0, 1)
            for part, once, (_, rows) in zip(
                super().forward(candidates), of_user, self.sections, strict=True
            )
        ]


class SplitProjections__logits(Projections):
    """Projections of v, given as the user's part [1, U, 1] and the candidates' [1, V - U, B].

    Returns [S, O, B] for each section. The product with the user's part is computed only once.
    """

    def __init__(self, shape, *sections):
        inputs, width = shape
        super().__init__((inputs, width - USER_WIDTH), *sections)
        self.user_weight = linear_init(width, *self.weight.shape[:2], USER_WIDTH)

    def _logical(self):
        for attr, name, index in super()._logical():
            yield attr, name, index
            if attr == "weight":
                yield "user_weight", name.removesuffix("weight") + "user_weight", index

    def forward(self, v):
        user, candidates = v
        t = torch.bmm(self.user_weight, user)
        of_user = t.split([len(names) * rows for names, rows in self.sections], dim=1)
        return [
            part + once.unflatten(1, (-1, rows)).flatten(0, 1)
            for part, once, (_, rows) in zip(
                super().forward(candidates), of_user, self.sections, strict=True
            )
        ]


class JoinedProjections(nn.ModuleList):
    """Projections of unequal groups, joined by section: x [G, N, B] -> [S, O, B] of each."""

    def forward(self, x):
        inputs = x.split([len(each.weight) for each in self])
        parts = [each(own) for each, own in zip(self, inputs, strict=True)]
        return [torch.cat(sections) for sections in zip(*parts, strict=True)]


class StaticGates(nn.Module):
    """M gates without inputs -> logits [M, C, 1], the same in all rows and initially 0."""

    def __init__(self, names, choices):
        super().__init__()
        self.names = names
        self.bias = nn.Parameter(torch.zeros(len(names), choices, 1))

    def _logical(self):
        for i, name in enumerate(self.names):
            yield "bias", f"{name}.bias", (i, slice(None), 0)

    def forward(self):
        return self.bias


class StaticSelfGates(nn.Module):
    """M self gates without inputs -> weights [M, C, 1], the same in all rows and initially 1/C."""

    def __init__(self, names, choices):
        super().__init__()
        self.names = names
        self.weights = nn.Parameter(torch.full((len(names), choices, 1), 1 / choices))

    def _logical(self):
        for i, name in enumerate(self.names):
            yield "weights", f"{name}.weights", (i, slice(None), 0)

    def forward(self):
        return self.weights


class _FeatureGates(nn.Module):
    def __init__(self, names, width, rank):
        super().__init__()
        self.names = [f"{name}.up" for name in names]
        self.weight = nn.Parameter(torch.zeros(len(names), width, rank))  # up


class FeatureGates(_FeatureGates):
    """S feature gates: x [S or 1, N, B] -> x times a mixture of L LoRAs [S, N, B].

    A LoRA is 2 sigmoid(up down): down [S * L, R, B] and the router's logits [S, L, B] are
    projections of x. `up` starts at 0, so gates start at 1, up to rounding.
    """

    def forward(self, x, down, router):
        lora = torch.bmm(self.weight, down).unflatten(0, (len(router), -1))  # [S, L, N, B]
        p = router.softmax(1).unsqueeze(2)
        return x * (p * (2 * lora.sigmoid())).sum(1)


class FeatureGatesOfLogits(_FeatureGates):
    """S feature gates: x [S or 1, N, B] -> x times 2 sigmoid(a mixture of L LoRAs) [S, N, B].

    A LoRA is up down: down [S * L, R, B] and the router's logits [S, L, B] are projections of x.
    `up` starts at 0, so gates start at 1, up to rounding.
    """

    def forward(self, x, down, router):
        lora = torch.bmm(self.weight, down).unflatten(0, (len(router), -1))  # [S, L, N, B]
        p = router.softmax(1).unsqueeze(2)
        return x * 2 * (p * lora).sum(1).sigmoid()


class SingleFeatureGates(_FeatureGates):
    """S feature gates of one LoRA: x [S or 1, N, B] -> x times 2 sigmoid(up down) [S, N, B].

    down [S, R, B] is a projection of x. `up` starts at 0, so gates start at 1, up to rounding.
    """

    def forward(self, x, down):
        return x * 2 * torch.bmm(self.weight, down).sigmoid()


class MLPFeatureGates(nn.Module):
    """S feature gates: x [S or 1, N, B] -> x times 2 sigmoid(up relu(hidden)) [S, N, B].

    hidden [S, R, B] is a projection of what the gates read. `up` and its bias start at 0, so gates
    start at 1.
    """

    def __init__(self, names, width, rank):
        super().__init__()
        self.names = [f"{name}.up" for name in names]
        self.weight = nn.Parameter(torch.zeros(len(names), width, rank))
        self.bias = nn.Parameter(torch.zeros(len(names), width))

    def forward(self, x, hidden):
        u = torch.bmm(self.weight, hidden.relu())
        return x * 2 * (u + self.bias.unsqueeze(-1).to(u.dtype)).sigmoid()


def mix(w, e):
    """Weighted sums of experts: weights w [O, K, B], experts e [G, K, D, B] -> [O, D, B].

    O/G consecutive outputs share each set.
    """
    w = w.unflatten(0, (e.shape[0], -1)).unsqueeze(3)
    return (w * e.unsqueeze(1)).sum(2).flatten(0, 1)


def mix__joined(w, e):
    """Weighted sums of experts: weights w [O, K, B], experts e [G, K, D, B] -> [O, D, B].

    O/G consecutive outputs share each set. If w has more than K columns, consecutive sets are
    treated as one.
    """
    e = e.flatten(0, 1).unflatten(0, (-1, w.shape[1]))
    w = w.unflatten(0, (e.shape[0], -1)).unsqueeze(3)
    return (w * e.unsqueeze(1)).sum(2).flatten(0, 1)


def mix_forward(w, e, own):
    """Weighted sums of experts: weights w [O, S * K, B], experts e [S, K, D, B] -> [O, D, B].

    An output sends gradients only to its own sets, those where `own` [O, S] is true.
    """
    seen = torch.where(own[:, :, None, None, None], e, e.detach())
    return (w.unflatten(1, e.shape[:2]).unsqueeze(3) * seen).sum((1, 2))


def mix_each(w, e, outputs):
    """Like `mix`, but `outputs` has the number of outputs that share each set."""
    mixed, start = [], 0
    for g, count in enumerate(outputs):
        mixed.append(mix(w[start : start + count], e[g : g + 1]))
        start += count
    return torch.cat(mixed)

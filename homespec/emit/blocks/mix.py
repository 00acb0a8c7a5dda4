"""Mixtures of experts by the weights of gates."""

import torch


def mix(w, e):
    """Sums of experts e [G, K, D, B] by weights w [O, K, B] -> [O, D, B]; a set serves O/G of them.

    A self gate is a second mixture of the same experts: its weights are added to the gate's.
    """
    w = w.unflatten(0, (e.shape[0], -1)).unsqueeze(3)
    return (w * e.unsqueeze(1)).sum(2).flatten(0, 1)


def mix_each(w, e, outputs):
    """Like `mix`, where set g serves as many of the outputs as `outputs` says."""
    mixed, start = [], 0
    for g, count in enumerate(outputs):
        mixed.append(mix(w[start : start + count], e[g : g + 1]))
        start += count
    return torch.cat(mixed)

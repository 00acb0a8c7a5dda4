"""Parts shared by encoders of sequences. L events, K of them after a search, E width of an event, Q
width of the fields shared with the candidate, A heads of an attention.
"""

import torch
from torch import nn


class Encoders(nn.ModuleDict):
    """The encoders of sequences by name."""

    def _logical(self):
        for name, encoder in self.items():
            for tensor in encoder.state_dict():
                yield f"{name}.{tensor}", f"features.{name}.encoder.{tensor}", ...


def mean_of_events(x_BLE, mask_BL):
    """The mean of existing events [B, E]; zeros if there are none."""
    total_BE = x_BLE.where(mask_BL.unsqueeze(-1), 0.0).sum(1)
    return total_BE / mask_BL.sum(1, keepdim=True).clamp(min=1)


def sum_of_values(x_BLE, mask_BL):
    """The sum of existing values [B, E]."""
    return x_BLE.where(mask_BL.unsqueeze(-1), 0.0).sum(1)


def max_of_values(x_BLE, mask_BL):
    """The elementwise maximum of existing values [B, E]; zeros if there are none."""
    lowest = torch.finfo(x_BLE.dtype).min
    top_BE = x_BLE.where(mask_BL.unsqueeze(-1), lowest).amax(1)
    return top_BE.where(mask_BL.any(1, keepdim=True), 0.0)


def weighted_sum(x_BLE, mask_BL, weights_BL):
    """The weighted sum of existing values [B, E]; missing weights are 0."""
    return (x_BLE * known_weights(x_BLE, mask_BL, weights_BL)).sum(1)


def weighted_mean(x_BLE, mask_BL, weights_BL):
    """The weighted sum, divided by the sum of the weights [B, E]; zeros if that is 0."""
    weights_BL1 = known_weights(x_BLE, mask_BL, weights_BL)
    total_B1 = weights_BL1.sum(1)
    known_B1 = total_B1 != 0
    mean_BE = (x_BLE * weights_BL1).sum(1) / total_B1.where(known_B1, 1.0)
    return mean_BE.where(known_B1, 0.0)


def known_weights(x_BLE, mask_BL, weights_BL):
    """Weights [B, L, 1] of values [B, L, E]: 0 where they, or the values, are missing."""
    known_BL = mask_BL & ~weights_BL.isnan()
    return weights_BL.where(known_BL, 0.0).to(x_BLE.dtype).unsqueeze(-1)


def softmax_of_events(scores, mask):
    """Softmax along the last axis over existing events; zeros if there are none."""
    lowest = torch.finfo(scores.dtype).min
    return scores.where(mask, lowest).softmax(-1).where(mask, 0.0)


def latest(rank_BL, top):
    """The `top` events with the highest ranks, the latest if equal; rank 0 excludes an event.

    Returns their positions [B, top], and which of these are not excluded.
    """
    length = rank_BL.shape[1]
    order_L = torch.arange(1, length + 1, device=rank_BL.device)
    key_BL = (rank_BL * length + order_L) * (rank_BL > 0)
    key_BK, at_BK = key_BL.topk(top, dim=1)
    return at_BK, key_BK > 0


def same(ids_BL, id_B):
    """Which events have the id of the candidate; none if it is missing (-1)."""
    id_B1 = id_B.unsqueeze(1)
    return (ids_BL == id_B1) & (id_B1 != -1)


def best(scores_BL, mask_BL, top):
    """The `top` existing events with the highest scores, the latest if equal; as in `latest`."""
    scores_BL = scores_BL.where(mask_BL, torch.finfo(scores_BL.dtype).min)
    last_B1 = scores_BL.topk(top, dim=1).values[:, -1:]
    rank_BL = (scores_BL >= last_B1).long() + (scores_BL > last_B1)
    return latest(rank_BL * mask_BL, top)


def inner(q_BQ, x_BLE):
    """Inner products of the candidate with all events [B, L]."""
    return (x_BLE * q_BQ.unsqueeze(1)).sum(-1)


def picked(values, names, at_BK):
    """The values [B, L] of these names at some of their positions."""
    return {name: values[name].gather(1, at_BK) for name in names}


def picked_vectors(values, names, at_BK):
    """The vectors [B, L, N] of these names at some of their positions."""
    at_BK1 = at_BK.unsqueeze(-1)
    return {n: values[n].gather(1, at_BK1.expand(-1, -1, values[n].shape[2])) for n in names}


def picked_vectors__split(values, names, at_BK):
    """The vectors of these names, [B, L, N] or one user's [1, L, N], at some of their positions."""
    at_BK1, found = at_BK.unsqueeze(-1), {}
    for name in names:
        x_BLN = values[name].expand(at_BK.shape[0], -1, -1)
        found[name] = x_BLN.gather(1, at_BK1.expand(-1, -1, x_BLN.shape[2]))
    return found


def picked__split(values, names, at_BK):
    """The values of these names, [B, L] or one user's [1, L], at some of their positions."""
    return {name: values[name].expand(at_BK.shape[0], -1).gather(1, at_BK) for name in names}

"""SIM and TWIN: multi-head target attention over the events that a search finds."""

import torch
from torch import nn

from homespec.emit.blocks.events import softmax_of_events


def head_directions(query, key, heads, q_BQ):
    """Vectors [B, A, N] whose products with events are scores (key x) . (query q) / sqrt(width).

    They are key^T query q, so that no keys of events are computed.
    """
    q_ABD = query(q_BQ).unflatten(1, (heads, -1)).transpose(0, 1)
    key_ADN = key.weight.unflatten(0, (heads, -1))
    return torch.bmm(q_ABD, key_ADN).transpose(0, 1) * q_ABD.shape[-1] ** -0.5


def attended(directions_BAE, x_BKE, mask_BK):
    """Softmax attention of each head: weighted sums of the events [B, A, E]."""
    scores_BAK = torch.bmm(directions_BAE, x_BKE.mT)
    return torch.bmm(softmax_of_events(scores_BAK, mask_BK.unsqueeze(1)), x_BKE)


class Sim(nn.Module):
    """SIM's exact search unit: q [B, Q], found events x [B, K, E], mask [B, K] -> [B, A E].

    Multi-head target attention whose values are the events themselves. Zeros without events.
    """

    def __init__(self, query, event, width, heads):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(query, width, bias=False)
        self.key = nn.Linear(event, width, bias=False)

    def forward(self, q_BQ, x_BKE, mask_BK):
        directions_BAE = head_directions(self.query, self.key, self.heads, q_BQ)
        return attended(directions_BAE, x_BKE, mask_BK).flatten(1)


class Twin(nn.Module):
    """TWIN: q [B, Q], found events x [B, K, E], mask [B, K] -> [B, width].

    Both stages score an event by the same attention. Zeros without events.
    """

    def __init__(self, query, event, width, heads):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(query, width, bias=False)
        self.key = nn.Linear(query, width, bias=False)
        self.value = nn.Linear(event, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def directions(self, q_BQ):
        """Vectors [B, A, E] whose products with events are the scores."""
        return head_directions(self.query, self.key, self.heads, q_BQ)

    def scores(self, q_BQ, x_BLE):
        """The first stage: the sum of all heads' scores of all events [B, L]."""
        return (x_BLE * self.directions(q_BQ).sum(1, keepdim=True)).sum(-1)

    def forward(self, q_BQ, x_BKE, mask_BK):
        found_ABE = attended(self.directions(q_BQ), x_BKE, mask_BK).transpose(0, 1)
        value_AED = self.value.weight.unflatten(0, (self.heads, -1)).mT
        return self.out(torch.bmm(found_ABE, value_AED).transpose(0, 1).flatten(1))


class TwinCross(Twin):
    """TWIN on events x = [k, w], where the candidate also has the fields of k; w biases scores."""

    def __init__(self, query, event, width, heads):
        super().__init__(query, event, width, heads)
        self.cross = nn.Linear(event - query, heads, bias=False)

    def directions(self, q_BQ):
        """Vectors [B, A, E] whose products with events are the scores."""
        directions_BAQ = super().directions(q_BQ)
        cross_BAW = self.cross.weight.expand(q_BQ.shape[0], -1, -1)
        return torch.cat([directions_BAQ, cross_BAW.to(directions_BAQ.dtype)], dim=2)

"""The loss term that compares rows of the same session (Sheng et al., KDD 2023)."""

import torch
import torch.nn.functional as F

from homespec.emit.blocks.checks import check_shapes
from homespec.emit.blocks.constants import SESSIONS, WITHIN
from homespec.emit.blocks.row_weights import weighted_means


def session_losses(logits, labels, weights, sessions):
    """How badly tasks [T] rank the rows of each session, times the weight of this term in WITHIN.

    A row competes with the rows of its session that have the other label. The mean is over all
    rows, by weights [T, B]; those of weight 0 do not compete. sessions: ids [B], integers; a row of
    -1 is in no session.
    """
    check_sessions(sessions, logits.shape[1])
    labels = torch.stack([labels[task] for task in SESSIONS])
    logits, weights = ranked(logits), ranked(weights)
    dtype = torch.promote_types(torch.promote_types(logits.dtype, labels.dtype), torch.float32)
    competing = (weights != 0) & (sessions != -1)
    logits, labels = logits.to(dtype), labels.to(dtype).masked_fill(~competing, 0.0)
    places = session_places(sessions).expand(logits.shape)
    negatives = log_sums(logits, (1 - labels) * competing, places)
    positives = log_sums(-logits, labels * competing, places)
    losses = labels * F.softplus(negatives - logits)
    losses = losses + (1 - labels) * F.softplus(positives + logits)
    means = weighted_means(losses.masked_fill(~competing, 0.0), weights)
    parts = iter(means.split([count for count, weight in WITHIN if weight]))
    return torch.cat([w * next(parts) if w else means.new_zeros(count) for count, w in WITHIN])


def check_sessions(sessions, rows):
    """Raise ValueError unless ids are integers [rows]."""
    check_shapes("session", {"ids": sessions}, {"ids": ()}, rows)
    if sessions.is_floating_point():
        raise ValueError(f"session ids must be integers, not {sessions.dtype}")


def ranked(stacked):
    """The rows [T, B] of tasks with a weight in WITHIN."""
    parts = stacked.split([count for count, _ in WITHIN])
    return torch.cat([part for part, (_, weight) in zip(parts, WITHIN, strict=True) if weight])


def session_places(sessions):
    """Ids [B] as numbers from 0 to B - 1 [B], the same for equal ids."""
    ordered, order = sessions.sort()
    changes = F.pad(ordered[1:] != ordered[:-1], (1, 0)).long()
    return torch.empty_like(order).scatter(0, order, changes.cumsum(0))


def log_sums(values, shares, places):
    """For each row, the log of the sum over its session of shares times exp(values) [T, B].

    It is -inf where the shares of a session are 0.
    """
    lowest = torch.full_like(values, -torch.inf)
    most = values.detach().masked_fill(shares == 0, -torch.inf)
    most = lowest.scatter_reduce(1, places, most, "amax").gather(1, places)
    most = most.masked_fill(most == -torch.inf, 0.0)
    terms = shares * (values - most).masked_fill(shares == 0, -torch.inf).exp()
    sums = torch.zeros_like(values).scatter_add(1, places, terms).gather(1, places)
    logs = sums.where(sums > 0, 1.0).log() + most
    return logs.masked_fill(sums == 0, -torch.inf)

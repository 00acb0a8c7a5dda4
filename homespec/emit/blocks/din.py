"""DIN: target attention by an MLP."""

import torch
import torch.nn.functional as F
from torch import nn

from homespec.emit.blocks.events import softmax_of_events
from homespec.emit.blocks.gains import start_bound
from homespec.emit.blocks.precision import Float32Buffers


class EventDice(Float32Buffers):
    """DICE on the hidden units of an attention unit: u [B, L, H] -> [B, L, H].

    p u + (1 - p) alpha u, where p = sigmoid(BN(u)) and BN has no affine part. Statistics leave out
    padding.
    """

    def __init__(self, width, eps, momentum):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, u_BLH, mask_BL):
        x_BLH = u_BLH.to(self.running_mean.dtype)
        mean_H, var_H = self.running_mean, self.running_var
        if self.training:
            mean_H, var_H = self.statistics(x_BLH, mask_BL.unsqueeze(-1))
        p_BLH = ((x_BLH - mean_H) * (var_H + self.eps).rsqrt()).sigmoid()
        return (x_BLH * (p_BLH + (1 - p_BLH) * self.alpha)).to(u_BLH.dtype)

    def statistics(self, x_BLH, mask_BL1):
        """Mean and variance [H] of this batch; updates the running ones from two events on."""
        events = mask_BL1.sum().to(x_BLH.dtype)
        count = events.clamp(min=1)
        mean_H = x_BLH.where(mask_BL1, 0.0).sum((0, 1)) / count
        var_H = ((x_BLH - mean_H).where(mask_BL1, 0.0) ** 2).sum((0, 1)) / count
        with torch.no_grad():
            unbiased_H = var_H * (count / (count - 1).clamp(min=1))
            moved = (events > 1) * torch.full_like(events, self.momentum)
            self.running_mean.lerp_(mean_H, moved)
            self.running_var.lerp_(unbiased_H, moved)
        return mean_H, var_H


class EventDice__inference(Float32Buffers):
    """DICE on the hidden units of an attention unit: u [B, L, H] -> [B, L, H].

    p u + (1 - p) alpha u, where p = sigmoid(BN(u)) and BN has no affine part.
    """

    def __init__(self, width, eps):
        super().__init__()
        self.eps = eps
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, u_BLH, _):
        x_BLH = u_BLH.to(self.running_mean.dtype)
        p_BLH = ((x_BLH - self.running_mean) * (self.running_var + self.eps).rsqrt()).sigmoid()
        return (x_BLH * (p_BLH + (1 - p_BLH) * self.alpha)).to(u_BLH.dtype)


def compare(linear, q_BQ, x_BLE):
    """linear([q, k, q - k, q * k, w]) for events x = [k, w]; the term in q is computed once."""
    n = q_BQ.shape[1]
    of_q, of_k, of_difference, of_product = (
        linear.weight[:, i * n : (i + 1) * n] for i in range(4)
    )
    of_events = torch.cat([of_k - of_difference, linear.weight[:, 4 * n :], of_product], dim=1)
    z_BLN = torch.cat([x_BLE, q_BQ.unsqueeze(1) * x_BLE[..., :n]], dim=2)
    once_BH = F.linear(q_BQ, of_q + of_difference, linear.bias)
    return F.linear(z_BLN, of_events) + once_BH.unsqueeze(1)


def compare__split(linear, q_BQ, x_BLE):
    """linear([q, k, q - k, q * k, w]) for events x = [k, w], which may be one user's [1, L, E].

    Terms in q alone are computed once for all events, terms in x alone once for all candidates.
    """
    n = q_BQ.shape[1]
    of_q, of_k, of_difference, of_product = (
        linear.weight[:, i * n : (i + 1) * n] for i in range(4)
    )
    of_events = torch.cat([of_k - of_difference, linear.weight[:, 4 * n :]], dim=1)
    u_BLH = F.linear(q_BQ.unsqueeze(1) * x_BLE[..., :n], of_product)
    once_BH = F.linear(q_BQ, of_q + of_difference, linear.bias)
    return u_BLH + F.linear(x_BLE, of_events) + once_BH.unsqueeze(1)


class Din(nn.Module):
    """DIN: q [B, Q], x [B, L, E], mask [B, L] -> weighted sum of the events [B, E].

    An event is x = [k, w], where the candidate also has the fields of k. Its weight is an MLP of
    [q, k, q - k, q * k, w].
    """

    def __init__(self, query, event, hidden, activation):
        super().__init__()
        self.activation = activation
        widths = [3 * query + event, *hidden]
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.out = nn.Linear(widths[-1], 1)

    def forward(self, q_BQ, x_BLE, mask_BL):
        first, *others = [*self.layers, self.out]
        u_BLH = compare(first, q_BQ, x_BLE)
        for layer in others:
            u_BLH = layer(self.activation(u_BLH))
        weights_BL = u_BLH.squeeze(-1).where(mask_BL, 0.0)
        return (weights_BL.unsqueeze(-1) * x_BLE).sum(1)


class Din__he(Din):
    def init_he(self):
        """Initialise the Linears before an activation as in He (2015). Returns the module.

        Weights are uniform with variance 2 / fan-in, biases 0.
        """
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        return self


class Din__gains(Din):
    def init_for(self, *activations):
        """Initialise the Linears for the activations after them. Returns the module.

        Weights are uniform, biases 0.
        """
        for layer, activation in zip(self.layers, activations, strict=True):
            bound = start_bound(activation, *layer.weight.shape)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
        return self


class DinSoftmax(Din):
    """DIN whose weights are normalised by a softmax."""

    def __init__(self, query, event, hidden, activation):
        super().__init__(query, event, hidden, activation)
        self.out = nn.Linear(self.out.in_features, 1, bias=False)

    def forward(self, q_BQ, x_BLE, mask_BL):
        first, *others = [*self.layers, self.out]
        u_BLH = compare(first, q_BQ, x_BLE)
        for layer in others:
            u_BLH = layer(self.activation(u_BLH))
        weights_BL = softmax_of_events(u_BLH.squeeze(-1), mask_BL)
        return (weights_BL.unsqueeze(-1) * x_BLE).sum(1)


class DinDice(nn.Module):
    """DIN: q [B, Q], x [B, L, E], mask [B, L] -> weighted sum of the events [B, E].

    An event is x = [k, w], where the candidate also has the fields of k. Its weight is an MLP of
    [q, k, q - k, q * k, w] with DICE.
    """

    def __init__(self, query, event, hidden, dice):
        super().__init__()
        widths = [3 * query + event, *hidden]
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        for layer in self.layers:
            layer.dice = EventDice(layer.out_features, *dice)
        self.out = nn.Linear(widths[-1], 1)

    def forward(self, q_BQ, x_BLE, mask_BL):
        first, *others = [*self.layers, self.out]
        u_BLH = compare(first, q_BQ, x_BLE)
        for layer, following in zip(self.layers, others, strict=True):
            u_BLH = following(layer.dice(u_BLH, mask_BL))
        weights_BL = u_BLH.squeeze(-1).where(mask_BL, 0.0)
        return (weights_BL.unsqueeze(-1) * x_BLE).sum(1)


class DinDiceSoftmax(DinDice):
    """DIN with DICE whose weights are normalised by a softmax."""

    def __init__(self, query, event, hidden, dice):
        super().__init__(query, event, hidden, dice)
        self.out = nn.Linear(self.out.in_features, 1, bias=False)

    def forward(self, q_BQ, x_BLE, mask_BL):
        first, *others = [*self.layers, self.out]
        u_BLH = compare(first, q_BQ, x_BLE)
        for layer, following in zip(self.layers, others, strict=True):
            u_BLH = following(layer.dice(u_BLH, mask_BL))
        weights_BL = softmax_of_events(u_BLH.squeeze(-1), mask_BL)
        return (weights_BL.unsqueeze(-1) * x_BLE).sum(1)


class DinPReLU(Din):
    """DIN with PReLU, which learns a slope below 0 for each layer."""

    def __init__(self, query, event, hidden):
        super().__init__(query, event, hidden, None)
        for layer in self.layers:
            layer.act = nn.PReLU()

    def forward(self, q_BQ, x_BLE, mask_BL):
        first, *others = [*self.layers, self.out]
        u_BLH = compare(first, q_BQ, x_BLE)
        for layer, following in zip(self.layers, others, strict=True):
            u_BLH = following(layer.act(u_BLH))
        weights_BL = u_BLH.squeeze(-1).where(mask_BL, 0.0)
        return (weights_BL.unsqueeze(-1) * x_BLE).sum(1)


class DinPReLUSoftmax(DinPReLU):
    """DIN with PReLU whose weights are normalised by a softmax."""

    def __init__(self, query, event, hidden):
        super().__init__(query, event, hidden)
        self.out = nn.Linear(self.out.in_features, 1, bias=False)

    def forward(self, q_BQ, x_BLE, mask_BL):
        first, *others = [*self.layers, self.out]
        u_BLH = compare(first, q_BQ, x_BLE)
        for layer, following in zip(self.layers, others, strict=True):
            u_BLH = following(layer.act(u_BLH))
        weights_BL = softmax_of_events(u_BLH.squeeze(-1), mask_BL)
        return (weights_BL.unsqueeze(-1) * x_BLE).sum(1)

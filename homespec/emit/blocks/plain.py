"""The plain form: a module for each expert, gate and tower."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from homespec.emit.blocks.gains import start_bound
from homespec.emit.blocks.precision import Float32Buffers


class MLP(nn.Module):
    """Linear layers with activations between them, but not after the last: x [B, N] -> [B, out]."""

    activation = staticmethod(F.relu)

    def __init__(self, widths):
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(*shape) for shape in pairwise(widths)])

    def forward(self, x_BN):
        for linear in self.linears[:-1]:
            x_BN = self.activation(linear(x_BN))
        return self.linears[-1](x_BN)


class MLP__swish(MLP):
    activation = staticmethod(F.silu)


class MLP__prior(MLP):
    def init_prior(self, rate):
        """Set the last bias to the log-odds of a base rate, where training starts.

        Returns the MLP.
        """
        with torch.no_grad():
            self.linears[-1].bias.copy_(torch.tensor(rate).logit())
        return self


class MLP__he(MLP):
    def init_he(self, last=False):
        """Initialise Linears before an activation as in He (2015); the last one only if `last`.

        Weights are uniform with variance 2 / fan-in, biases 0. Returns the MLP.
        """
        for linear in self.linears[: None if last else -1]:
            nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
        return self


class MLP__gains(MLP):
    def init_for(self, *activations):
        """Initialise the first Linears for the activations after them. Returns the MLP.

        Weights are uniform, biases 0.
        """
        for linear, activation in zip(self.linears, activations, strict=False):
            bound = start_bound(activation, *linear.weight.shape)
            nn.init.uniform_(linear.weight, -bound, bound)
            nn.init.zeros_(linear.bias)
        return self


class SwishMLP(MLP):
    """An MLP whose activation is Swish."""

    activation = staticmethod(F.silu)


class LayeredMLP(MLP):
    """An MLP with modules after each hidden layer, which `hidden(width)` creates."""

    def __init__(self, widths, hidden):
        super().__init__(widths)
        self.hidden = nn.ModuleList([nn.ModuleDict(hidden(width)) for width in widths[1:-1]])

    def forward(self, x_BN):
        for linear, modules in zip(self.linears, self.hidden, strict=False):
            x_BN = linear(x_BN)
            for module in modules.values():
                x_BN = module(x_BN)
        return self.linears[-1](x_BN)


class LayeredMLP__normed(MLP):
    """An MLP with modules after each hidden layer, which `hidden(width)` creates.

    Linears before a batch norm have no bias, which it would remove.
    """

    def __init__(self, widths, hidden):
        super().__init__(widths)
        self.hidden = nn.ModuleList([nn.ModuleDict(hidden(width)) for width in widths[1:-1]])
        for linear, modules in zip(self.linears, self.hidden, strict=False):
            if "norm" in modules and isinstance(modules["norm"], nn.BatchNorm1d):
                linear.bias = None

    def forward(self, x_BN):
        for linear, modules in zip(self.linears, self.hidden, strict=False):
            x_BN = linear(x_BN)
            for module in modules.values():
                x_BN = module(x_BN)
        return self.linears[-1](x_BN)


class LayeredExpert(LayeredMLP):
    """A layered MLP with modules also after the last layer: `last`, by name.

    Linears before a batch norm have no bias, which it would remove.
    """

    def __init__(self, widths, hidden, last):
        super().__init__(widths, hidden)
        if isinstance(last.get("norm"), nn.BatchNorm1d):
            self.linears[-1].bias = None
        for name, module in last.items():
            self.add_module(name, module)
        self.last = list(last.values())

    def forward(self, x_BN):
        x_BN = super().forward(x_BN)
        for module in self.last:
            x_BN = module(x_BN)
        return x_BN


class Expert(MLP):
    """act(norm(MLP(x))): x [B, N] -> [B, D]. Batch norm makes the last bias redundant."""

    def __init__(self, widths, norm, act):
        super().__init__(widths)
        if isinstance(norm, nn.BatchNorm1d):
            self.linears[-1].bias = None
        self.norm, self.act = norm, act

    def forward(self, x_BN):
        return self.act(self.norm(super().forward(x_BN)))


class Expert__batch(MLP):
    """act(norm(MLP(x))): x [B, N] -> [B, D]. Batch norm makes the last bias redundant."""

    def __init__(self, widths, norm, act):
        super().__init__(widths)
        self.linears[-1].bias = None
        self.norm, self.act = norm, act

    def forward(self, x_BN):
        return self.act(self.norm(super().forward(x_BN)))


class Expert__layer(MLP):
    """act(norm(MLP(x))): x [B, N] -> [B, D]."""

    def __init__(self, widths, norm, act):
        super().__init__(widths)
        self.norm, self.act = norm, act

    def forward(self, x_BN):
        return self.act(self.norm(super().forward(x_BN)))


class Expert__bare(MLP):
    """act(MLP(x)): x [B, N] -> [B, D]."""

    def __init__(self, widths, act):
        super().__init__(widths)
        self.act = act

    def forward(self, x_BN):
        return self.act(super().forward(x_BN))


class DiceExpert(MLP):
    """dice(norm(MLP(x))): x [B, N] -> [B, D]. Batch norm makes the last bias redundant."""

    def __init__(self, widths, norm, dice):
        super().__init__(widths)
        if isinstance(norm, nn.BatchNorm1d):
            self.linears[-1].bias = None
        self.norm, self.dice = norm, dice

    def forward(self, x_BN):
        return self.dice(self.norm(super().forward(x_BN)))


class DiceExpert__batch(MLP):
    """dice(norm(MLP(x))): x [B, N] -> [B, D]. Batch norm makes the last bias redundant."""

    def __init__(self, widths, norm, dice):
        super().__init__(widths)
        self.linears[-1].bias = None
        self.norm, self.dice = norm, dice

    def forward(self, x_BN):
        return self.dice(self.norm(super().forward(x_BN)))


class DiceExpert__layer(MLP):
    """dice(norm(MLP(x))): x [B, N] -> [B, D]."""

    def __init__(self, widths, norm, dice):
        super().__init__(widths)
        self.norm, self.dice = norm, dice

    def forward(self, x_BN):
        return self.dice(self.norm(super().forward(x_BN)))


class DiceExpert__bare(MLP):
    """dice(MLP(x)): x [B, N] -> [B, D]."""

    def __init__(self, widths, dice):
        super().__init__(widths)
        self.dice = dice

    def forward(self, x_BN):
        return self.dice(super().forward(x_BN))


class SwishExpert(Expert):
    """An expert whose hidden activation is Swish."""

    activation = staticmethod(F.silu)


class SwishDiceExpert(DiceExpert):
    """An expert whose hidden activation is Swish."""

    activation = staticmethod(F.silu)


class BatchNorm1d(nn.BatchNorm1d):
    """torch's batch norm, with statistics that stay at least float32 when the model is cast."""

    def _apply(self, fn, recurse=True):
        def apply(tensor):
            cast = fn(tensor)
            coarse = cast.is_floating_point() and cast.dtype.itemsize < 4
            return tensor.to(cast.device, torch.float32) if coarse else cast

        return super()._apply(apply, recurse)


class Dice(Float32Buffers):
    """DICE: p u + (1 - p) alpha u with p = sigmoid(BN without affine(u)): u [B, D] -> [B, D]."""

    def __init__(self, width, eps, momentum):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, u_BD):
        running = (self.running_mean, self.running_var)
        normal = F.batch_norm(
            u_BD, *running, training=self.training, momentum=self.momentum, eps=self.eps
        )
        p_BD = normal.sigmoid()
        return p_BD * u_BD + (1 - p_BD) * self.alpha * u_BD


class FoldedDice(Float32Buffers):
    """DICE with constant statistics: p u + (1 - p) alpha u with p = sigmoid(scale u + shift)."""

    def __init__(self, width):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("shift", torch.zeros(width))

    def forward(self, u_BD):
        p_BD = (u_BD * self.scale + self.shift).sigmoid()
        return (p_BD * u_BD + (1 - p_BD) * self.alpha * u_BD).to(u_BD.dtype)


def experts(count, make, *widths):
    """A set of experts."""
    return nn.ModuleList([make(*widths) for _ in range(count)])


def each(experts, x_BN):
    """The outputs of all experts of a set, as a list of [B, D]."""
    return [expert(x_BN) for expert in experts]


def each_its_own(experts, xs_BN):
    """The outputs of all experts of a set, each with its own input, as a list of [B, D]."""
    return [expert(x_BN) for expert, x_BN in zip(experts, xs_BN, strict=True)]


class LoRA(nn.Module):
    """(x down) up: x [B, N] -> [B, N]; `up` starts at 0."""

    def __init__(self, width, rank):
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x_BN):
        return self.up(self.down(x_BN))


class _FeatureGate(nn.Module):
    def __init__(self, width, loras, rank):
        super().__init__()
        self.loras = nn.ModuleList([LoRA(width, rank) for _ in range(loras)])
        self.router = nn.Linear(width, loras)


class FeatureGate(_FeatureGate):
    """x [B, N] -> x ⊙ Fea_Gate(x), a mixture of L LoRAs 2 sigmoid(LoRA(x)), initially 1."""

    def forward(self, x_BN):
        weights_BL = self.router(x_BN).softmax(-1)
        return x_BN * mix(weights_BL, [2 * lora(x_BN).sigmoid() for lora in self.loras])


class FeatureGateOfLogits(_FeatureGate):
    """x [B, N] -> x ⊙ Fea_Gate(x), 2 sigmoid of a mixture of L LoRAs, initially 1."""

    def forward(self, x_BN):
        weights_BL = self.router(x_BN).softmax(-1)
        return x_BN * 2 * mix(weights_BL, [lora(x_BN) for lora in self.loras]).sigmoid()


class SingleFeatureGate(nn.Module):
    """x [B, N] -> x ⊙ Fea_Gate(x) = x ⊙ 2 sigmoid(LoRA(x)), initially x."""

    def __init__(self, width, rank):
        super().__init__()
        self.loras = nn.ModuleList([LoRA(width, rank)])

    def forward(self, x_BN):
        return x_BN * 2 * self.loras[0](x_BN).sigmoid()


class StaticGate(nn.Module):
    """The logits [B, C] of a gate without inputs: a parameter each, initially 0.

    x [B, N] only says how many rows there are.
    """

    def __init__(self, choices):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(choices))

    def forward(self, x_BN):
        return x_BN.new_zeros(len(x_BN), 1) + self.bias


class StaticSelfGate(nn.Module):
    """The weights [B, C] of a self gate without inputs: a parameter each, initially 1/C.

    x [B, N] only says how many rows there are.
    """

    def __init__(self, choices):
        super().__init__()
        self.weights = nn.Parameter(torch.full((choices,), 1 / choices))

    def forward(self, x_BN):
        return x_BN.new_zeros(len(x_BN), 1) + self.weights


def detached(experts):
    """The outputs of experts [B, D], without gradients to them."""
    return [e_BD.detach() for e_BD in experts]


def mix(weights_BK, experts):
    """Weighted sum of the experts [B, D]."""
    columns = weights_BK.split(1, dim=-1)
    return sum(w_B1 * e_BD for w_B1, e_BD in zip(columns, experts, strict=True))

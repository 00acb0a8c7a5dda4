"""The plain form of feature gates that are computed of other values than they scale, or of MLPs."""

from torch import nn

from homespec.emit.blocks.plain import mix


class ReadingLoRA(nn.Module):
    """(read down) up: read [B, M] -> [B, N]; `up` starts at 0."""

    def __init__(self, read_width, width, rank):
        super().__init__()
        self.down = nn.Linear(read_width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, read_BM):
        return self.up(self.down(read_BM))


class _ReadingGate(nn.Module):
    def __init__(self, read_width, width, loras, rank):
        super().__init__()
        self.loras = nn.ModuleList([ReadingLoRA(read_width, width, rank) for _ in range(loras)])
        self.router = nn.Linear(read_width, loras)


class ReadingGate(_ReadingGate):
    """x [B, N] -> x times a mixture of L LoRAs 2 sigmoid(LoRA(read)), each 1 at first.

    The gate is computed of read [B, M].
    """

    def forward(self, x_BN, read_BM):
        weights_BL = self.router(read_BM).softmax(-1)
        return x_BN * mix(weights_BL, [2 * lora(read_BM).sigmoid() for lora in self.loras])


class ReadingGateOfLogits(_ReadingGate):
    """x [B, N] -> x times 2 sigmoid of a mixture of L LoRAs of read [B, M], 1 at first."""

    def forward(self, x_BN, read_BM):
        weights_BL = self.router(read_BM).softmax(-1)
        return x_BN * 2 * mix(weights_BL, [lora(read_BM) for lora in self.loras]).sigmoid()


class SingleReadingGate(nn.Module):
    """x [B, N] -> x times 2 sigmoid(LoRA(read)), 1 at first: read [B, M]."""

    def __init__(self, read_width, width, rank):
        super().__init__()
        self.loras = nn.ModuleList([ReadingLoRA(read_width, width, rank)])

    def forward(self, x_BN, read_BM):
        return x_BN * 2 * self.loras[0](read_BM).sigmoid()


class GateMLP(nn.Module):
    """up relu(down read): read [B, M] -> [B, N]; `up` and its bias start at 0."""

    def __init__(self, read_width, width, rank):
        super().__init__()
        self.down = nn.Linear(read_width, rank)
        self.up = nn.Linear(rank, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, read_BM):
        return self.up(self.down(read_BM).relu())


class MLPFeatureGate(nn.Module):
    """x [B, N] -> x times 2 sigmoid(MLP(read)), 1 at first: read [B, M]."""

    def __init__(self, read_width, width, rank):
        super().__init__()
        self.loras = nn.ModuleList([GateMLP(read_width, width, rank)])

    def forward(self, x_BN, read_BM):
        return x_BN * 2 * self.loras[0](read_BM).sigmoid()

"""Dense features."""

import torch
from torch import nn

from homespec.emit.blocks.constants import FEATURES


def nan_to_zero(x_BN):
    """A dense feature with 0 in place of missing numbers."""
    return x_BN.masked_fill(x_BN.isnan(), 0.0)


class Dense(nn.Module):
    """Dense vectors [B, N], unchanged; 0 for missing numbers."""

    def __init__(self, _):
        super().__init__()

    def forward(self, x_BN):
        return nan_to_zero(x_BN)


class Learned(nn.Module):
    """Dense vectors [B, N]: 0 for missing numbers, or a learned vector if all are missing."""

    def __init__(self, field):
        super().__init__()
        self.missing = nn.Parameter(torch.zeros(field["length"]))

    def forward(self, x_BN):
        return torch.where(x_BN.isnan().all(1, keepdim=True), self.missing, nan_to_zero(x_BN))


class Projected(nn.Module):
    """Dense vectors [B, N] -> [B, width] by a Linear; 0 for missing numbers."""

    def __init__(self, field):
        super().__init__()
        self.projection = nn.Linear(field["length"], field["width"])

    def forward(self, x_BN):
        return self.projection(nan_to_zero(x_BN).to(self.projection.weight.dtype))


class LearnedProjected(nn.Module):
    """Dense vectors [B, N] -> [B, width] by a Linear, which reads 0 for missing numbers.

    If all are missing, it reads a learned vector.
    """

    def __init__(self, field):
        super().__init__()
        self.missing = nn.Parameter(torch.zeros(field["length"]))
        self.projection = nn.Linear(field["length"], field["width"])

    def forward(self, x_BN):
        known_BN = nan_to_zero(x_BN)
        known_BN = torch.where(x_BN.isnan().all(1, keepdim=True), self.missing, known_BN)
        return self.projection(known_BN.to(self.projection.weight.dtype))


class Vectors(nn.ModuleDict):
    """The modules of dense features by name; `kinds` gives the class of each kind."""

    def __init__(self, kinds):
        fields = {name: field for name, field in FEATURES.items() if field["kind"] in kinds}
        super().__init__({name: kinds[field["kind"]](field) for name, field in fields.items()})

    def _logical(self):
        for name in self.state_dict():
            yield name, f"features.{name}", ...

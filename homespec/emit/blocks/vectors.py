"""Dense features."""

import torch
from torch import nn

from homespec.emit.blocks.constants import FEATURES


def nan_to_zero(x_BN):
    """Missing numbers of a dense feature become 0."""
    return x_BN.masked_fill(x_BN.isnan(), 0.0)


class Dense(nn.Module):
    """Dense vectors [B, N] as they are; 0 where missing."""

    def __init__(self, _):
        super().__init__()

    def forward(self, x_BN):
        return nan_to_zero(x_BN)


class Learned(nn.Module):
    """Dense vectors [B, N] as they are: 0 where missing, a learned vector where all is."""

    def __init__(self, field):
        super().__init__()
        self.missing = nn.Parameter(torch.zeros(field["length"]))

    def forward(self, x_BN):
        return torch.where(x_BN.isnan().all(1, keepdim=True), self.missing, nan_to_zero(x_BN))


class Projected(nn.Module):
    """Dense vectors [B, N] -> [B, width] by a Linear; 0 where missing."""

    def __init__(self, field):
        super().__init__()
        self.projection = nn.Linear(field["length"], field["width"])

    def forward(self, x_BN):
        return self.projection(nan_to_zero(x_BN).to(self.projection.weight.dtype))


class LearnedProjected(nn.Module):
    """Dense vectors [B, N] -> [B, width] by a Linear: it reads 0 where a number is missing.

    Where all are missing it reads a learned vector.
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

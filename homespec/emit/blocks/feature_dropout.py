"""Dropout of some of the features."""

import torch
from torch import nn


class PartsDropout(nn.Module):
    """Dropout of parts of v [B, width]: share -> the names of the features that it applies to.

    In training, each element is independently set to 0 with probability p = share, or else divided
    by 1 - p.
    """

    def __init__(self, features):
        super().__init__()
        self.features = list(features.values())
        self.dropouts = nn.ModuleList([nn.Dropout(share) for share in features])

    def forward(self, parts):
        if not self.training:
            return parts
        for names, dropout in zip(self.features, self.dropouts, strict=True):
            together = dropout(torch.cat([parts[name] for name in names], dim=1))
            widths = [parts[name].shape[1] for name in names]
            parts = parts | dict(zip(names, together.split(widths, dim=1), strict=True))
        return parts

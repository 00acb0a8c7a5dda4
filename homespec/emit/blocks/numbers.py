"""Numbers that are columns of the input, scaled by what is fitted to data.

They are computed in float64, which has room for times in milliseconds, then cast as weights are.
"""

import torch
from torch import nn

from homespec.emit.blocks.constants import FEATURES


def as_column(x, dtype):
    """Numbers [B] -> [B, 1] of the model's type; 0 for NaN."""
    return x.masked_fill(x.isnan(), 0.0).to(dtype).unsqueeze(1)


def log_of(x):
    """sign(x) log(1 + |x|): rises with x, is near x around 0, and takes all numbers."""
    return x.sign() * x.abs().log1p()


class Number(nn.Module):
    """Numbers [B] -> [B, 1], as they are; 0 where missing."""

    def __init__(self, _):
        super().__init__()
        self.dtype = torch.get_default_dtype()

    def _apply(self, fn, recurse=True):
        self.dtype = fn(torch.empty(0, dtype=self.dtype)).dtype  # what weights are cast to
        return super()._apply(fn, recurse)

    def forward(self, x):
        return as_column(x.double(), self.dtype)


class Scaled(Number):
    """Numbers [B] -> [B, 1]: x - offset in units that are fitted to data; 0 where missing.

    `set_scaling` sets offset and unit, weights are kept with them. They stay float64, whatever type
    the model is cast to.
    """

    def __init__(self, _):
        super().__init__(_)
        self.register_buffer("scaling", torch.full((2,), torch.nan, dtype=torch.float64))

    def _apply(self, fn, recurse=True):
        scaling = self.scaling
        super()._apply(fn, recurse)
        if self.scaling.dtype != torch.float64:
            self.scaling = scaling.to(self.scaling.device)
        return self

    def forward(self, x):
        offset, unit = self.scaling.unbind()
        return as_column((x.double() - offset) / unit, self.dtype)


class LogScaled(Scaled):
    """Numbers [B] -> [B, 1]: as `Scaled`, of their logarithms."""

    def forward(self, x):
        return super().forward(log_of(x.double()))


class Numbers(nn.ModuleDict):
    """What scales numbers, by feature; `kinds` gives the class of each kind."""

    def __init__(self, kinds):
        fields = {name: field for name, field in FEATURES.items() if field["kind"] in kinds}
        super().__init__({name: kinds[field["kind"]](field) for name, field in fields.items()})

    def _logical(self):
        for name in self.state_dict():
            yield name, f"features.{name}", ...

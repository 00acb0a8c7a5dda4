"""Numbers that are columns of the input, scaled by values that are fitted to data.

They are computed in float64, which represents times in milliseconds exactly, and then cast to the
model's type.
"""

import torch
from torch import nn

from homespec.emit.blocks.constants import FEATURES


def as_column(x, dtype):
    """Numbers [B] -> [B, 1] of the model's type; 0 for NaN."""
    return x.masked_fill(x.isnan(), 0.0).to(dtype).unsqueeze(1)


def log_of(x):
    """sign(x) log(1 + |x|): increases with x, is close to x near 0, and is defined for all x."""
    return x.sign() * x.abs().log1p()


class Number(nn.Module):
    """Numbers [B] -> [B, 1], not scaled; 0 for missing numbers."""

    def __init__(self, _):
        super().__init__()
        self.dtype = torch.get_default_dtype()

    def _apply(self, fn, recurse=True):
        self.dtype = fn(torch.empty(0, dtype=self.dtype)).dtype  # the type of cast weights
        return super()._apply(fn, recurse)

    def forward(self, x):
        return as_column(x.double(), self.dtype)


class Scaled(Number):
    """Numbers [B] -> [B, 1]: (x - offset) / unit, fitted to data; 0 for missing numbers.

    `set_scaling` sets offset and unit, which are saved with the weights. They stay float64,
    whatever type the model is cast to.
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
    """Numbers [B] -> [B, 1]: like `Scaled`, for their logarithms."""

    def forward(self, x):
        return super().forward(log_of(x.double()))


class Numbers(nn.ModuleDict):
    """The modules that scale numbers, by feature; `kinds` gives the class of each kind."""

    def __init__(self, kinds):
        fields = {name: field for name, field in FEATURES.items() if field["kind"] in kinds}
        super().__init__({name: kinds[field["kind"]](field) for name, field in fields.items()})

    def _logical(self):
        for name in self.state_dict():
            yield name, f"features.{name}", ...

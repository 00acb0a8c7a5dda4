"""Oracle: what a gate reads by its `input` and `detach`, from the plain dict of its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Slices = dict[str, list[int]]
"""Where the columns of each feature are in v."""


class Reading:
    """Columns of features in the order of v, those with a gradient first, then states by word."""

    def __init__(self, options: dict[str, Any], slices: Slices) -> None:
        given, cut = options["input"], options["detach"]
        self.entries: list[str] = [given] if isinstance(given, str) else given
        self.cut: list[str] = (self.entries if cut else []) if isinstance(cut, bool) else cut
        self.slices = slices
        features = [name for name in slices if name in self.entries]
        self.features = sorted(features, key=lambda name: name in self.cut)
        self.words = [e for e in self.entries if e not in slices and e != "none"]

    def width(self, of_word: Callable[[str], int]) -> int:
        """How many numbers it is, of the widths of its words."""
        own = sum(len(self.slices[name]) for name in self.features)
        return own + sum(map(of_word, self.words))

    def __call__(self, v: Tensor, of_word: Callable[[str], Tensor]) -> Tensor:
        """The values side by side."""
        parts = {name: v[:, self.slices[name]] for name in self.features}
        parts |= {word: of_word(word) for word in self.words}
        return torch.cat([p.detach() if n in self.cut else p for n, p in parts.items()], 1)

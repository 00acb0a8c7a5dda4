"""Embedding tables of an optimised file: all features of one width have one."""

import torch
import torch.nn.functional as F
from torch import nn

from homespec.emit.blocks.constants import FEATURES


def with_dim(dim):
    """The lines of FEATURES of all whose embeddings are of this width."""
    return {name: field for name, field in FEATURES.items() if field.get("dim") == dim}


def slices_of(fields):
    """The part of their table that each feature has."""
    slices, end = {}, 0
    for name, field in fields.items():
        slices[name] = slice(end, end + field["rows"])
        end += field["rows"]
    return slices


def slices_of__shared(fields):
    """The part of their table in which each feature is looked up: its own, or that of another."""
    slices, end = {}, 0
    for name, field in fields.items():
        if "table" not in field:
            slices[name] = slice(end, end + field["rows"])
            end += field["rows"]
    others = {name: field["table"] for name, field in fields.items() if "table" in field}
    return slices | {name: slices[owner] for name, owner in others.items()}


def embeddings(rows, width):
    """A new table."""
    return nn.Parameter(torch.empty(rows, width).normal_(std=0.05))


def embeddings__inference(rows, width):
    """A table that weights are loaded into."""
    return nn.Parameter(torch.zeros(rows, width))


class Table(nn.Module):
    """The embeddings of features of one width, below each other in one table.

    All look-ups are one: rows [B] by name -> embeddings [B, width] by name.
    """

    def __init__(self, fields):
        super().__init__()
        self.slices = slices_of(fields)
        self.starts = {name: part.start for name, part in self.slices.items()}
        rows = max(part.stop for part in self.slices.values())
        self.weight = embeddings(rows, next(iter(fields.values()))["dim"])

    def logical(self):
        for name, part in self.slices.items():
            yield "weight", f"features.{name}.weight", part

    def forward(self, rows):
        rows_FB = torch.stack([rows[name] + start for name, start in self.starts.items()])
        return dict(zip(self.starts, F.embedding(rows_FB, self.weight).unbind(), strict=True))


class Table__events(nn.Module):
    """The embeddings of features of one width, below each other in one table.

    All look-ups are one: rows [B], of events [B, L], by name -> embeddings [..., width] by name.
    """

    def __init__(self, fields):
        super().__init__()
        self.slices = slices_of(fields)
        self.starts = {name: part.start for name, part in self.slices.items()}
        rows = max(part.stop for part in self.slices.values())
        self.weight = embeddings(rows, next(iter(fields.values()))["dim"])
        self.groups = {}  # features whose rows have one shape: single ones, and each sequence's
        for name in self.slices:
            self.groups.setdefault(fields[name].get("sequence"), []).append(name)

    def logical(self):
        for name, part in self.slices.items():
            yield "weight", f"features.{name}.weight", part

    def forward(self, rows):
        groups = [
            torch.stack([rows[name] + self.starts[name] for name in names])
            for names in self.groups.values()
        ]
        all_NE = F.embedding(torch.cat([group.flatten() for group in groups]), self.weight)
        found, end = {}, 0
        for names, group in zip(self.groups.values(), groups, strict=True):
            start, end = end, end + group.numel()
            parts = all_NE[start:end].unflatten(0, group.shape).unbind()
            found |= zip(names, parts, strict=True)
        return found


class Table__shared(Table):
    def logical(self):
        for name, part in self.slices.items():
            if "table" not in FEATURES[name]:
                yield "weight", f"features.{name}.weight", part


class Table__searched(Table):
    def peek(self, name, rows):
        """The embeddings of one feature alone."""
        return F.embedding(rows + self.starts[name], self.weight)

"""Embedding tables of an optimised file: all features of one width have one."""

import torch
import torch.nn.functional as F
from torch import nn

from homespec.emit.blocks.constants import CROSSES, FEATURES, USER


def embeddings(rows, dim):
    """A new embedding table."""
    return nn.Parameter(torch.empty(rows, dim).normal_(std=0.01))


def embeddings__inference(rows, dim):
    """A table of zeros, to be replaced by loaded weights."""
    return nn.Parameter(torch.zeros(rows, dim))


class Table(nn.Module):
    """Embeddings of features of the same width, with their rows stacked in one table.

    A single look-up serves all of them: rows [B] by name -> embeddings [B, width] by name.
    """

    def __init__(self, fields):
        super().__init__()
        self.starts, end = {}, 0
        for name, field in fields.items():
            self.starts[name] = end
            end += field["rows"]
        self.weight = embeddings(end, field["dim"])

    def _logical(self):
        for name, start in self.starts.items():
            part = slice(start, start + FEATURES[name]["rows"])
            yield "weight", f"features.{name}.weight", part

    def forward(self, rows):
        rows_FB = torch.stack([rows[name] + start for name, start in self.starts.items()])
        return dict(zip(self.starts, F.embedding(rows_FB, self.weight).unbind(), strict=True))


class Table__crossed(Table):
    def _logical(self):
        for name, start in self.starts.items():
            part = slice(start, start + (FEATURES | CROSSES)[name]["rows"])
            yield "weight", f"features.{name}.weight", part


class Table__shared(nn.Module):
    """Embeddings of features of the same width, with their rows stacked in one table.

    A single look-up serves all of them: rows [B] by name -> embeddings [B, width] by name. A
    feature may use the rows of another one, its `table`.
    """

    def __init__(self, fields):
        super().__init__()
        self.slices, end = {}, 0
        for name, field in fields.items():
            if "table" not in field:
                self.slices[name] = slice(end, end + field["rows"])
                end += field["rows"]
        self.starts = {n: self.slices[f.get("table", n)].start for n, f in fields.items()}
        self.weight = embeddings(end, field["dim"])

    def _logical(self):
        for name, part in self.slices.items():
            yield "weight", f"features.{name}.weight", part

    def forward(self, rows):
        rows_FB = torch.stack([rows[name] + start for name, start in self.starts.items()])
        return dict(zip(self.starts, F.embedding(rows_FB, self.weight).unbind(), strict=True))


class Table__events(nn.Module):
    """Embeddings of features of the same width, with their rows stacked in one table.

    A single look-up serves all of them: rows [B], or [B, L] for events, by name -> embeddings [...,
    width] by name. A feature may use the rows of another one, its `table`.
    """

    def __init__(self, fields):
        super().__init__()
        self.slices, end = {}, 0
        for name, field in fields.items():
            if "table" not in field:
                self.slices[name] = slice(end, end + field["rows"])
                end += field["rows"]
        self.starts, self.groups = {}, {}  # a group for single values, and one for each sequence
        for name, field in fields.items():
            self.starts[name] = self.slices[field.get("table", name)].start
            self.groups.setdefault(field.get("sequence"), []).append(name)
        self.weight = embeddings(end, field["dim"])

    def _logical(self):
        for name, part in self.slices.items():
            yield "weight", f"features.{name}.weight", part

    def forward(self, rows):
        groups = [
            torch.stack([rows[name] + self.starts[name] for name in names])
            for names in self.groups.values()
        ]
        all_NE = F.embedding(torch.cat([group.flatten() for group in groups]), self.weight)
        parts, end = {}, 0
        for names, group in zip(self.groups.values(), groups, strict=True):
            start, end = end, end + group.numel()
            group_E = all_NE[start:end].unflatten(0, group.shape).unbind()
            parts |= zip(names, group_E, strict=True)
        return parts


class Table__split(nn.Module):
    """Embeddings of features of the same width, with their rows stacked in one table.

    A single look-up serves all of them: rows [B], or [B, L] for events, by name -> embeddings [...,
    width] by name; the user has one row. A feature may use the rows of another one, its `table`.
    """

    def __init__(self, fields):
        super().__init__()
        self.slices, end = {}, 0
        for name, field in fields.items():
            if "table" not in field:
                self.slices[name] = slice(end, end + field["rows"])
                end += field["rows"]
        self.starts, self.groups = {}, {}  # by shape: single values, and events of each sequence
        for name, field in fields.items():
            self.starts[name] = self.slices[field.get("table", name)].start
            self.groups.setdefault(group_of(name, field), []).append(name)
        self.weight = embeddings(end, field["dim"])

    def _logical(self):
        for name, part in self.slices.items():
            yield "weight", f"features.{name}.weight", part

    def forward(self, rows):
        groups = [
            torch.stack([rows[name] + self.starts[name] for name in names])
            for names in self.groups.values()
        ]
        all_NE = F.embedding(torch.cat([group.flatten() for group in groups]), self.weight)
        parts, end = {}, 0
        for names, group in zip(self.groups.values(), groups, strict=True):
            start, end = end, end + group.numel()
            group_E = all_NE[start:end].unflatten(0, group.shape).unbind()
            parts |= zip(names, group_E, strict=True)
        return parts


class Table__placed(nn.Module):
    """Embeddings of features of the same width, with their rows stacked in one table.

    A single look-up serves all of them: rows [B], or [B, L] for events, by name -> embeddings [...,
    width] by name. A feature with a table `at` each of P nodes gets P embeddings, [..., P * width].
    A feature may use the rows of another one, its `table`.
    """

    def __init__(self, fields):
        super().__init__()
        self.starts, self.slices, self.at, end = {}, {}, {}, 0
        for name, field in fields.items():
            if "table" not in field:
                self.starts[name] = end
                if "at" in field:
                    self.at[name] = (len(field["at"]), field["rows"])
                for node in field.get("at", ("",)):
                    table = f"features.{name}.{node}".rstrip(".")
                    self.slices[f"{table}.weight"] = slice(end, end + field["rows"])
                    end += field["rows"]
        self.starts = {n: self.starts[f.get("table", n)] for n, f in fields.items()}
        self.weight = embeddings(end, field["dim"])

    def _logical(self):
        for name, part in self.slices.items():
            yield "weight", name, part

    def rows_of(self, name, rows):
        """The rows of the whole table, [..., P] for a feature with P tables."""
        start = self.starts[name]
        if name not in self.at:
            return rows + start
        tables, size = self.at[name]
        starts = torch.arange(start, start + tables * size, size, device=rows.device)
        return rows.unsqueeze(-1) + starts

    def forward(self, rows):
        found = {name: self.rows_of(name, rows[name]) for name in self.starts}
        all_NE = F.embedding(torch.cat([each.flatten() for each in found.values()]), self.weight)
        parts, end = {}, 0
        for name, each in found.items():
            start, end = end, end + each.numel()
            parts[name] = all_NE[start:end].view(*rows[name].shape, -1)
        return parts


def group_of(name, field):
    """What a tensor is stacked with: the events of its sequence, or values of as many rows."""
    return field.get("sequence", name in USER)


def group_of__crossed(name, field):
    """What a tensor is stacked with: the events of its sequence, or values of as many rows.

    A cross has one row where both ids are the user's.
    """
    return field.get("sequence", all(n in USER for n in field.get("of", (name,))))


class Table__searched(Table):
    def peek(self, name, rows):
        """The embeddings of a single feature."""
        return F.embedding(rows + self.starts[name], self.weight)

"""Export: deterministic sample rows that test a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor

from homespec.export.inputs import Input

MISSING_SHARE = 0.1
FAVOURITES = 8
"""Every other id is among this many, so that searches among events find something."""
LARGE_ID = 2**62
Boundaries = Mapping[str, Sequence[float]]
"""Numbers to include, by the tensor that owns a table or is scaled."""


def samples(inputs: Sequence[Input], boundaries: Boundaries, rows: int) -> dict[str, Tensor]:
    """Features of `rows` rows by name: known, unknown and missing ids, numbers on boundaries and
    between them, missing vectors, histories of every length.
    """
    random = Generator().manual_seed(rows)
    counts = {each.tensor.feature: _counts(each, rows, random) for each in inputs}
    return {each.name: _values(each, boundaries, counts, rows, random) for each in inputs}


def as_rows(inputs: Sequence[Input], features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The features of a request as those of whole rows: what is the user's, in each of them."""
    user = {each.name for each in inputs if each.user}
    rows = max(len(tensor) for tensor in features.values())
    return {
        name: tensor.expand(rows, *tensor.shape[1:]).contiguous() if name in user else tensor
        for name, tensor in features.items()
    }


def _counts(one: Input, rows: int, random: Generator) -> Tensor:
    """Number of events of a field's sequence in each row [rows]."""
    return torch.randint(one.tensor.length + 1, (1 if one.user else rows,), generator=random)


def _values(
    one: Input, boundaries: Boundaries, counts: dict[str, Tensor], rows: int, random: Generator
) -> Tensor:
    shape, tensor = (1 if one.user else rows, *one.row), one.tensor
    if tensor.kind == "id":
        values, missing = _ids(one, boundaries.get(tensor.table, ()), shape, random), -1.0
    elif tensor.kind == "number":
        values, missing = (
            _numbers(boundaries[tensor.table or tensor.name], shape, random),
            torch.nan,
        )
    elif tensor.kind == "weight":
        values, missing = torch.rand(shape, generator=random), torch.nan
    else:
        values, missing = _vectors(shape, random), torch.nan
    if tensor.length:
        gone = torch.arange(tensor.length) >= counts[tensor.feature].unsqueeze(1)
        values = values.masked_fill(gone.view(*gone.shape, *[1] * (len(shape) - 2)), missing)
    return values.to(one.torch_dtype)


def _ids(one: Input, words: Sequence[float], shape: tuple[int, ...], random: Generator) -> Tensor:
    """Ids with some unknown and missing ones [*shape]; `words` are those of a fitted vocabulary."""
    tensor = one.tensor
    largest = tensor.vocab + 1 if tensor.vocab else LARGE_ID
    any_id = torch.randint(-1, largest, shape, generator=random)
    few = torch.randint(min(FAVOURITES, tensor.vocab or FAVOURITES), shape, generator=random)
    if tensor.words:
        known = torch.tensor(words, dtype=torch.int64)
        few = known[torch.randint(len(known), shape, generator=random)]
    return torch.where(_chosen(shape, 0.5, random), few, any_id)


def _numbers(boundaries: Sequence[float], shape: tuple[int, ...], random: Generator) -> Tensor:
    """Numbers float64 [*shape] around boundaries, a third of them on one, some missing."""
    known = torch.tensor([*boundaries] or [0.0], dtype=torch.float64)
    width = float(known.max() - known.min()) or 1.0
    on = known[torch.randint(len(known), shape, generator=random)]
    beside = torch.randn(shape, generator=random, dtype=torch.float64) * width / len(known)
    numbers = torch.where(_chosen(shape, 1 / 3, random), on, on + beside)
    return numbers.masked_fill(_chosen(shape, MISSING_SHARE, random), torch.nan)


def _vectors(shape: tuple[int, ...], random: Generator) -> Tensor:
    """Vectors [..., width], some of them missing and some with one missing number."""
    vectors = torch.randn(shape, generator=random)
    vectors = vectors.masked_fill(_chosen(shape, MISSING_SHARE / shape[-1], random), torch.nan)
    return vectors.masked_fill(_chosen((*shape[:-1], 1), MISSING_SHARE, random), torch.nan)


def _chosen(shape: tuple[int, ...], share: float, random: Generator) -> Tensor:
    return torch.rand(shape, generator=random) < share

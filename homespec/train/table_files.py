"""Training: initialises tables with the vectors of a file, before the first step.

The file is read once. From then on, the vectors are ordinary weights in every checkpoint: a run
that is resumed, or starts from another, does not open the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from homespec.api import LoadedSpec
from homespec.data import DataError, columns
from homespec.data.columns import Array
from homespec.data.table_cover import located
from homespec.runtime import GeneratedModule
from homespec.schema.fitted_columns import VOCABULARY
from homespec.schema.input_tensors import InputTensor, input_tensors
from homespec.train.vector_file import vectors_of
from homespec.train.vocabularies import Vocabularies

WEIGHT = "features.{}.weight"
NO_ROWS: Mapping[str, Sequence[range]] = MappingProxyType({})
NO_IDS: Mapping[str, int] = MappingProxyType({})


def ids_of_vocabularies(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Number of ids of fitted vocabularies by feature, except unknown ones."""
    begin, end = VOCABULARY.split("{}")
    held = {n[len(begin) : -len(end)]: each for n, each in state.items() if n.endswith(end)}
    return {
        name: len(Vocabularies.numbers_of(tensor.tolist()))
        for name, tensor in held.items()
        if not tensor.isnan().any()
    }


def frozen_tables(spec: LoadedSpec) -> frozenset[str]:
    """The logical names of the tables that keep the vectors of their files."""
    return frozenset(WEIGHT.format(name) for name, f in spec.features.items() if f.frozen)


def check_files(spec: LoadedSpec) -> None:
    """Raise DataError for a file that does not exist or is not in the spec's repository."""
    for name, feature in spec.features.items():
        if feature.from_:
            _located(spec, name)


def fill_tables(
    model: nn.Module, code: GeneratedModule, spec: LoadedSpec, carried: Collection[str],
    say: Callable[[str], None], carried_rows: Mapping[str, Sequence[range]] = NO_ROWS,
    ids_before: Mapping[str, int] = NO_IDS,
) -> None:  # fmt: skip
    """Copy the vectors of files into the tables of a model whose vocabularies are known.

    Tables whose names are among those `carried` over from another run stay as they are, and so do
    `carried_rows` of tables that are trained: what they have learned is not in the file. The
    rows of ids that a vocabulary did not have before (`ids_before`) are not among them. Rows that
    the file lacks, that of missing and unknown ids too, are zeros where the table is frozen, and
    else as in a new table. Raises DataError.
    """
    state = code.logical_state(model)
    ids_now = ids_of_vocabularies(state)
    for tensor in input_tensors(spec):
        feature = spec.features[tensor.feature]
        if not feature.from_ or tensor.kind != "id":
            continue
        weight, ids = WEIGHT.format(tensor.name), ids_before.get(tensor.name)
        own = carried_rows.get(weight, ())
        if weight in carried:
            if feature.frozen or ids == ids_now.get(tensor.name):
                say(f"the table of {tensor.name} is carried over, not read from {feature.from_}")
                continue
            own = (range(len(state[weight])),)
        if ids is not None:  # rows without an id have learned nothing
            own = [range(each.start, min(each.stop, 1 + ids)) for each in own]
        path = _located(spec, tensor.name)
        if own and not feature.frozen:
            _fill_others(state, tensor, path, own, say)
        else:
            _fill(state, tensor, path, feature.frozen, say)


def _fill(
    state: Mapping[str, Tensor], tensor: InputTensor, path: Path, frozen: bool,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    if frozen:
        state[WEIGHT.format(tensor.name)].zero_()
    filled = _write(state, tensor, path, np.empty(0, np.int64))
    if not filled:
        raise DataError(f"{path} has no vector for any id of `{tensor.name}`")
    kept = ", which are kept as they are" if frozen else ""
    say(f"the table of {tensor.name} begins with {filled:,} vectors of {path.name}{kept}")


def _fill_others(
    state: Mapping[str, Tensor], tensor: InputTensor, path: Path, carried: Sequence[range],
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """The rows that are not carried over; rows without a vector in the file are new."""
    filled = _write(state, tensor, path, np.concatenate([np.array(own) for own in carried]))
    rows = f"{sum(map(len, carried)):,} rows carried over"
    more = f"{filled:,} more begin with vectors of {path.name}"
    say(f"the table of {tensor.name} has {rows}, and {more}")


def _write(state: Mapping[str, Tensor], tensor: InputTensor, path: Path, carried: Array) -> int:
    """Write the vectors of a file, except into carried rows; returns their number."""
    weight, filled = state[WEIGHT.format(tensor.name)], 0
    shape = (len(weight) - 1, weight.shape[1])
    for rows, vectors in vectors_of(path, shape, _rows_of(state, tensor)):
        others = ~np.isin(rows, carried)
        at = torch.from_numpy(rows[others]).to(weight.device)
        weight[at] = torch.from_numpy(vectors[others]).to(weight)
        filled += len(at)
    return filled


def _rows_of(state: Mapping[str, Tensor], tensor: InputTensor) -> Callable[[pa.Array], Array]:
    """A function that finds the rows of a column of ids; 0 for ids without a row."""
    ids: Sequence[int] = range(tensor.vocab)
    if tensor.words:
        ids = Vocabularies.numbers_of(state[VOCABULARY.format(tensor.name)].tolist())
    order = np.argsort(np.array(ids, np.int64))
    known = np.array(ids, np.int64)[order]

    def rows(column: pa.Array) -> Array:
        found = columns.values(tensor, column)
        at = np.minimum(np.searchsorted(known, found), len(known) - 1)
        own: Array = np.where(known[at] == found, 1 + order[at], 0)
        return own

    return rows


def _located(spec: LoadedSpec, name: str) -> Path:
    """The file of a feature. Raises DataError for one that is not in the spec's repository."""
    return located(spec.analysis.document, name, spec.features[name].from_)

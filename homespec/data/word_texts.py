"""Data: the texts of the ids of fitted vocabularies, for readers of their files. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from homespec.data.cell_ids import BLANKS, text_id
from homespec.data.chunk_reader import slabs
from homespec.data.columns import as_lists, decoded, is_text
from homespec.data.data_files import DataFiles
from homespec.data.plan import Plan
from homespec.schema.input_tensors import InputTensor, input_tensors

if TYPE_CHECKING:
    from homespec.schema.models import Spec


def texts_of(
    spec: Spec, files: DataFiles, ids: Mapping[str, Collection[int]]
) -> dict[str, dict[int, str]]:
    """The texts of these ids, if the files write them as text: tensor -> {id: text}.

    The files are read until all texts are found. Texts without a row are not kept.
    """
    sought = {name: set(own) for name, own in ids.items()}
    found: dict[str, dict[int, str]] = {name: {} for name in ids}
    plan = Plan(tuple(t for t in input_tensors(spec) if t.name in ids), {}, frozenset())
    for table in slabs(files, files.schema(plan.wanted, plan.exact)):
        for tensor in plan.tensors:
            left = sought[tensor.name]
            if left:
                for text in _texts(tensor, table):
                    if (number := text_id(text)) in left:
                        found[tensor.name][number] = text.strip(BLANKS)
                        left.discard(number)
        if not any(sought.values()):
            break
    return found


def _texts(tensor: InputTensor, table: pa.Table) -> Iterator[str]:
    """The distinct texts of a column; none if it holds something else."""
    cells = table[tensor.column].combine_chunks()
    if tensor.length:
        cells = as_lists(tensor, cells).flatten()
    cells = decoded(cells)
    if is_text(cells.type):
        yield from (text for text in cells.unique().to_pylist() if text is not None)

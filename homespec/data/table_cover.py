"""Data: which ids of the data have a vector in the file that their table begins with. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from homespec.data import DataError, columns
from homespec.data.cell_ids import MISSING
from homespec.source.roots import base_of, roots_of

if TYPE_CHECKING:
    from homespec.data.columns import Array
    from homespec.data.profiled import ProfiledData
    from homespec.schema.input_tensors import InputTensor
    from homespec.source import Document

ID = "id"
"""The column of ids in a parquet file of vectors."""


class Cover(NamedTuple):
    """How many ids of the training rows have a vector."""

    feature: str
    file: str
    ids: int
    covered: int
    problem: str = ""
    """Why it is not known; "" if it is."""


def covers(data: ProfiledData) -> Iterator[Cover]:
    """The cover of each table that begins with a file. Reads only the ids of a file.

    Files without ids have a vector for each id of the vocabulary.
    """
    for name, profile in data.train.features.items():
        tensor = profile.tensor
        written = data.spec.features[tensor.feature].from_
        if not written or tensor.kind != "id" or profile.problem or profile.distinct.full:
            continue
        ids = profile.distinct.values
        ids = ids[ids != MISSING]
        try:
            path = located(data.document, tensor.feature, written)
            known = _known(path, tensor, ids)
            yield Cover(name, written, len(ids), int(known.sum()))
        except DataError as error:
            yield Cover(name, written, len(ids), 0, str(error))


def _known(path: Path, tensor: InputTensor, ids: Array) -> Array:
    """Which ids have a vector, bool [N]. Raises DataError for a file that cannot be read."""
    if path.suffix != ".parquet":
        return (ids >= 0) & (ids < tensor.vocab)
    known = np.zeros(len(ids), bool)
    try:
        file = pq.ParquetFile(path)
        if ID not in file.schema_arrow.names:
            raise DataError(f"{path} has no column `{ID}`")
        for batch in file.iter_batches(columns=[ID]):
            known |= np.isin(ids, columns.values(tensor, batch.column(ID)))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return known


def located(document: Document, feature: str, written: str) -> Path:
    """The file of a feature. Raises DataError for one that is not in the spec's repository."""
    own = document.span(("features", feature, "from")).file
    if not Path(own).is_file():
        raise DataError(
            f"`{feature}` begins with the vectors of {written}, whose path is that from the spec:"
            " save the spec as a file first"
        )
    found = base_of(own, written, roots_of(own))
    if found is None:
        raise DataError(
            f"{written}, of the feature `{feature}`, leads out of the spec's repository"
        )
    if not Path(found).is_file():
        raise DataError(f"{written}, of the feature `{feature}`, does not exist beside {own}")
    return Path(found)

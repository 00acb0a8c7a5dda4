"""Data: columns of parquet files -> the tensors that a spec's features and tasks ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import torch
from torch import Tensor

from homespec.data import DataError
from homespec.diagnostics.suggest import closest
from homespec.schema.labels import Label, parse_label

if TYPE_CHECKING:
    from homespec.schema.models import Feature, Spec

SCAN_ROWS = 65_536
INT63 = 2**63 - 1

Column: TypeAlias = "pa.Array"


@dataclass(frozen=True)
class Examples:
    """Rows as tensors.

    Features by name: `id` int64 [N] with -1 for missing; `bucketize` float32 [N] and `dense: n`
    float32 [N, n] with NaN for missing. Labels by task: float32 [N], 0, 1 or NaN; numbers of
    regressions.
    """

    features: dict[str, Tensor]
    labels: dict[str, Tensor]

    @property
    def rows(self) -> int:
        """The number of rows N."""
        return len(next(iter(self.features.values())))


def read_examples(spec: Spec, path: Path, limit: int | None = None) -> Examples:
    """Read the columns that `spec` names from the parquet file (or folder of them) at `path`.

    `limit` takes the first rows only. Raises DataError if the file or a column is missing, or a
    column cannot serve as what the spec takes it for.
    """
    dataset = _open(path)
    labels = {task: parse_label(spec.tasks[task].label) for task in spec.tasks}
    columns = _columns(spec, labels, dataset.schema.names, path)
    scanner = dataset.scanner(columns=columns, batch_size=SCAN_ROWS)
    batches = scanner.to_batches() if limit is None else scanner.head(limit).to_batches()
    parts = [_convert(spec, labels, batch) for batch in batches if batch.num_rows]
    if not parts:
        raise DataError(f"{path} has no rows; prepare the data again")
    return Examples(
        {name: torch.cat([p.features[name] for p in parts]) for name in spec.features},
        {task: torch.cat([p.labels[task] for p in parts]) for task in spec.tasks},
    )


def _open(path: Path) -> pa.dataset.Dataset:
    if not path.exists():
        raise DataError(
            f"{path} does not exist; --data takes a folder with train.parquet and valid.parquet"
            " (for KuaiRand, `python -m homespec.data.kuairand` makes one)"
        )
    try:
        return pa.dataset.dataset(path, format="parquet")
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError(f"{path} is not a parquet file ({reason}); prepare it again") from None


def _columns(spec: Spec, labels: dict[str, Label], present: list[str], path: Path) -> list[str]:
    """The columns to read; an error names every missing one and who wants it."""
    wanted = {f.column: f"feature `{name}`" for name, f in reversed(spec.features.items())}
    for task, label in labels.items():
        wanted |= {c: f"task `{task}`" for c in label.columns if c not in wanted}
    missing = [
        f"{who} wants the column `{column}`{_suggestion(column, present)}"
        for column, who in wanted.items()
        if column not in present
    ]
    if missing:
        raise DataError(f"{path} lacks columns of the spec: {'; '.join(missing)}")
    return list(wanted)


def _suggestion(name: str, names: list[str]) -> str:
    close = closest(name, names)
    return f" (did you mean `{close}`?)" if close else ""


def _convert(spec: Spec, labels: dict[str, Label], batch: pa.RecordBatch) -> Examples:
    features = {
        name: _feature(f"feature `{name}`", feature, batch[feature.column])
        for name, feature in spec.features.items()
    }
    found = {
        task: _label(f"task `{task}`", label, batch, spec.tasks[task].kind == "binary")
        for task, label in labels.items()
    }
    return Examples(features, found)


def _feature(who: str, feature: Feature, column: Column) -> Tensor:
    if feature.kind == "id":
        return _ids(who, feature.column, column)
    if feature.kind == "dense":
        return _vectors(who, feature, column)
    return _numbers(who, feature.column, column)


def _ids(who: str, name: str, column: Column) -> Tensor:
    """Ids int64 [N]: integers as they are, text hashed, missing -1."""
    column = _decoded(column)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = _hashed(column)
    elif pa.types.is_uint64(kind):  # the same 64 bits, as a tensor of int64 holds them
        bits = column.fill_null(2**64 - 1).to_numpy(zero_copy_only=False)
        return torch.from_numpy(bits.view(np.int64).copy())
    elif not (pa.types.is_primitive(kind) or pa.types.is_null(kind)) or pa.types.is_temporal(kind):
        raise DataError(f"{who}: the column `{name}` is {kind}; ids are integers or text")
    try:
        ids = _without_nan(column).cast(pa.int64())
    except pa.ArrowInvalid:
        raise DataError(f"{who}: the column `{name}` is no id, it has fractions") from None
    return _tensor(ids.fill_null(-1))


def _hashed(column: Column) -> Column:
    """Non-negative 63-bit hashes of texts: the same in every run, on every machine."""
    encoded = column.dictionary_encode()
    hashes = [text_id(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(hashes, pa.int64()).take(encoded.indices)


def text_id(text: str) -> int:
    """The id of a text, 0 to 2**63 - 1: the BLAKE2b hash of its UTF-8 bytes."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) & INT63


def _numbers(who: str, name: str, column: Column) -> Tensor:
    """Numbers float32 [N], missing NaN."""
    try:
        numbers = _decoded(column).cast(pa.float32(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"{who}: the column `{name}` is {column.type}, not numbers") from None
    return _tensor(numbers.fill_null(float("nan")))


def _vectors(who: str, feature: Feature, column: Column) -> Tensor:
    """Vectors float32 [N, n], a missing vector or element NaN."""
    n, name = feature.dense, feature.column
    if not isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        raise DataError(f"{who}: the column `{name}` is {column.type}, not lists of {n} numbers")
    lengths = pc.list_value_length(column)
    wrong = pc.filter(lengths, pc.not_equal(lengths, n))
    if len(wrong):
        raise DataError(
            f"{who}: `{name}` has a list of {wrong[0]} numbers, but the spec says {n} for every row"
        )
    vectors = torch.full((len(column), n), float("nan"))
    numbers = _numbers(who, name, column.flatten())
    if numbers.isinf().any():
        raise DataError(
            f"{who}: `{name}` holds a number that is infinite, or too large for float32"
        )
    vectors[_tensor(column.is_valid())] = numbers.reshape(-1, n)
    return vectors


_OPS: dict[str, Callable[..., Column]] = {
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
    "==": pc.equal,
    "!=": pc.not_equal,
}


def _label(who: str, label: Label, batch: pa.RecordBatch, binary: bool) -> Tensor:
    """Labels float32 [N]: 0, 1 (numbers for a regression), NaN where a column is missing."""
    values = [_without_nan(_decoded(batch[name])) for name in label.columns]
    if label.op is None and pa.types.is_string(values[0].type):
        raise DataError(f"{who}: the column `{label.column}` holds text; labels are numbers")
    if label.op is not None:
        right = values[1] if isinstance(label.other, str) else label.other
        try:
            values[0] = _OPS[label.op](values[0], right)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            kinds = " and ".join(f"`{n}` is {batch[n].type}" for n in label.columns)
            raise DataError(f"{who}: cannot evaluate `{label}`: {kinds}") from None
    labels = _numbers(who, label.column, values[0])
    if not binary:
        if labels.isinf().any():
            raise DataError(f"{who}: its label `{label.column}` holds an infinite number")
        return labels
    bad = labels[~((labels == 0) | (labels == 1) | labels.isnan())]
    if len(bad):
        raise DataError(
            f"{who}: its label `{label.column}` holds {bad[0]:g}, but labels are 0 or 1;"
            f" if more is meant to be positive, write `label: {label.column} > 0`;"
            " if the number itself is meant, `kind: regression`"
        )
    return labels


def _decoded(column: Column) -> Column:
    """Dictionaries as their values, booleans as 0 and 1."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column


def _without_nan(column: Column) -> Column:
    """NaN is a way to write missing; comparisons would take it for a number."""
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), None, column)
    return column


def _tensor(column: Column) -> Tensor:
    return torch.from_numpy(np.array(column.to_numpy(zero_copy_only=False)))

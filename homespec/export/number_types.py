"""Export: the type of served numbers, float32 or float64, which is that of the training data.

A number is compared with boundaries in its own precision (docs/numbers.md), so a float32 0.35 that
is converted to float64 may fall into another bucket. A package has one type for each input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from homespec.data import DataError
from homespec.data.data_files import DataFiles
from homespec.data.splits import open_splits
from homespec.export import ExportError
from homespec.schema.input_tensors import InputTensor, input_tensors
from homespec.schema.models import Spec
from homespec.train.run_files import SETTINGS_FILE


def number_types(spec: Spec, run: Path, asked: str | Mapping[str, str] | None) -> dict[str, str]:
    """The type of each number by name: as `asked`, else that of its column in the run's data.

    Raises ExportError if the data no longer exists and no type is asked for.
    """
    if isinstance(asked, Mapping):
        return dict(asked)
    wanted = [tensor for tensor in input_tensors(spec) if tensor.kind == "number"]
    if asked is not None:
        return dict.fromkeys((tensor.name for tensor in wanted), asked)
    if not wanted:
        return {}
    try:
        source, _ = open_splits(_data_of(run))
        return {tensor.name: _type_of(source, tensor) for tensor in wanted}
    except DataError as error:
        names = ", ".join(f"`{tensor.name}`" for tensor in wanted[:3])
        raise ExportError(
            f"the data of the run, whose columns have the types of the numbers of {names},"
            f" cannot be read ({error}): say --numbers float64, or --numbers float32 if it was"
            " trained on columns of float32"
        ) from None


def _data_of(run: Path) -> list[Path]:
    """The files that a run was trained on, from its settings. Raises DataError."""
    try:
        names = json.loads((run / SETTINGS_FILE).read_text("utf-8"))["data"]
        return [Path(name) for name in names]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{run / SETTINGS_FILE}: {type(error).__name__}: {error}") from None


def _type_of(source: DataFiles, tensor: InputTensor) -> str:
    """The type with which a column is read: float32 stays, all others become float64."""
    missing = source.missing({tensor.column: tensor.name})
    if missing:
        raise DataError(f"{source} has no column `{tensor.column}`")
    kind = source.type_of(tensor.column)
    while pa.types.is_nested(kind) and not pa.types.is_struct(kind):
        kind = kind.value_type
    return "float32" if pa.types.is_float32(kind) else "float64"

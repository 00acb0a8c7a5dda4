"""Export: finds and replaces the weights inside a package.

A package is a zip archive with one file of weights: tensor after tensor, each padded to a multiple
of ALIGNMENT bytes if the package runs on a CPU.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from homespec.export import ExportError
from homespec.export.aotinductor import Sizes
from homespec.train.tensor_bytes import tensor_bytes

WEIGHTS, METADATA = "_weights.blob", "_metadata.json"
"""Suffixes of the names of files in a package."""
ALIGNMENTS = (64, 1)
COPIED = 2**20
"""Bytes that are copied at a time."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The position of a tensor in the weights file."""

    name: str
    offset: int
    size: int


Slices = tuple[Slice, ...]


def slices_of(sizes: Sizes, path: Path, state: Mapping[str, Tensor]) -> Slices:
    """The positions of a package's tensors: a layout in which the file holds exactly this state.

    Raises ExportError if there is none, so that weights are never written to a wrong position.
    """
    for alignment in ALIGNMENTS:
        slices, end = _aligned(sizes, alignment)
        if _holds(path, slices, end, state):
            return slices
    raise ExportError(
        f"torch {torch.__version__} does not lay out the weights in a package as torch 2.13 does:"
        " take that version, or --format onnx"
    )


def _aligned(sizes: Sizes, alignment: int) -> tuple[Slices, int]:
    """The positions of consecutive tensors, and the length of the file."""
    slices, offset = [], 0
    for name, size in sizes:
        slices.append(Slice(name, offset, size))
        offset += -(-size // alignment) * alignment
    return tuple(slices), offset


def _holds(path: Path, slices: Slices, end: int, state: Mapping[str, Tensor]) -> bool:
    """Whether the weights file has this length and these tensors at their positions.

    Constants of the code are not in the state.
    """
    with zipfile.ZipFile(path) as archive:
        name = _name(archive, WEIGHTS)
        if archive.getinfo(name).file_size != end:
            return False
        with archive.open(name) as file:
            for part in slices:
                file.seek(part.offset)
                if part.name in state and file.read(part.size) != tensor_bytes(state[part.name]):
                    return False
    return True


def replace_weights(
    old: Path, new: Path, slices: Slices, state: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write the package `old` as `new` with the tensors of `state`, and `metadata` updated.

    Constants of the code, which are not in the state, stay the same. Raises ExportError.
    """
    with zipfile.ZipFile(old) as archive, zipfile.ZipFile(new, "w") as out:
        for info in archive.infolist():
            with archive.open(info) as source, out.open(info, "w", force_zip64=True) as target:
                if info.filename.endswith(WEIGHTS):
                    _write_weights(source, target, slices, state)
                elif info.filename.endswith(METADATA):
                    target.write(json.dumps(json.load(source) | dict(metadata)).encode())
                else:
                    shutil.copyfileobj(source, target, COPIED)


def _write_weights(
    source: IO[bytes], target: IO[bytes], slices: Slices, state: Mapping[str, Tensor]
) -> None:
    for part in slices:
        target.write(source.read(part.offset - source.tell()))  # the padding before it
        before = source.read(part.size)
        if part.name not in state:
            target.write(before)
            continue
        now = tensor_bytes(state[part.name])
        if len(now) != part.size or len(before) != part.size:
            raise ExportError(f"`{part.name}` has {len(now)} bytes, and {part.size} in the package")
        target.write(now)
    shutil.copyfileobj(source, target, COPIED)


def _name(archive: zipfile.ZipFile, ending: str) -> str:
    names = [name for name in archive.namelist() if name.endswith(ending)]
    if len(names) != 1:
        raise ExportError(f"{archive.filename} has {len(names)} files *{ending}, not one")
    return names[0]


def as_json(slices: Slices) -> list[dict[str, object]]:
    """Slices in the form of the manifest."""
    return [asdict(part) for part in slices]


def from_json(stored: Sequence[Mapping[str, object]]) -> Slices:
    """Slices read from the manifest. Raises ExportError for anything else."""
    try:
        return tuple(
            Slice(str(part["name"]), int(str(part["offset"])), int(str(part["size"])))
            for part in stored
        )
    except (LookupError, TypeError, ValueError) as error:
        raise ExportError(f"the manifest does not say where weights are ({error})") from None

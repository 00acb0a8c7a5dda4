"""Weights and moments of a run, or of a file, and those of the new model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from homespec.atomic_write import replacing
from homespec.diff.carry import Plan
from homespec.train.checkpoint import FOLDER, LAST, OPTIMIZER_FILE, WEIGHTS_FILE
from homespec.version import __version__


class MigrationError(Exception):
    """Files that cannot be read, or that are not of the old spec."""


@dataclass(frozen=True)
class Stored:
    """Weights by logical name and moments by `MOMENT/LOGICAL NAME`, and where they come from."""

    path: Path
    weights: dict[str, Tensor]
    moments: dict[str, Tensor] = field(default_factory=dict)


def read(path: Path, with_moments: bool = False) -> Stored:
    """The weights of a file or of a run: of its best epoch, with moments of its last checkpoint.

    Raises MigrationError.
    """
    if not with_moments:
        file = path / WEIGHTS_FILE if path.is_dir() else path
        return Stored(file, _load(file))
    last = path / FOLDER / LAST if (path / FOLDER).is_dir() else path
    if not last.is_dir():
        raise MigrationError(f"{path} is a file: moments are in the folder of a run")
    states = _load(last / OPTIMIZER_FILE)
    moments = {key: state for key, state in states.items() if not key.startswith("random/")}
    return Stored(last, _load(last / WEIGHTS_FILE), moments)


def _load(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(file)
    except OSError as error:
        raise MigrationError(f"{file} cannot be read: {error.strerror or error}") from None
    except safetensors.SafetensorError as error:
        raise MigrationError(f"{file} is no safetensors file: {error}") from None


def check_fits(stored: Stored, plan: Plan) -> None:
    """Raise MigrationError if weights are not those of the old spec's model."""
    old = [one.old for one in plan.carried.values() if one.old] + list(plan.dropped)
    shapes = {tensor.name: tensor.shape for tensor in old}
    missing = sorted(shapes.keys() - stored.weights.keys())
    unknown = sorted(stored.weights.keys() - shapes.keys())
    if missing or unknown:
        first = f"has no {missing[0]}" if missing else f"has {unknown[0]}"
        raise MigrationError(
            f"{stored.path} {first}: it is not of the spec that --from names"
            f" ({len(missing)} missing, {len(unknown)} unknown)"
        )
    for name, shape in shapes.items():
        if not stored.weights[name].is_floating_point():
            raise MigrationError(
                f"{stored.path} has {name} as {stored.weights[name].dtype}: weights are floats"
            )
        if (found := tuple(stored.weights[name].shape)) != shape:
            raise MigrationError(
                f"{stored.path} has {name} of shape {list(found)}, and the spec that --from names"
                f" {list(shape)}"
            )


def write(
    out: Path, weights: dict[str, Tensor], moments: dict[str, Tensor], about: dict[str, str]
) -> None:
    """Write a file, or with moments a folder of two, all or none. Raises MigrationError."""
    metadata = {"about": json.dumps({**about, "homespec": __version__})}
    files = {out: weights}
    if moments:
        files = {out / WEIGHTS_FILE: weights, out / OPTIMIZER_FILE: moments}
    try:
        with replacing(*files) as paths:
            for path, tensors in zip(paths, files.values(), strict=True):
                own = {name: tensor.contiguous() for name, tensor in tensors.items()}
                safetensors.torch.save_file(own, path, metadata=metadata)
    except OSError as error:
        raise MigrationError(f"{out} cannot be written: {error.strerror or error}") from None

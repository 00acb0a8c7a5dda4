"""Training: the weights of a run or file, from which another model or the next run starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from homespec.api import load
from homespec.compiler import Analysis
from homespec.diff.carry import Plan
from homespec.train import RunError, checkpoint
from homespec.train.checkpoint import BEST, FOLDER, LAST, OPTIMIZER_FILE, STATE_FILE, WEIGHTS_FILE
from homespec.train.checkpoint_checks import Json
from homespec.train.optimizer_state import RANDOM
from homespec.train.run_files import SPEC_FILE, find_weights
from homespec.train.spec_check import differences

Tensors = Mapping[str, Tensor]
OTHER = "start from other weights"
"""The alternative for damaged weights, because the run that is read is not the one that starts."""


@dataclass(frozen=True)
class Source:
    """Weights by logical name, moments by `MOMENT/LOGICAL NAME`, and their spec.

    The moments include the state of a weighting, as `weighting/NAME`.
    """

    path: Path
    """The file or folder that was read, inside the one that was named."""
    spec: Analysis
    weights: Tensors
    moments: Tensors = field(default_factory=dict)


def read(
    path: Path, spec: Analysis | None = None, *, moments: bool = False, flag: str = "old="
) -> Source:
    """The weights of a safetensors file or of a run.

    For a run, they are those of its best epoch or, with `moments`, of its last checkpoint. A folder
    that `migrate` wrote also works. `spec` is for weights without a spec; for a run, it must be the
    run's own. `flag` is the flag with which the user gives it. Raises RunError.
    """
    if path.is_file():
        if moments:
            raise RunError(f"{path} is a file, but moments are in the folder of a run")
        return Source(path, _spec(path, spec, flag), load_file(path))
    alone = (WEIGHTS_FILE, OPTIMIZER_FILE) if moments else (WEIGHTS_FILE,)
    place, is_checkpoint = find_weights(
        path, LAST if moments else BEST, alone, "with its moments its last checkpoint can be used"
    )
    own = _spec(path, spec, flag)
    if not is_checkpoint:
        return Source(place, own, *(load_file(place / file) for file in alone))
    kept = checkpoint.read(place, OTHER, optimizer=moments)
    if changed := differences(kept.state["model"], own):
        raise RunError(
            f"{path} is a run of another spec: {changed}. Omit {flag} if the run has its "
            f"{SPEC_FILE}, or name the spec that it was started with"
        )
    known = {key: each for key, each in kept.optimizer.items() if not key.startswith(RANDOM)}
    return Source(place, own, kept.weights, known)


def last_state(path: Path) -> Json | None:
    """The state of a run's last checkpoint; None if there is none. Raises RunError if damaged."""
    last = path / FOLDER / LAST
    return checkpoint.read_state(last, OTHER) if (last / STATE_FILE).is_file() else None


def _spec(path: Path, given: Analysis | None, flag: str) -> Analysis:
    if given is not None:
        return given
    if not (path / SPEC_FILE).is_file():
        raise RunError(f"{path} does not say which spec it belongs to: name it with {flag}")
    return load(path / SPEC_FILE).analysis


def load_file(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises RunError."""
    try:
        return safetensors.torch.load_file(file)
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}") from None
    except safetensors.SafetensorError as error:
        raise RunError(f"{file} is not a safetensors file: {error}") from None


def check_fits(source: Source, plan: Plan) -> None:
    """Raise RunError if weights do not fit the model of their spec."""
    old = [one.old for one in plan.carried.values() if one.old] + list(plan.dropped)
    shapes = {tensor.name: tensor.shape for tensor in old}
    missing = sorted(shapes.keys() - source.weights.keys())
    unknown = sorted(source.weights.keys() - shapes.keys())
    if missing or unknown:
        first = f"has no {missing[0]}" if missing else f"has {unknown[0]}"
        raise RunError(
            f"{source.path} {first}: it does not belong to the spec `{source.spec.spec.name}` in"
            f" {source.spec.document.file} ({len(missing)} missing, {len(unknown)} unknown)"
        )
    for name, shape in shapes.items():
        weight = source.weights[name]
        if not weight.is_floating_point():
            raise RunError(f"{source.path} has {name} as {weight.dtype}: weights are floats")
        if tuple(weight.shape) != shape:
            raise RunError(
                f"{source.path} has {name} of shape {list(weight.shape)}, and the spec in"
                f" {source.spec.document.file} {list(shape)}"
            )

"""Training: loads a run from its folder as Python objects. Needs torch, but not Lightning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import safetensors.torch

from homespec.analysis.spec_diff import Tree
from homespec.api import CompileOptions, LoadedSpec, PathLike, as_loaded, build_with_module
from homespec.train import RunError
from homespec.train import checkpoint as checkpoints
from homespec.train.checkpoint import BEST, WEIGHTS_FILE
from homespec.train.run_files import METRICS_FILE, SPEC_FILE, find_weights
from homespec.train.spec_check import differences

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from homespec.runtime import GeneratedModule

Which = Literal["best", "last"]
"""The weights of the best epoch, or of the last checkpoint."""
OTHER = "train the model again"
"""The alternative for damaged weights, because a reader of a run does not overwrite it."""
LAST_INSTEAD = (
    '--last (of export: --checkpoint last; in Python: checkpoint="last") takes the weights of its'
    " last checkpoint"
)
"""The alternative if no epoch is complete."""


@dataclass(frozen=True)
class Run:
    """A trained model with its spec."""

    folder: Path
    spec: LoadedSpec
    module: GeneratedModule
    """The imported generated file, with its `losses`, `TASKS`, `logical_state` and so on."""
    model: nn.Module
    """With the weights of the run, in eval mode: features by name -> logits [B] by task."""
    metrics: dict[str, Any]
    """The contents of metrics.json; empty until the run has ended."""


def load_run(
    folder: PathLike,
    *,
    spec: PathLike | LoadedSpec | None = None,
    checkpoint: Which = "best",
    compile: bool = False,  # noqa: A002
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **options: Unpack[CompileOptions],
) -> Run:
    """The spec, the model with its trained weights and the metrics of a run of `homespec train`.

    Weights are those of the best epoch so far, even if the run has not ended, or with
    `checkpoint="last"` those of the last checkpoint. `spec` is for a folder without a spec, such as
    one from an older homespec. The other options are those of `homespec.build`; with
    `mode="inference"` the model has no losses, and `tasks` keeps only some. Raises RunError for a
    folder without such a run and for damaged files, SpecError for a spec with errors.
    """
    path = Path(folder)
    weights, trained = _weights(path, checkpoint)
    loaded = _spec(path, spec)
    if trained and (changed := differences(trained, loaded.analysis)):
        raise RunError(
            f"{path} is a run of another spec: {changed}. Use the spec that it was trained with"
        )
    module, model = build_with_module(
        loaded, compile=compile, dtype=dtype, device=device, **options
    )
    try:
        module.load_logical_state(model, weights)
    except (KeyError, ValueError) as error:
        raise RunError(
            f"the weights in {path} do not belong to its spec: {error.args[0]}"
        ) from None
    return Run(path, loaded, module, model.eval(), metrics_of(path))


def _weights(path: Path, which: str) -> tuple[Mapping[str, Tensor], Tree]:
    """Weights by logical name, and their spec, if it is known."""
    alone = (WEIGHTS_FILE,) if which == BEST else ()
    folder, is_checkpoint = find_weights(path, which, alone, LAST_INSTEAD)
    if is_checkpoint:
        kept = checkpoints.read(folder, OTHER, optimizer=False)
        return kept.weights, kept.state["model"]
    with checkpoints.reading(folder / WEIGHTS_FILE, OTHER):
        return safetensors.torch.load_file(folder / WEIGHTS_FILE), {}


def _spec(path: Path, given: PathLike | LoadedSpec | None) -> LoadedSpec:
    if given is None and not (path / SPEC_FILE).is_file():
        raise RunError(
            f"{path} has no {SPEC_FILE}, which homespec train has written since 0.1: name the "
            "spec of the run (--spec, in Python `spec=`)"
        )
    return as_loaded(path / SPEC_FILE if given is None else given)


def metrics_of(path: Path) -> dict[str, Any]:
    """The contents of a run's metrics.json; empty if there is none. RunError if it is invalid."""
    file = path / METRICS_FILE
    if not file.exists():
        return {}
    try:
        metrics = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file} cannot be read ({error}): restore it from a copy") from None
    tasks = metrics.get("tasks", {}) if isinstance(metrics, dict) else None
    if not isinstance(tasks, dict) or not all(isinstance(own, dict) for own in tasks.values()):
        raise RunError(f"{file} holds no metrics: restore it from a copy, or remove it")
    return dict(metrics)

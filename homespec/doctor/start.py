"""The doctor: the model of a spec as it is before its first training step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from homespec.api import LoadedSpec, build_with_module
from homespec.data.splits import open_splits
from homespec.doctor.held_out import HeldOut
from homespec.runtime import GeneratedModule
from homespec.schema.fitted_columns import fitted_columns, scaled_columns, word_columns
from homespec.train.load_run import Run
from homespec.train.table_files import fill_tables

if TYPE_CHECKING:
    from homespec.data.batches import Batch


def untrained(
    path: Path, spec: LoadedSpec, data: Sequence[Path], held_out: HeldOut, seed: int = 0
) -> Run:
    """A run whose model is the one from which `homespec train` with this seed starts.

    Values that the spec leaves to the data are fitted to the training rows, and tables are loaded
    from their files. In its first step, a model normalises with the statistics of its batch, so
    norms get those of the first held-out rows. Raises DataError.
    """
    torch.manual_seed(seed)
    drawn, start = build_with_module(spec)
    code, model = build_with_module(spec, optimize=False)
    code.load_logical_state(model, drawn.logical_state(start))
    _fit(code, model, spec, data, seed)
    fill_tables(model, code, spec, (), lambda _line: None)
    settle_norms(model, next(held_out.batches()))
    return Run(path, spec, code, model.eval(), {})


def _fit(
    code: GeneratedModule, model: nn.Module, spec: LoadedSpec, data: Sequence[Path], seed: int
) -> None:
    if not (fitted_columns(spec) or scaled_columns(spec) or word_columns(spec)):
        return
    from homespec.train.datamodule import Part  # importing Lightning takes seconds
    from homespec.train.fit_boundaries import set_fitted

    files, _ = open_splits(data)
    with TemporaryDirectory() as folder:  # for the files of a run next to its checkpoints
        set_fitted(model, code, spec, Part(files, None), Path(folder), seed, lambda _line: None)


@torch.no_grad()
def settle_norms(model: nn.Module, batch: Batch) -> None:
    """Set the running statistics of batch norm and DICE to those of one batch.

    A single row has no variance. Then they stay at mean 0 and variance 1. Only the norms are in
    training mode, so nothing is dropped out.
    """
    norms: list[Any] = [module for module in model.modules() if hasattr(module, "momentum")]
    if len(next(iter(batch.features.values()))) < 2:
        return
    kept = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    model(batch.features)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum

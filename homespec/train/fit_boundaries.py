"""Training: boundaries that a spec leaves to the data, fitted before the first step of a run.

They are written beside the checkpoints and are part of the weights. A resumed run has them
from its checkpoint; nothing is ever fitted a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from homespec.data import DataError
from homespec.data.chunk_reader import slabs
from homespec.data.quantile_fit import Columns, fit_plan
from homespec.runtime import GeneratedModule
from homespec.schema.fitted_columns import fitted_columns
from homespec.train import quantiles
from homespec.train.distributed import rank
from homespec.train.quantiles import FILE, Boundaries, Fitted

if TYPE_CHECKING:
    from homespec.schema.models import Spec
    from homespec.train.datamodule import Part


def set_fitted(
    model: nn.Module, code: GeneratedModule, spec: Spec, part: Part, out: Path, seed: int,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Fit boundaries to the rows to train on, write them to `out` and set them in the model.

    Those that the model has, from a run that it starts from, stay as they are. Every process fits,
    on all rows, with the same result; the first one writes. Does nothing for a spec that gives all
    boundaries. Raises DataError and RunError.
    """
    if not fitted_columns(spec):
        return
    carried = _carried(model, code, spec)
    fits = len(carried.features) < len(fitted_columns(spec))
    fitted = quantiles.fit(_batches(spec, part), spec, seed=seed) if fits else carried
    boundaries = Boundaries(fitted.rows, fitted.features | carried.features)
    if rank() == 0:
        boundaries.write(out / FILE)
    code.set_boundaries(model, boundaries.values)
    if carried.features:
        say(f"boundaries of {', '.join(carried.features)} are carried over, not fitted again")
    own = {n: f for n, f in boundaries.features.items() if n not in carried.features}
    if own:
        say(f"boundaries of {', '.join(own)} are fitted to {fitted.rows:,} rows and kept in {FILE}")
    for line in few(Boundaries(fitted.rows, own)):
        say(line)


def _carried(model: nn.Module, code: GeneratedModule, spec: Spec) -> Boundaries:
    """The boundaries that a model has, which no row was counted for."""
    state, features = code.logical_state(model), {}
    for name, asked in fitted_columns(spec).items():
        numbers = state[f"features.{name}.boundaries"]
        if not numbers.isnan().any():
            features[name] = Fitted(asked.column, asked.quantiles, 0, tuple(numbers.tolist()))
    return Boundaries(0, features)


def few(boundaries: Boundaries) -> Iterator[str]:
    """What there is to say of boundaries fewer than half of which differ."""
    for name, fitted in boundaries.features.items():
        if 2 * fitted.distinct < len(fitted.boundaries):
            yield (
                f"only {fitted.distinct} of the {len(fitted.boundaries)} boundaries of {name}"
                " differ, since many rows hold the same number"
            )


def check_fitted(model: nn.Module, code: GeneratedModule, spec: Spec, out: Path) -> None:
    """Raise DataError if the file in `out` has other boundaries than a resumed model.

    Without a file nothing is compared: the checkpoint has all that the model needs.
    """
    path = out / FILE
    if not fitted_columns(spec) or not path.exists():
        return
    kept: Boundaries = quantiles.read(path)
    kept.check(spec, str(path))
    state = code.logical_state(model)
    for name, numbers in kept.values.items():
        if state[f"features.{name}.boundaries"].tolist() != numbers:
            raise DataError(
                f"{path} has other boundaries of `{name}` than the checkpoint: bring back the file"
                " of this run, or remove it; the checkpoint has them, too"
            )


def _batches(spec: Spec, part: Part) -> Iterator[Columns]:
    """The columns to fit, from memory or from the files."""
    plan = fit_plan(spec)
    if part.held is not None:
        yield {tensor.name: part.held.features[tensor.name] for tensor in plan.tensors}
        return
    files = part.source
    for table in slabs(files, files.schema(plan.wanted, plan.exact)):
        yield plan.read(table, files).features

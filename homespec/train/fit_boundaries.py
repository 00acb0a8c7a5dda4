"""Training: what a spec leaves to the data, boundaries and scalings, fitted before the first step.

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
from homespec.data.quantile_fit import Columns, QuantileFit, fit_plan
from homespec.data.scale_fit import ScaleFit
from homespec.runtime import GeneratedModule
from homespec.schema.fitted_columns import fitted_columns, scaled_columns
from homespec.train import quantiles, scaling
from homespec.train.distributed import rank
from homespec.train.quantiles import FILE, Boundaries, Fitted
from homespec.train.scaling import Scaled, Scaling

if TYPE_CHECKING:
    from homespec.schema.models import Spec
    from homespec.train.datamodule import Part


def set_fitted(
    model: nn.Module, code: GeneratedModule, spec: Spec, part: Part, out: Path, seed: int,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    """Fit to the rows to train on, write what is fitted to `out` and set it in the model.

    What the model has, from a run that it starts from, stays as it is. Every process fits, on all
    rows, with the same result; the first one writes. Does nothing for a spec that leaves nothing to
    the data. Raises DataError and RunError.
    """
    boundaries, scales = _carried(model, code, spec), _carried_scaling(model, code, spec)
    sample, fit = QuantileFit(spec, seed=seed), ScaleFit(spec)
    sample.leave_out(boundaries.features)
    fit.leave_out(scales.features)
    if sample.asked or fit.asked:
        for columns in _batches(spec, part):
            sample.add(columns)
            fit.add(columns)
    if fitted_columns(spec):
        _set_boundaries(model, code, quantiles.fitted(sample), boundaries, out, say)
    if scaled_columns(spec):
        _set_scaling(model, code, scaling.fitted(fit), scales, out, say)


def _set_boundaries(
    model: nn.Module, code: GeneratedModule, fitted: Boundaries, carried: Boundaries, out: Path,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    boundaries = Boundaries(fitted.rows, fitted.features | carried.features)
    if rank() == 0:
        boundaries.write(out / FILE)
    code.set_boundaries(model, boundaries.values)
    if carried.features:
        say(f"boundaries of {', '.join(carried.features)} are carried over, not fitted again")
    own = fitted.features
    if own:
        say(f"boundaries of {', '.join(own)} are fitted to {fitted.rows:,} rows and kept in {FILE}")
    for line in few(fitted):
        say(line)


def _set_scaling(
    model: nn.Module, code: GeneratedModule, fitted: Scaling, carried: Scaling, out: Path,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    whole = Scaling(fitted.rows, fitted.features | carried.features)
    if rank() == 0:
        whole.write(out / scaling.FILE)
    code.set_scaling(model, whole.values)
    if carried.features:
        say(f"the scaling of {', '.join(carried.features)} is carried over, not fitted again")
    if own := fitted.features:
        rows = f"{fitted.rows:,} rows"
        say(f"the scaling of {', '.join(own)} is fitted to {rows} and kept in {scaling.FILE}")


def _carried(model: nn.Module, code: GeneratedModule, spec: Spec) -> Boundaries:
    """The boundaries that a model has, which no row was counted for."""
    state, features = code.logical_state(model), {}
    for name, asked in fitted_columns(spec).items():
        numbers = state[f"features.{name}.boundaries"]
        if not numbers.isnan().any():
            features[name] = Fitted(asked.column, asked.quantiles, 0, tuple(numbers.tolist()))
    return Boundaries(0, features)


def _carried_scaling(model: nn.Module, code: GeneratedModule, spec: Spec) -> Scaling:
    """How a model scales numbers already, which no row was counted for."""
    state, features = code.logical_state(model), {}
    for name, asked in scaled_columns(spec).items():
        pair = state[f"features.{name}.scaling"]
        if not pair.isnan().any():
            features[name] = Scaled(asked.column, asked.scale, 0, *pair.tolist())
    return Scaling(0, features)


def few(boundaries: Boundaries) -> Iterator[str]:
    """What there is to say of boundaries that are not all different."""
    for name, fitted in boundaries.features.items():
        if fitted.distinct < len(fitted.boundaries):
            yield (
                f"only {fitted.distinct} of the {len(fitted.boundaries)} boundaries of {name}"
                " differ, since its column holds too few different numbers"
            )


def check_fitted(model: nn.Module, code: GeneratedModule, spec: Spec, out: Path) -> None:
    """Raise DataError if a file in `out` has other boundaries or scalings than a resumed model.

    Without a file nothing is compared: the checkpoint has all that the model needs.
    """
    state = code.logical_state(model)
    if fitted_columns(spec) and (path := out / FILE).exists():
        kept = quantiles.read(path)
        kept.check(spec, str(path))
        for name, numbers in kept.values.items():
            if state[f"features.{name}.boundaries"].tolist() != numbers:
                raise _differs(path, f"other boundaries of `{name}`")
    if scaled_columns(spec) and (path := out / scaling.FILE).exists():
        scales = scaling.read(path)
        scales.check(spec, str(path))
        for name, pair in scales.values.items():
            if tuple(state[f"features.{name}.scaling"].tolist()) != pair:
                raise _differs(path, f"another scaling of `{name}`")


def _differs(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} has {what} than the checkpoint: bring back the file of this run, or remove it; the"
        " checkpoint has what is in it, too"
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

"""Training: fits the values that a spec leaves to the data, before the first step.

They are written beside the checkpoints and are part of the weights. A resumed run reads them from
its checkpoint; nothing is fitted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from homespec.data import DataError
from homespec.data.chunk_reader import slabs
from homespec.data.quantile_fit import Columns, QuantileFit, fit_plan
from homespec.data.scale_fit import ScaleFit
from homespec.data.word_fit import WordFit
from homespec.data.word_texts import texts_of
from homespec.runtime import GeneratedModule
from homespec.train import quantiles, scaling, vocabularies
from homespec.train.distributed import rank
from homespec.train.fitted_file import CarriedEntry, FittedFile
from homespec.train.quantiles import Boundaries
from homespec.train.scaling import Scaling
from homespec.train.vocabularies import Vocabularies

if TYPE_CHECKING:
    from homespec.schema.models import Spec
    from homespec.train.datamodule import Part

KINDS: tuple[type[FittedFile[Any]], ...] = (Boundaries, Scaling, Vocabularies)
F = TypeVar("F", bound=FittedFile[Any])


def set_fitted(
    model: nn.Module, code: GeneratedModule, spec: Spec, part: Part, out: Path, seed: int,
    say: Callable[[str], None], frozen: Collection[str] = (),
) -> None:  # fmt: skip
    """Fit values to the training rows, write them to `out`, and set them in the model.

    Values that the model has from the run that it starts from stay the same, but ids are added to
    vocabularies, unless their table is among the `frozen` weights. Every process fits all rows,
    with the same result, and the first one writes. Does nothing if the spec leaves nothing to the
    data. Raises DataError and RunError.
    """
    state = code.logical_state(model)
    boundaries, scales = _carried(Boundaries, state, spec), _carried(Scaling, state, spec)
    sample, fit, words = QuantileFit(spec, seed=seed), ScaleFit(spec), WordFit(spec)
    sample.leave_out(boundaries.features)
    fit.leave_out(scales.features)
    if sample.asked or fit.asked or words.asked:
        for columns in _batches(spec, part):
            sample.add(columns)
            fit.add(columns)
            words.add(columns)
    if Boundaries.wanted(spec):
        fitted = quantiles.fitted(sample)
        code.set_boundaries(model, _kept(fitted, boundaries, out, say))
        for line in few(fitted):
            say(line)
    if Scaling.wanted(spec):
        code.set_scaling(model, _kept(scaling.fitted(fit), scales, out, say))
    if words.asked:
        before = _ids_before(state, words)
        closed = [name for name in before if f"features.{name}.weight" in frozen]
        made = vocabularies.fitted(words, before, closed)
        if rank() == 0:
            texts = texts_of(spec, part.source, made.ids)
            vocabularies.with_texts(made, texts).write(out / made.FILE)
        code.set_vocabularies(model, made.ids)
        for line in vocabularies.remarks(words, made, before):
            say(line)


def _ids_before(state: Mapping[str, Tensor], words: WordFit) -> dict[str, list[int]]:
    """The existing vocabularies of a model, in the order of rows."""
    held = {name: state[Vocabularies.TENSOR.format(name)] for name in words.asked}
    return {
        name: Vocabularies.numbers_of(tensor.tolist())
        for name, tensor in held.items()
        if not tensor.isnan().any()
    }


def _carried(kind: type[F], state: Mapping[str, Tensor], spec: Spec) -> F:
    """The existing values of a model, for which no rows were counted."""
    entry = kind.ENTRY
    assert issubclass(entry, CarriedEntry)  # ids are added to vocabularies instead
    features: dict[str, Any] = {}
    for name, asked in kind.wanted(spec).items():
        numbers = state[kind.TENSOR.format(name)]
        if not numbers.isnan().any():
            features[name] = entry.carried(asked, tuple(numbers.tolist()))
    return kind(0, features)


def _kept(
    fitted: F, carried: F, out: Path, say: Callable[[str], None]
) -> Mapping[str, Sequence[float]]:
    """The numbers of all features, after writing them to `out`."""
    whole = replace(fitted, features=fitted.features | carried.features)
    if rank() == 0:
        whole.write(out / fitted.FILE)
    these = fitted.WORDS.of_features
    if carried.features:
        say(f"{these.format(', '.join(carried.features))} carried over, not fitted again")
    if own := fitted.features:
        rows = f"{fitted.rows:,} rows"
        say(f"{these.format(', '.join(own))} fitted to {rows} and kept in {fitted.FILE}")
    return whole.values


def few(boundaries: Boundaries) -> Iterator[str]:
    """A remark if some boundaries are equal."""
    for name, fitted in boundaries.features.items():
        if fitted.distinct < len(fitted.boundaries):
            yield (
                f"only {fitted.distinct} of the {len(fitted.boundaries)} boundaries of {name}"
                " differ, since its column holds too few different numbers"
            )


def check_fitted(model: nn.Module, code: GeneratedModule, spec: Spec, out: Path) -> None:
    """Raise DataError if a file in `out` has other boundaries or scalings than a resumed model.

    Without a file, nothing is compared: the checkpoint has everything that the model needs.
    """
    state = code.logical_state(model)
    for kind in KINDS:
        path = out / kind.FILE
        if kind.wanted(spec) and path.exists():
            kept = kind.read(path)
            kept.check(spec, str(path))
            for name, numbers in kept.values.items():
                if kind.numbers_of(state[kind.TENSOR.format(name)].tolist()) != numbers:
                    raise DataError(
                        f"{path} has {kind.WORDS.other} of `{name}` than the checkpoint: restore "
                        "the file of this run, or remove it; the checkpoint also has its content"
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

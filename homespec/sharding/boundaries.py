"""Sharding: boundaries that are fitted to data.

They determine rows, and are saved with the weights.

`Preprocessor` and the model must have the same boundaries, so `Inputs` carries those by which its
rows were found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from homespec.runtime import GeneratedModule
from homespec.schema.fitted_columns import BOUNDARIES

Boundaries = Mapping[str, Sequence[float]]
"""By feature, in ascending order: `homespec.train.quantiles.fit(…).values`."""

Scaling = Mapping[str, Sequence[float]]
"""By feature, offset and unit of its numbers: the `values` that `homespec.train.scaling`
computes."""

Frozen = dict[str, tuple[float, ...]]
"""The boundaries in a form that can be compared."""


def frozen(code: GeneratedModule, model: nn.Module, fitted: Iterable[str]) -> Frozen:
    """The boundaries of the features `fitted` in a model of generated parts, except unset ones."""
    state = code.logical_state(model)
    numbers = {name: state[BOUNDARIES.format(name)] for name in fitted}
    return {name: tuple(n.tolist()) for name, n in numbers.items() if not n.isnan().any()}


def set_boundaries(
    code: GeneratedModule, model: nn.Module, fitted: Sequence[str], boundaries: Boundaries
) -> Frozen:
    """Set the boundaries of the features `fitted`.

    Raises KeyError and ValueError for wrong `boundaries`; the model is then unchanged.
    """
    if fitted:
        code.set_boundaries(model, boundaries)
    elif boundaries:
        raise KeyError(f"the spec fits no boundaries to data: unknown {sorted(boundaries)}")
    return frozen(code, model, fitted)


def boundaries_of(state: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """The fitted boundaries in a state by logical name, for `Preprocessor`; {} if it has none."""
    before, after = BOUNDARIES.split("{}")
    return {
        name.removeprefix(before).removesuffix(after): numbers.tolist()
        for name, numbers in state.items()
        if name.startswith(before) and name.endswith(after)
    }

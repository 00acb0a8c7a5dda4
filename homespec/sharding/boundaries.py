"""Sharding: boundaries that are fitted to data. They give the rows, and are kept with the weights.

`Preprocessor` and the model must have the same ones: `Inputs` says by which its rows were found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

LOGICAL = "features.{}.boundaries"

Boundaries = Mapping[str, Sequence[float]]
"""By feature, in ascending order: `homespec.train.quantiles.fit(…).values`."""

Frozen = dict[str, tuple[float, ...]]
"""The same, to be compared."""


def frozen(code: ModuleType, model: nn.Module) -> Frozen:
    """The fitted boundaries that a model of generated parts has; those not set are left out."""
    state: dict[str, Tensor] = code.logical_state(model)
    found = {name: state[LOGICAL.format(name)] for name in fitted(code)}
    return {name: tuple(n.tolist()) for name, n in found.items() if not n.isnan().any()}


def set_boundaries(code: ModuleType, model: nn.Module, boundaries: Boundaries) -> Frozen:
    """Set the fitted boundaries of a model of generated parts. KeyError and ValueError, which name
    what is wrong; the model is then unchanged.
    """
    if fitted(code):
        code.set_boundaries(model, boundaries)
    elif boundaries:
        raise KeyError(f"the spec leaves no boundaries to the data: unknown {sorted(boundaries)}")
    return frozen(code, model)


def checked(code: ModuleType, boundaries: Boundaries) -> Frozen:
    """The boundaries, if the spec needs these. KeyError and ValueError as `set_boundaries`."""
    if not boundaries and fitted(code):
        raise ValueError(f"the boundaries of {', '.join(fitted(code))} are needed to find rows")
    model = nn.Module()
    if not fitted(code):  # then `Features` may have no names of its own
        return set_boundaries(code, model, boundaries)
    model.features = features = _Boundaries(code)
    tensors = {logical: tensor for tensor, logical, _ in features.logical()}
    for name in fitted(code):
        unset = torch.full((code.FITTED[name],), torch.nan, dtype=torch.float64)
        features.register_buffer(tensors[LOGICAL.format(name)], unset)
    return set_boundaries(code, model, boundaries)


class _Boundaries(nn.Module):
    """Buffers with the names of generated `Features`."""

    def __init__(self, code: ModuleType) -> None:
        super().__init__()
        self._logical = getattr(code.Features, "logical", lambda _: iter(()))

    def logical(self) -> Iterator[tuple[str, str, Any]]:
        """The logical names of all tensors of `Features`, there or not."""
        return cast(Iterator[tuple[str, str, Any]], self._logical(self))


def fitted(code: ModuleType) -> tuple[str, ...]:
    """The features whose boundaries are fitted to data."""
    return tuple(getattr(code, "FITTED", ()))


def boundaries_of(state: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """The fitted boundaries in a state by logical name, for `Preprocessor`; {} if it has none."""
    before, after = LOGICAL.split("{}")
    return {
        name.removeprefix(before).removesuffix(after): numbers.tolist()
        for name, numbers in state.items()
        if name.startswith(before) and name.endswith(after)
    }

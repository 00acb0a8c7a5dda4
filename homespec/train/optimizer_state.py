"""Training: the moments of optimisers by the logical names of their weights.

Weights that share a tensor in optimised code have separate moments here, so a checkpoint does not
depend on batching. A moment has the shape of its weight, or one value for each of its rows, or a
single value, such as the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from homespec.migration.weights import SQUARES
from homespec.train.checkpoint_checks import Forms, check_forms, forms
from homespec.train.optimizers import BY_ROW, LIKE_WEIGHT, moment_shapes

WEIGHTING = "weighting"
"""The state of a weighting is stored as `weighting/NAME`; the moments of its parameters have the
name `weighting.NAME`."""
LAST_WEIGHTS = f"{WEIGHTING}/last_T"
"""The weights of the last step, which every weighting has but does not need."""

Views = Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
"""The generated `logical_views` of a model."""


def moments(
    views: Views, names: Mapping[Tensor, str], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """The state of an optimiser as `MOMENT/LOGICAL NAME` -> copy on the CPU.

    `views` is the generated `logical_views` of the model, `names` are the names of the parameters
    in it; a parameter outside the model keeps its name.
    """
    copies: dict[str, Tensor] = {}
    for parameter, state in optimizer.state.items():
        for moment, value in state.items():
            spread = value.expand(parameter.shape) if value.dim() == 0 else value
            for name, view in _parts(views, names[parameter], spread.detach()).items():
                one = view.flatten()[0] if value.dim() == 0 else view
                copies[f"{moment}/{name}"] = copied(one)
    return copies


def load_moments(
    views: Views,
    names: Mapping[Tensor, str],
    optimizer: torch.optim.Optimizer,
    stored: Mapping[str, Tensor],
) -> None:
    """Load the state from `moments` into an optimiser, whatever the batching was then."""
    kinds = sorted({key.partition("/")[0] for key in stored})
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = {
                kind: value
                for kind in kinds
                if (value := _joined(views, names[parameter], parameter, kind, stored)) is not None
            }
            if state:
                optimizer.state[parameter] = _placed(state, parameter, group)


def moment_forms(
    views: Views, names: Mapping[Tensor, str], optimizer: torch.optim.Optimizer
) -> list[Forms]:
    """The result of `moments` once all parameters have had a gradient.

    For each parameter, it has shapes and types by `MOMENT/LOGICAL NAME`.
    """
    return [
        {
            f"{moment}/{name}": (_shape(part, shape), torch.float32)
            for moment, shape in shapes.items()
            for name, part in _parts(views, names[parameter], parameter.detach()).items()
        }
        for group, shapes in zip(optimizer.param_groups, moment_shapes(optimizer), strict=True)
        for parameter in group["params"]
    ]


def _shape(part: Tensor, shape: str) -> torch.Size:
    return {LIKE_WEIGHT: part.shape, BY_ROW: part.shape[:1]}.get(shape, torch.Size())


def is_of_weighting(key: str) -> bool:
    """Whether a stored tensor is the state of a weighting, or a moment of it."""
    kind, _, name = key.partition("/")
    return kind == WEIGHTING or name.startswith(f"{WEIGHTING}.")


def has_learned(keys: Iterable[str]) -> bool:
    """Whether there is a learned state of a weighting, besides its last weights."""
    return any(is_of_weighting(key) and key != LAST_WEIGHTS for key in keys)


def copied(tensor: Tensor) -> Tensor:
    """A copy of the tensor on the CPU."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _parts(views: Views, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """The logical parts of a tensor of the model."""
    return dict(views({name: tensor})) or {name: tensor}


def _joined(
    views: Views, name: str, parameter: Tensor, kind: str, stored: Mapping[str, Tensor]
) -> Tensor | None:
    """One moment of a parameter, assembled from those of its logical parts."""
    parts = _parts(views, name, parameter.detach())
    pieces = {part: stored[key] for part in parts if (key := f"{kind}/{part}") in stored}
    if not pieces:
        return None
    first_name, first = next(iter(pieces.items()))
    if first.dim() == 0:
        return torch.stack(list(pieces.values())).max()
    same = first.shape == parts[first_name].shape
    shape = parameter.shape if same else (len(parameter), *first.shape[1:])
    whole = torch.zeros(shape, dtype=first.dtype)
    places = _parts(views, name, whole)
    for part, place in places.items():
        if part in pieces:
            place.copy_(pieces[part])
        elif kind == SQUARES:
            place += torch.stack([piece.mean() for piece in pieces.values()]).mean()
    return whole


def _placed(
    state: dict[str, Tensor], parameter: Tensor, group: dict[str, Any]
) -> dict[str, Tensor]:
    """Moments on their parameter's device; step counts where the optimiser expects them."""
    with_parameter = bool(group.get("fused") or group.get("capturable"))
    return {
        kind: value if kind == "step" and not with_parameter else value.to(parameter.device)
        for kind, value in state.items()
    }


# ---------------------------------------------------------------- random numbers

RANDOM = "random/"


def random_states() -> dict[str, Tensor]:
    """The states of torch's random generators, the only ones that training uses.

    They are the same in all processes, as random values (pcgrad's orders) must be.
    """
    states = {f"{RANDOM}cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states[f"{RANDOM}cuda"] = torch.cuda.get_rng_state()
    return states


def check_random_states(stored: Mapping[str, Tensor], file: str) -> None:
    """Raise DamagedError if `set_random_states` could not use these."""
    here = random_states()
    known = {name: state for name, state in stored.items() if name in here}
    check_forms(known, forms(here), file, may_lack=[f"{RANDOM}cuda"])


def set_random_states(stored: Mapping[str, Tensor]) -> None:
    """Set the generators that exist here."""
    torch.set_rng_state(stored[f"{RANDOM}cpu"].cpu())
    if torch.cuda.is_available() and (state := stored.get(f"{RANDOM}cuda")) is not None:
        torch.cuda.set_rng_state(state.cpu())

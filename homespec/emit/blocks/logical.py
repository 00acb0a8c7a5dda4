"""Weights by logical name: views, states, and loading them."""

import torch

from homespec.emit.blocks.constants import (
    FITTED,
    FOLDED_DICE,
    FOLDED_HIDDEN,
    FOLDED_NORM,
    KEPT,
    SCALED,
    VOCABULARIES,
)
from homespec.emit.blocks.rows import words_of
from homespec.emit.blocks.user_weights import own_part, with_whole_weights


def unwrapped(model):
    """The Model inside the wrapper of torch.compile or DistributedDataParallel."""
    inner = getattr(model, "_orig_mod", getattr(model, "module", model))
    return model if inner is model else unwrapped(inner)


def logical_names(model):
    """Yield (tensor of the model, logical name, index of the part) for all weights and statistics.

    A module with `names` has tensors that stack its parts; other modules name theirs in `_logical`.
    """
    for path, module in unwrapped(model).named_modules():
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        if hasattr(type(module), "_logical"):
            parts = module._logical()
        else:
            names = enumerate(vars(module).get("names", ()))  # a submodule may have this name
            parts = [(attr, f"{name}.{attr}", i) for i, name in names for attr, _ in own]
        for attr, name, index in parts:
            yield f"{path}.{attr}".lstrip("."), name, index


def logical_views(model, tensors):
    """Tensors by their name in the model -> views of their parts by logical name."""
    return {n: tensors[key][i] for key, n, i in logical_names(model) if key in tensors}


def logical_views__plain(model, tensors):
    """Tensors by their name in the model -> by logical name, which drops the word `trunk`."""
    return {
        name.removeprefix("trunk."): tensor
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")  # slicing with ... changes nothing
    }


def logical_state(model):
    """All weights and running statistics by logical name, as views of the model's own tensors."""
    model = unwrapped(model)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return logical_views(model, {name: tensor.detach() for name, tensor in tensors.items()})


def own_views(model):
    """All weights by logical name, as views.

    The user's columns of weights over v are `user_weight`.
    """
    model = unwrapped(model)
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return logical_views(model, {name: tensor.detach() for name, tensor in tensors.items()})


def logical_state__split(model):
    """All weights and statistics by logical name, as views of the model's own tensors.

    Weights over v, which the model has in two parts, are copies in the order of the spec.
    """
    return with_whole_weights(own_views(model))


def load_logical_state(model, state):
    """Copy weights and statistics by logical name into the model, or leave it as it is.

    Raises KeyError for missing or unknown names, ValueError for another shape.
    """
    views = logical_state(model)
    missing, unknown = views.keys() - state.keys(), state.keys() - views.keys()
    if missing or unknown:
        raise KeyError(f"missing {sorted(missing)}, unknown {sorted(unknown)}")
    for name, view in views.items():
        if view.shape != state[name].shape:
            raise ValueError(f"{name} is {tuple(view.shape)}, not {tuple(state[name].shape)}")
    for name, view in views.items():
        view.copy_(state[name])


def load_logical_state__fitted(model, state):
    """Copy weights, statistics and boundaries by logical name into the model, or leave it as it is.

    Raises KeyError for missing or unknown names, ValueError for another shape.
    """
    views = logical_state(model)
    missing, unknown = views.keys() - state.keys(), state.keys() - views.keys()
    if missing or unknown:
        raise KeyError(f"missing {sorted(missing)}, unknown {sorted(unknown)}")
    for name, view in views.items():
        if view.shape != state[name].shape:
            raise ValueError(f"{name} is {tuple(view.shape)}, not {tuple(state[name].shape)}")
    copy_state(model, state)


def load_logical_state__scaled(model, state):
    """Copy weights, statistics and fitted values by logical name into the model.

    Raises KeyError for missing or unknown names, and ValueError for another shape; the model is
    then unchanged.
    """
    views = logical_state(model)
    missing, unknown = views.keys() - state.keys(), state.keys() - views.keys()
    if missing or unknown:
        raise KeyError(f"missing {sorted(missing)}, unknown {sorted(unknown)}")
    for name, view in views.items():
        if view.shape != state[name].shape:
            raise ValueError(f"{name} is {tuple(view.shape)}, not {tuple(state[name].shape)}")
    copy_state(model, state)


def load_logical_state__serving(model, state):
    """Copy weights by logical name into the model; `state` is that of the whole trained model.

    Names that this file does not need are ignored. Raises KeyError for a missing name, and
    ValueError for another shape; the model is then unchanged.
    """
    views = logical_state(model)
    copy_state(model, {name: part(state, name, view.shape) for name, view in views.items()})


def load_logical_state__folded(model, state):
    """Copy weights by logical name into the model; `state` is that of the whole trained model.

    Names that this file does not need are ignored. Raises KeyError for a missing name, and
    ValueError for another shape; the model is then unchanged.
    """
    views = logical_state(model)
    state = folded(state, views)
    copy_state(model, {name: part(state, name, view.shape) for name, view in views.items()})


def copy_state(model, state):
    """Copy tensors by logical name into the model."""
    for name, view in logical_state(model).items():
        view.copy_(state[name])


def copy_state__fitted(model, state):
    """Copy tensors by logical name into the model, and record which boundaries are now set."""
    for name, view in logical_state(model).items():
        view.copy_(state[name])
    find_unset(model)


def copy_state__scaled(model, state):
    """Copy tensors by logical name into the model, and record which fitted values are now set."""
    for name, view in logical_state(model).items():
        view.copy_(state[name])
    find_unset(model)


def copy_state__split(model, state):
    """Copy tensors by logical name into the model, weights over v in two parts."""
    views = own_views(model)
    for name, view in views.items():
        view.copy_(own_part(state, name, views))


def copy_state__split_unset(model, state):
    """Copy tensors, weights over v in two parts, and record which fitted values are now set."""
    views = own_views(model)
    for name, view in views.items():
        view.copy_(own_part(state, name, views))
    find_unset(model)


def part(state, name, shape):
    """A tensor of a state. Raises KeyError if it is missing, ValueError for another shape."""
    if name not in state:
        raise KeyError(f"missing {name}")
    if state[name].shape != shape:
        raise ValueError(f"{name} is {tuple(state[name].shape)}, not {tuple(shape)}")
    return state[name]


def folded(state, views):
    """Logical state of the trained model -> that of this model, which has no running statistics.

    Entries that are already folded stay as they are. `views` is this model's own state.
    """
    return fold_dice(fold_norm(dict(state), views), views)


def folded__norm(state, views):
    """Logical state of the trained model -> that of this model, which has no running statistics.

    Entries that are already folded stay as they are. `views` is this model's own state.
    """
    return fold_norm(dict(state), views)


def folded__dice(state, views):
    """Logical state of the trained model -> that of this model, which has no running statistics.

    Entries that are already folded stay as they are. `views` is this model's own state.
    """
    return fold_dice(dict(state), views)


def folded__hidden(state, views):
    """Logical state of the trained model -> that of this model, which has no running statistics.

    Entries that are already folded stay as they are. `views` is this model's own state.
    """
    return fold_hidden(dict(state), views)


def folded__hidden_norm(state, views):
    """Logical state of the trained model -> that of this model, which has no running statistics.

    Entries that are already folded stay as they are. `views` is this model's own state.
    """
    return fold_hidden(fold_norm(dict(state), views), views)


def folded__dice_hidden(state, views):
    """Logical state of the trained model -> that of this model, which has no running statistics.

    Entries that are already folded stay as they are. `views` is this model's own state.
    """
    return fold_hidden(fold_dice(dict(state), views), views)


def folded__dice_hidden_norm(state, views):
    """Logical state of the trained model -> that of this model, which has no running statistics.

    Entries that are already folded stay as they are. `views` is this model's own state.
    """
    return fold_hidden(fold_dice(fold_norm(dict(state), views), views), views)


def fold_hidden(state, views):
    """Fold batch norms of towers' hidden layers into the Linears before them."""
    for tower, (layers, eps) in FOLDED_HIDDEN.items():
        for i in range(layers):
            fold_into(state, views, f"{tower}.linears.{i}", f"{tower}.hidden.{i}.norm", eps)
    return state


def fold_norm(state, views):
    """Fold batch norms of experts into their last Linears."""
    for experts, (count, last, eps) in FOLDED_NORM.items():
        for name in (f"{experts}.{k}" for k in range(count)):
            fold_into(state, views, f"{name}.linears.{last}", f"{name}.norm", eps)
    return state


def fold_into(state, views, linear, norm, eps):
    """Fold a batch norm, with its running statistics, into the Linear before it."""
    weight, bias = f"{linear}.weight", f"{linear}.bias"
    if bias not in state:
        shape = views[bias].shape
        scale, shift = affine(state, norm, eps, shape)
        gamma, beta = (part(state, f"{norm}.{each}", shape) for each in ("weight", "bias"))
        own = part(state, weight, views[weight].shape)
        state[weight] = own * (gamma * scale).unsqueeze(1)
        state[bias] = beta + gamma * shift


def fold_dice(state, views):
    """Fold DICE's running statistics into a scale and a shift."""
    for experts, (count, eps) in FOLDED_DICE.items():
        for name in (f"{experts}.{k}.dice" for k in range(count)):
            if f"{name}.scale" not in state:
                scale, shift = affine(state, name, eps, views[f"{name}.scale"].shape)
                state |= {f"{name}.scale": scale, f"{name}.shift": shift}
    return state


def affine(state, name, eps, shape):
    """Normalisation by running statistics as u -> scale u + shift, in their precision."""
    mean, var = (part(state, f"{name}.running_{each}", shape) for each in ("mean", "var"))
    scale = (var + eps).rsqrt()
    return scale, -mean * scale


def find_unset(model, _=None):
    """Record in the model the features whose boundaries are not set. Waits for the device."""
    state = logical_state(model)
    found = {name: state[f"features.{name}.boundaries"] for name in FITTED}
    unset = [name for name, each in found.items() if each.is_meta or each.isnan().any()]
    unwrapped(model).unset = tuple(unset)


def find_unset__scaled(model, _=None):
    """Record in the model the features whose scaling is not set. Waits for the device."""
    state = logical_state(model)
    found = {name: state[f"features.{name}.scaling"] for name in SCALED}
    unset = [name for name, each in found.items() if each.is_meta or each.isnan().any()]
    unwrapped(model).unset = tuple(unset)


def find_unset__both(model, _=None):
    """Record in the model the features whose fitted values are not set. Waits for the device."""
    state = logical_state(model)
    found = {name: state[f"features.{name}.boundaries"] for name in FITTED}
    found |= {name: state[f"features.{name}.scaling"] for name in SCALED}
    unset = [name for name, each in found.items() if each.is_meta or each.isnan().any()]
    unwrapped(model).unset = tuple(unset)


def find_unset__kept(model, _=None):
    """Record in the model the features whose fitted values are not set. Waits for the device."""
    state = logical_state(model)
    found = {name: state[f"features.{name}.{fitted}"] for name, fitted in KEPT.items()}
    unset = [name for name, each in found.items() if each.is_meta or each.isnan().any()]
    unwrapped(model).unset = tuple(unset)


def set_vocabularies(model, vocabularies):
    """Set the vocabularies that are fitted to data: feature -> ids, int64, in the order of rows.

    There may be fewer ids than rows of the table. Raises KeyError for missing or unknown features,
    and ValueError for no ids, too many, -1, and ids that are equal modulo 2**53; the model is then
    unchanged.
    """
    if vocabularies.keys() != VOCABULARIES.keys():
        raise KeyError(
            f"missing {sorted(VOCABULARIES.keys() - vocabularies.keys())}, "
            f"unknown {sorted(vocabularies.keys() - VOCABULARIES.keys())}"
        )
    given = {}
    for name, ids in vocabularies.items():
        ids, size = torch.as_tensor(ids, dtype=torch.int64), VOCABULARIES[name]
        if not 0 < len(ids) <= size or (ids == -1).any():
            raise ValueError(f"{name} needs 1 to {size} ids, none of them -1, not {len(ids)}")
        rows = torch.arange(1.0, 1 + len(ids), dtype=torch.float64)
        words = torch.stack([*words_of(ids), rows])[:, words_of(ids)[0].argsort()]
        if (words[0].diff() == 0).any():
            raise ValueError(f"the vocabulary of {name} has ids that are equal modulo 2**53")
        given[name] = torch.cat([words, words[:, -1:].expand(3, size - len(ids))], dim=1)
    state = logical_state(model)
    for name, words in given.items():
        state[f"features.{name}.vocabulary"].copy_(words)
    find_unset(model)


def set_scaling(model, scaling):
    """Set the scaling of numbers to (x - offset) / unit: feature -> (offset, unit).

    For features scaled by `log`, x is sign(x) log(1 + |x|). Raises KeyError for missing or unknown
    features, and ValueError for NaN, infinity or a unit that is not above 0; the model is then
    unchanged.
    """
    if scaling.keys() != set(SCALED):
        raise KeyError(
            f"missing {sorted(set(SCALED) - scaling.keys())}, "
            f"unknown {sorted(scaling.keys() - set(SCALED))}"
        )
    given = {name: torch.as_tensor(pair, dtype=torch.float64) for name, pair in scaling.items()}
    for name, pair in given.items():
        if pair.shape != (2,) or not pair.isfinite().all() or pair[1] <= 0:
            raise ValueError(f"the scaling of {name} must be a finite offset and a unit above 0")
    state = logical_state(model)
    for name, pair in given.items():
        state[f"features.{name}.scaling"].copy_(pair)
    find_unset(model)


def set_boundaries(model, boundaries):
    """Set the boundaries that are fitted to data: feature -> numbers in ascending order, float64.

    Equal neighbours are allowed: no number falls between them. Raises KeyError for missing or
    unknown features, and ValueError for another count, NaN, infinity or a wrong order; the model is
    then unchanged.
    """
    if boundaries.keys() != FITTED.keys():
        raise KeyError(
            f"missing {sorted(FITTED.keys() - boundaries.keys())}, "
            f"unknown {sorted(boundaries.keys() - FITTED.keys())}"
        )
    given = {
        name: torch.as_tensor(numbers, dtype=torch.float64) for name, numbers in boundaries.items()
    }
    for name, numbers in given.items():
        if numbers.shape != (FITTED[name],):
            raise ValueError(f"{name} needs {FITTED[name]} boundaries, not {numbers.numel()}")
        if not numbers.isfinite().all() or (numbers.diff() < 0).any():
            raise ValueError(f"the boundaries of {name} must be finite and ascend")
    state = logical_state(model)
    for name, numbers in given.items():
        state[f"features.{name}.boundaries"].copy_(numbers)
    find_unset(model)

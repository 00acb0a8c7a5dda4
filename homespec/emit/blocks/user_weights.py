"""Weights over v of a file with one user's features: in two parts, of the user and candidates."""

import torch

from homespec.emit.blocks.constants import USER_COLUMNS, USER_WIDTH


def columns_of_v(width):
    """The columns of v in the order in which this model has them: the user's, then the others."""
    user = [i for start, end in USER_COLUMNS for i in range(start, end)]
    return torch.tensor(user + sorted(set(range(width)) - set(user)))


def with_whole_weights(views):
    """Tensors by logical name, with both parts of each weight over v in the order of the spec."""
    for user in [name for name in views if name.endswith(".user_weight")]:
        name = user.removesuffix("user_weight") + "weight"
        both = torch.cat([views.pop(user), views[name]], dim=1)
        views[name] = both[:, columns_of_v(both.shape[1]).argsort()]
    return views


def own_part(state, name, views):
    """The tensor of a state for one of the model's own views; of a weight over v its part."""
    user = name.endswith(".user_weight")
    tensor = state[name.removesuffix("user_weight") + "weight" if user else name]
    if user or f"{name.removesuffix('weight')}user_weight" in views:
        tensor = tensor[:, columns_of_v(tensor.shape[1])]
        tensor = tensor[:, :USER_WIDTH] if user else tensor[:, USER_WIDTH:]
    return tensor

"""The order of tasks, if it differs from that of their towers."""

import torch
from torch import nn

from homespec.emit.blocks.constants import ORDER


class Ordered(nn.Module):
    """A module that holds ORDER as a tensor.

    It is a constant of this file and not a buffer, so it is not in the state, and averages of
    models do not change it. It moves to other devices with the weights.
    """

    def __init__(self):
        super().__init__()
        self.place_order()
        self.register_load_state_dict_post_hook(Ordered.follow_weights)

    def place_order(self):
        """Create the tensor on the device of the weights."""
        device = next(self.parameters(), torch.empty(0)).device
        self.task_order = torch.tensor(ORDER, device=device)

    def follow_weights(self, _):
        """Loading may have replaced weights on the meta device by weights on another one."""
        self.place_order()

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.place_order()
        return self

"""The order of tasks, where it is not that of their towers."""

import torch
from torch import nn

from homespec.emit.blocks.constants import ORDER


class Ordered(nn.Module):
    """A module that has ORDER as a tensor.

    Not a buffer but a constant of this file: no state holds it and no average of models changes
    it. It follows the weights to another device.
    """

    def __init__(self):
        super().__init__()
        self.place_order()
        self.register_load_state_dict_post_hook(Ordered.follow_weights)

    def place_order(self):
        """Make the tensor on the device of the weights."""
        device = next(self.parameters(), torch.empty(0)).device
        self.task_order = torch.tensor(ORDER, device=device)

    def follow_weights(self, _):
        """Loading may have assigned weights on a device, in place of those on the meta device."""
        self.place_order()

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.place_order()
        return self

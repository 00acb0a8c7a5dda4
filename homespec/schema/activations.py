"""Stage 2, schema: the activations of hidden layers."""

from __future__ import annotations

from typing import Literal

Activation = Literal["relu", "swish", "gelu", "tanh", "leaky_relu", "prelu"]
"""Those that work on each number by itself. The slope below 0 is 0.01 for `leaky_relu`, and learned
from 0.25 on for `prelu`: one for each layer that has it."""

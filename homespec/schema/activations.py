"""Stage 2, schema: the activations of hidden layers."""

from __future__ import annotations

from typing import Literal

Activation = Literal["relu", "swish", "gelu", "tanh", "leaky_relu", "prelu"]
"""The elementwise activations.

The slope below 0 is 0.01 for `leaky_relu`; for `prelu` it is learned, starts at 0.25, and each
layer has its own.
"""

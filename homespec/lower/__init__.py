"""Stage 4, lower: a resolved spec becomes the graph of the model."""

from homespec.lower.lowered import Lowered, lower

__all__ = ["Lowered", "lower"]

"""Stage 3, resolve: what the names of a spec mean: the task tree, and the layers on it."""

from homespec.resolve.resolved import Resolved, resolve

__all__ = ["Resolved", "resolve"]

"""Stage 3, resolve: resolves the names of a spec to the task tree and its layers."""

from homespec.resolve.resolved import Resolved, resolve

__all__ = ["Resolved", "resolve"]

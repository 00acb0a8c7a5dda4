"""Stage 7, emit: the generated file, a deterministic text; only this stage imports jinja2."""

from homespec.emit.module import emit

__all__ = ["emit"]

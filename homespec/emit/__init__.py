"""Stage 7, emit: writes the generated file, a deterministic text.

Only this stage imports jinja2.
"""

from homespec.emit.module import emit

__all__ = ["emit"]

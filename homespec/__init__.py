"""homespec: a compiler from a validated YAML spec to fast, readable PyTorch ranking models (HoME).

`load`, `validate` and `compile` never import torch; `build` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from homespec.version import __version__ as __version__

if TYPE_CHECKING:
    from homespec.api import (
        SpecError,
        build,
        build_module,
        build_with_module,
        compile,  # noqa: A004
        load,
        loads,
        validate,
    )

__all__ = [
    "SpecError",
    "build",
    "build_module",
    "build_with_module",
    "compile",
    "load",
    "loads",
    "validate",
]


def __getattr__(name: str) -> object:
    """Import the interface on first use: `import homespec` itself stays instant."""
    if name not in __all__:
        raise AttributeError(f"module 'homespec' has no attribute {name!r}")
    from homespec import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """The interface, for completion."""
    return sorted([*globals(), *__all__])

"""homespec: a compiler from a validated YAML spec to fast, readable PyTorch ranking models (HoME).

`load`, `validate` and `compile` never import torch; `build` does. `load_run` reads a run of
`homespec train`, `predict` and `evaluate` apply it to files, and `migrate` carries its weights over
to another spec. `RankingModule` and `RankingData` are for a Lightning Trainer. These six need the
extra `train`.
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
    from homespec.scoring.evaluate import evaluate as evaluate
    from homespec.scoring.predict import predict as predict
    from homespec.train.datamodule import RankingData as RankingData
    from homespec.train.lit_module import RankingModule as RankingModule
    from homespec.train.load_run import load_run as load_run
    from homespec.train.migrate import migrate as migrate

TRAINING = {
    "evaluate": "homespec.scoring.evaluate",
    "RankingData": "homespec.train.datamodule",
    "RankingModule": "homespec.train.lit_module",
    "load_run": "homespec.train.load_run",
    "migrate": "homespec.train.migrate",
    "predict": "homespec.scoring.predict",
}
"""Names that need more than the compiler, and their modules; not part of `import *`."""

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
    """Import the interface on first use, so that `import homespec` itself is instant."""
    if name in TRAINING:
        return _of_training(name)
    if name not in __all__:
        raise AttributeError(f"module 'homespec' has no attribute {name!r}")
    from homespec import api

    return getattr(api, name)


def _of_training(name: str) -> object:
    import importlib

    try:
        return getattr(importlib.import_module(TRAINING[name]), name)
    except ModuleNotFoundError as error:
        from homespec.installation import install_command

        raise ImportError(
            f"homespec.{name} needs {error.name}: {install_command('train')}", name=error.name
        ) from None


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted([*globals(), *__all__, *TRAINING])

"""Stage 7, runtime: the generated source as a real Python module, and the model from it."""

from __future__ import annotations

import copyreg
import functools
import hashlib
import importlib.util
import sys
import types
from collections.abc import Callable
from importlib.abc import InspectLoader
from typing import Any, TypeVar, cast

import torch
from torch import nn

F = TypeVar("F", bound=Callable[..., Any])


class SourceLoader(InspectLoader):
    """Imports a text: tracebacks, pdb and compile logs find its lines through `get_source`."""

    def __init__(self, name: str, source: str, file: str) -> None:
        self.name = name
        self.source = source
        self.file = file

    def get_source(self, fullname: str) -> str:
        """The text itself."""
        return self.source

    def get_code(self, fullname: str) -> Any:
        """The text compiled under its file name."""
        return self.source_to_code(self.source, self.file)

    def is_package(self, fullname: str) -> bool:
        """Generated files are plain modules."""
        return False


def import_source(name: str, source: str) -> types.ModuleType:
    """Import generated source under a name made of the model's and its content's hash."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    full = f"homespec_generated_{name}_{digest}"
    if full in sys.modules:
        return sys.modules[full]
    file = f"homespec-generated/{name}_{digest}.py"  # no file, but linecache asks the loader for it
    loader = SourceLoader(name, source, file)
    spec = importlib.util.spec_from_loader(full, loader, origin=file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = file
    sys.modules[full] = module
    loader.exec_module(module)
    for made in list(vars(module).values()):
        if isinstance(made, type) and issubclass(made, nn.Module) and made.__module__ == full:
            copyreg.pickle(made, _reduced)  # not in the class: generated code knows no homespec
    return module


def _reduced(made: nn.Module) -> tuple[Any, ...]:
    """How modules of generated code are copied and pickled: with the text of their classes.

    No other process has a module of the name under which the text was imported here.
    """
    loader = sys.modules[type(made).__module__].__loader__
    assert isinstance(loader, SourceLoader)
    state = made.__getstate__()  # type: ignore[no-untyped-call]
    return blank, (loader.name, loader.source, type(made).__name__), state


def blank(name: str, source: str, kind: str) -> nn.Module:
    """An instance of a class of generated source, before it gets its state."""
    module = import_source(name, source)
    found = getattr(module, kind, None) or compiled_class(module.Model)  # that is in no text
    made: nn.Module = found.__new__(found)
    return made


@functools.cache
def compiled_class(model: type[nn.Module]) -> type[nn.Module]:
    """The class of a generated module's models with their forward under torch.compile.

    The bare forward, so that hooks such as the check of the batch size run outside.
    """

    class CompiledModel(model):  # type: ignore[misc, valid-type]
        """What is compiled is bound to no model and part of no state: each copy makes its own."""

        def __init__(self) -> None:
            super().__init__()
            self.compiled = compiled(model.forward, dynamic=True)

        def __getstate__(self) -> dict[str, Any]:
            return {key: value for key, value in vars(self).items() if key != "compiled"}

        def __setstate__(self, state: dict[str, Any]) -> None:
            super().__setstate__(state)
            self.compiled = compiled(model.forward, dynamic=True)

        @functools.wraps(model.forward)
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.compiled(self, *args, **kwargs)

    CompiledModel.__module__ = model.__module__
    copyreg.pickle(CompiledModel, _reduced)
    return CompiledModel


def instantiate(
    module: types.ModuleType,
    *,
    compile: bool = False,  # noqa: A002
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> torch.nn.Module:
    """The Model of a generated module; see `homespec.build` for the options."""
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype such as torch.bfloat16, not {dtype!r}")
    model: nn.Module = (compiled_class(module.Model) if compile else module.Model)()
    if dtype is not None:
        model = model.to(dtype)
    return model if device is None else model.to(device)


SAFE: dict[str, Any] = {"inplace_buffers": False}
"""Options of inductor without which its results can be wrong, silently (torch 2.13).

It computes in place into a concatenation that is still read, and over a tensor kept for the
backward pass of which another one is a view. Generated code avoids what it can of that by itself
(tests/test_saved.py), but not where inductor lays values into a concatenation of its own making
(tests/test_runtime.py).
"""


def compiled(function: F, dynamic: bool) -> F:
    """The function under torch.compile, without graph breaks."""
    found = torch.compile(own(function), fullgraph=True, dynamic=dynamic, options=SAFE)
    return cast(F, found)


def own(function: F) -> F:
    """The function or method with a copy of its code.

    Dynamo keeps what it compiled by code object, searches it at each call and allows eight graphs
    for one: models that share code would pay for each other, and the ninth would fail.
    """
    if isinstance(function, types.MethodType):
        return cast(F, types.MethodType(own(function.__func__), function.__self__))
    assert isinstance(function, types.FunctionType)
    copy = types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return cast(F, copy)

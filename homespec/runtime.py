"""Stage 8, runtime: imports the generated source as a Python module, and builds its model."""

from __future__ import annotations

import copyreg
import functools
import hashlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import InspectLoader
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

F = TypeVar("F", bound=Callable[..., Any])

# ---------------------------------------------------------------- what generated files offer


class GeneratedModule(Protocol):
    """The parts of a generated module on which the rest of homespec relies.

    Everything else in a file may change with the next version. A file for inference has no labels
    and losses. A file has `set_boundaries` only if there are boundaries to fit, `set_scaling` only
    if numbers are scaled, and `set_vocabularies` only if there are vocabularies to fit.
    """

    FEATURES: Fields
    """The inputs of a model by the names of the tensors, in order."""
    TASKS: tuple[str, ...]
    LABELS: Mapping[str, str]
    WEIGHTS: Mapping[str, float]
    Model: type[nn.Module]
    """Features by name -> logits [B] by task; with `stacked=True` -> logits [T, B]. It has the
    parts `features` and `trunk`."""

    def Features(self, table: TableFactory) -> GeneratedFeatures:  # noqa: N802
        """Optimised files of specs with tables: the inputs. `table` creates the look-ups."""

    def Trunk(self) -> nn.Module:  # noqa: N802
        """The concatenated features [B, V] -> logits [T, B]."""

    def check_inputs(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        """Raise ValueError for missing or misshapen features: a pre-forward hook of a module.

        If something is fitted, `model.unset` names the features whose values are not set yet.
        """

    def stacked_losses(
        self, logits: Tensors | Tensor, labels: Tensors, *more: Tensors | Tensor
    ) -> Tensor:
        """The loss of each task [T], from logits by task or [T, B], and labels [B] by task.

        If a file has SAMPLE_WEIGHTS, the weights [B] of these tasks are a third argument. If it
        has SESSIONS, the ids [B] of that column are the last one.
        """

    def losses(
        self, logits: Tensors | Tensor, labels: Tensors, *more: Tensors | Tensor
    ) -> dict[str, Tensor]:
        """The same losses by task."""

    def loss(self, logits: Tensors | Tensor, labels: Tensors, *more: Tensors | Tensor) -> Tensor:
        """Their weighted sum."""

    def logical_names(self, model: nn.Module) -> Iterator[tuple[str, str, Any]]:
        """Sources of logical names: (tensor of a model or of its part, name, index of the part)."""

    def logical_views(self, model: nn.Module, tensors: Tensors) -> dict[str, Tensor]:
        """Tensors by their name in the model -> views of their parts by logical name."""

    def logical_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Weights and running statistics by logical name, as views of the model's own."""

    def load_logical_state(self, model: nn.Module, state: Tensors) -> None:
        """Copy a state into the model. KeyError for other names, ValueError for other shapes."""

    def set_boundaries(self, model: nn.Module, boundaries: Mapping[str, Sequence[float]]) -> None:
        """Set the fitted boundaries. KeyError and ValueError name the mistake."""

    def set_scaling(self, model: nn.Module, scaling: Mapping[str, Sequence[float]]) -> None:
        """Set offset and unit of numbers. KeyError and ValueError name the mistake."""

    def set_vocabularies(self, model: nn.Module, vocabularies: Mapping[str, Sequence[int]]) -> None:
        """Set ids in the order of their rows. KeyError and ValueError name the mistake."""


Tensors = Mapping[str, Tensor]
Fields = Mapping[str, Mapping[str, Any]]
"""By tensor: its `kind`, the `dim` of its embedding and the `rows` of its table; the feature in
whose `table` it is looked up, if not its own; the `length` of a vector or of the events of its
`sequence`."""
TableFactory = Callable[[Fields], nn.Module]
"""Creates an `EmbeddingTable`, or a replacement, for fields of the same width.

It is called like one, and if events are scored by embeddings, its `peek(name, rows)` looks one up.
"""


class GeneratedFeatures(Protocol):
    """The generated `Features`: features by name -> v [B, V]."""

    def __call__(self, features: Tensors) -> Tensor:
        """All features, concatenated."""

    def rows(self, features: Tensors) -> dict[str, Tensor]:
        """The rows of their tables by name, in the shape of each feature; needs only boundaries."""

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """The modules, as in any nn.Module."""


class SessionModule(Protocol):
    """What a generated module has besides if its losses rank rows within sessions."""

    SESSIONS: Mapping[str, str]
    """The column of sessions by task."""

    def row_weights(self, labels: Tensors, *more: Tensors) -> Tensor:
        """The weight of each row in the loss of each task [T, B]; 0 if it does not count."""


@runtime_checkable
class EmbeddingTable(Protocol):
    """A generated table of features of one width, stacked: the parameter `weight` [N, E].

    Its forward takes rows [...] by name and returns embeddings [..., E] by name.
    """

    starts: dict[str, int]
    """For each name, the offset of its rows in `weight`."""


@runtime_checkable
class SeveralTables(Protocol):
    """A generated table in which a feature may have one at each of several nodes of the tree."""

    def rows_of(self, name: str, rows: Tensor) -> Tensor:
        """The rows of a feature [...] in the whole table, [..., P] if it has P tables."""


def tables_of(model: nn.Module) -> dict[str, nn.Module]:
    """Every `EmbeddingTable` of a model by its name; code that is not optimised has none."""
    return {name: m for name, m in model.named_modules() if is_table(m)}


def is_table(module: object) -> bool:
    """Whether a module is an `EmbeddingTable`."""
    return isinstance(module, EmbeddingTable)


def embeddings_of(model: nn.Module) -> list[nn.Parameter]:
    """The weights of all embeddings; unoptimised code has an nn.Embedding for each feature."""
    plain = (module for module in model.modules() if isinstance(module, nn.Embedding))
    return [module.get_parameter("weight") for module in (*tables_of(model).values(), *plain)]


def sampled(code: GeneratedModule) -> tuple[str, ...]:
    """The tasks whose rows have weights."""
    return tuple(getattr(code, "SAMPLE_WEIGHTS", ()))


def session_column(code: GeneratedModule) -> str | None:
    """The column of sessions in which losses rank rows."""
    return next(iter(getattr(code, "SESSIONS", {}).values()), None)


Observed = Callable[[Tensors, Tensors], dict[str, Tensor]]
"""Labels and sample weights by task -> labels."""


def observed(code: GeneratedModule) -> Observed:
    """A function that hides labels outside of a task's sample space, and of rows with weight 0.

    A file has a function for sample spaces only if a task of the spec has one (`where`).
    """
    inside = cast(Callable[[Tensors], dict[str, Tensor]], getattr(code, "observed", dict))

    def visible(labels: Tensors, weights: Tensors) -> dict[str, Tensor]:
        own = inside(labels)
        return own | {t: own[t].masked_fill(w == 0, torch.nan) for t, w in weights.items()}

    return visible


def row_totals(code: GeneratedModule, labels: Tensors, weights: Tensors) -> Tensor:
    """How much the rows of a batch count for each task, float [T].

    This is the sum of their weights in the loss or, without weights, the number of rows with a
    label.
    """
    if hasattr(code, "row_weights"):
        given = (weights,) if sampled(code) else ()
        totals: Tensor = code.row_weights(labels, *given).sum(1).float()
        return totals
    own = observed(code)(labels, weights)
    return (~torch.stack([own[task] for task in code.TASKS]).isnan()).sum(1).float()


def module_of(part: nn.Module) -> GeneratedModule:
    """The generated module that defines the class of a model, or of a part of one."""
    return cast(GeneratedModule, sys.modules[type(part).__module__])


# ---------------------------------------------------------------- source -> module

STACKED = "Linears"
"""A class that every optimised file has, and no other: Linears of one shape as one product."""


class SourceLoader(InspectLoader):
    """Imports a text. Tracebacks, pdb and compile logs find its lines through `get_source`."""

    def __init__(self, name: str, source: str, file: str) -> None:
        self.name = name
        self.source = source
        self.file = file

    def get_source(self, fullname: str) -> str:
        """The text itself."""
        return self.source

    def get_code(self, fullname: str) -> Any:
        """The text, compiled under its file name."""
        return self.source_to_code(self.source, self.file)

    def is_package(self, fullname: str) -> bool:
        """False: generated files are plain modules."""
        return False


def import_source(name: str, source: str) -> GeneratedModule:
    """Import generated source under a name made of the model's name and a hash of the content."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    full = f"homespec_generated_{name}_{digest}"
    if full in sys.modules:
        return cast(GeneratedModule, sys.modules[full])
    file = f"homespec-generated/{name}_{digest}.py"  # no file exists, but linecache asks the loader
    loader = SourceLoader(name, source, file)
    spec = importlib.util.spec_from_loader(full, loader, origin=file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = file
    sys.modules[full] = module
    loader.exec_module(module)
    for made in list(vars(module).values()):
        if isinstance(made, type) and issubclass(made, nn.Module) and made.__module__ == full:
            copyreg.pickle(made, _reduced)  # generated code does not use homespec
    if hasattr(module, STACKED):
        type.__setattr__(module.Model, "qconfig", property(None, _refuse_quantisation))
    return cast(GeneratedModule, module)


def _refuse_quantisation(model: nn.Module, _: object) -> None:
    """What torch's eager quantisation sets first. It would then find almost nothing to replace."""
    raise RuntimeError(
        "torch.ao.quantization replaces nn.Linear, but an optimised file has batched products "
        "instead, so nothing would be quantised: `homespec export --weights int8` keeps"
        " embedding tables in int8"
    )


def _reduced(made: nn.Module) -> tuple[Any, ...]:
    """How to copy and pickle models of generated code: with the text of their classes.

    Other processes have no module under the name with which the text was imported here.
    """
    loader = sys.modules[type(made).__module__].__loader__
    assert isinstance(loader, SourceLoader)
    state = made.__getstate__()  # type: ignore[no-untyped-call]
    return blank, (loader.name, loader.source, type(made).__name__), state


def blank(name: str, source: str, kind: str) -> nn.Module:
    """Create an instance of a class of generated source, without its state."""
    module = import_source(name, source)
    own = getattr(module, kind, None) or compiled_class(cast(Any, module.Model))  # not in the text
    made: nn.Module = own.__new__(own)
    return made


# ---------------------------------------------------------------- module -> model


@functools.cache
def compiled_class(model: Any) -> type[nn.Module]:
    """A subclass of a generated module's model that compiles its forward with torch.compile.

    Only the forward is compiled, so hooks such as the check of the batch size run outside.
    """

    class CompiledModel(model):  # type: ignore[misc]
        """The compiled function is not part of the state: each copy of the model makes its own."""

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
    module: GeneratedModule,
    *,
    compile: bool = False,  # noqa: A002
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> torch.nn.Module:
    """Build the Model of a generated module; see `homespec.build` for the options."""
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype such as torch.bfloat16, not {dtype!r}")
    model: nn.Module = (compiled_class(cast(Any, module.Model)) if compile else module.Model)()
    if dtype is not None:
        model = model.to(dtype)
    return model if device is None else model.to(device)


SAFE: dict[str, Any] = {"inplace_buffers": False}
"""Options of inductor without which its results can be silently wrong (torch 2.13).

It computes in place into a concatenation that is still read, and over a tensor that is kept for the
backward pass and has a view. Generated code avoids what it can of that by itself
(tests/test_saved.py), but not if inductor writes values into a concatenation that it creates itself
(tests/test_runtime.py).
"""


def compiled(function: F, dynamic: bool) -> F:
    """The function under torch.compile, without graph breaks."""
    return cast(F, torch.compile(own(function), fullgraph=True, dynamic=dynamic, options=SAFE))


def own(function: F) -> F:
    """A copy of the function or method, with its own code object.

    Dynamo stores what it compiles by code object, searches it at each call, and allows eight graphs
    for each. Models that share code would slow each other down, and the ninth would fail.
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

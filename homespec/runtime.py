"""Stage 8, runtime: the generated source as a real Python module, and the model from it."""

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
    """A generated file as a module: all that the rest of homespec relies on.

    Whatever else is in a file may change with the next version. A file for inference has no labels
    and losses; one without boundaries to fit has no `set_boundaries`, one without scaled numbers no
    `set_scaling`, one without vocabularies to fit no `set_vocabularies`.
    """

    FEATURES: Fields
    """What a model takes, by the names of the tensors, in their order."""
    TASKS: tuple[str, ...]
    LABELS: Mapping[str, str]
    WEIGHTS: Mapping[str, float]
    Model: type[nn.Module]
    """Features by name -> logits [B] by task; with `stacked=True` -> logits [T, B]. It has the
    parts `features` and `trunk`."""

    def Features(self, table: TableFactory) -> GeneratedFeatures:  # noqa: N802
        """Optimised files of specs with tables: the inputs, whose look-ups `table` makes."""

    def Trunk(self) -> nn.Module:  # noqa: N802
        """The concatenated features [B, V] -> logits [T, B]."""

    def check_inputs(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        """Raise ValueError for features missing or misshapen: a hook of a module's forward.

        Where something is fitted, `model.unset` names the features of which nothing is yet.
        """

    def stacked_losses(
        self, logits: Tensors | Tensor, labels: Tensors, *weights: Tensors
    ) -> Tensor:
        """The loss of each task [T] of logits by task or [T, B], and of labels [B] by task.

        Where a file has SAMPLE_WEIGHTS, the weights [B] of these tasks go along.
        """

    def losses(
        self, logits: Tensors | Tensor, labels: Tensors, *weights: Tensors
    ) -> dict[str, Tensor]:
        """The same by task."""

    def loss(self, logits: Tensors | Tensor, labels: Tensors, *weights: Tensors) -> Tensor:
        """Their weighted sum."""

    def logical_names(self, model: nn.Module) -> Iterator[tuple[str, str, Any]]:
        """Where logical names are: (tensor of a model or of its part, name, index of the part)."""

    def logical_views(self, model: nn.Module, tensors: Tensors) -> dict[str, Tensor]:
        """Tensors by their name in the model -> views of their parts by logical name."""

    def logical_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Weights and running statistics by logical name, as views of the model's own."""

    def load_logical_state(self, model: nn.Module, state: Tensors) -> None:
        """Copy them into the model. KeyError for other names, ValueError for other shapes."""

    def set_boundaries(self, model: nn.Module, boundaries: Mapping[str, Sequence[float]]) -> None:
        """Set those that are fitted to data. KeyError and ValueError say what is wrong."""

    def set_scaling(self, model: nn.Module, scaling: Mapping[str, Sequence[float]]) -> None:
        """Set offset and unit of numbers. KeyError and ValueError say what is wrong."""

    def set_vocabularies(self, model: nn.Module, vocabularies: Mapping[str, Sequence[int]]) -> None:
        """Set ids in the order of their rows. KeyError and ValueError say what is wrong."""


Tensors = Mapping[str, Tensor]
Fields = Mapping[str, Mapping[str, Any]]
"""By tensor: its `kind`, the `dim` of its embedding and the `rows` of its table; the feature whose
`table` it is looked up in, if not its own; the `length` of a vector or of the events of its
`sequence`."""
TableFactory = Callable[[Fields], nn.Module]
"""Fields of one width -> an `EmbeddingTable` or what takes its place. It is called as one, and
where events are scored by embeddings its `peek(name, rows)` looks one up."""


class GeneratedFeatures(Protocol):
    """The generated `Features`: features by name -> v [B, V]."""

    def __call__(self, features: Tensors) -> Tensor:
        """All features, concatenated."""

    def rows(self, features: Tensors) -> dict[str, Tensor]:
        """The rows of their tables by name, each of its feature's shape; needs boundaries alone."""

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """As of any nn.Module."""


@runtime_checkable
class EmbeddingTable(Protocol):
    """A generated table of features of one width, below each other: the parameter `weight` [N, E].

    Its forward takes rows [...] by name and returns embeddings [..., E] by name.
    """

    starts: dict[str, int]
    """By name, what is added to its rows to get those of `weight`."""


def tables_of(model: nn.Module) -> dict[str, nn.Module]:
    """Every `EmbeddingTable` of a model by its name; code that is not optimised has none."""
    return {name: m for name, m in model.named_modules() if is_table(m)}


def is_table(module: object) -> bool:
    """Whether a module is an `EmbeddingTable`."""
    return isinstance(module, EmbeddingTable)


def embeddings_of(model: nn.Module) -> list[nn.Parameter]:
    """The weights of all embeddings; without optimisation each feature has an nn.Embedding."""
    plain = (module for module in model.modules() if isinstance(module, nn.Embedding))
    return [module.get_parameter("weight") for module in (*tables_of(model).values(), *plain)]


def sampled(code: GeneratedModule) -> tuple[str, ...]:
    """The tasks whose rows have weights."""
    return tuple(getattr(code, "SAMPLE_WEIGHTS", ()))


Observed = Callable[[Tensors, Tensors], dict[str, Tensor]]
"""Labels and sample weights by task -> labels."""


def observed(code: GeneratedModule) -> Observed:
    """What hides labels that do not count: of rows outside of a task's sample space, of weight 0.

    A file has the function for the former only if a task of the spec has a space (`where`).
    """
    inside = cast(Callable[[Tensors], dict[str, Tensor]], getattr(code, "observed", dict))

    def visible(labels: Tensors, weights: Tensors) -> dict[str, Tensor]:
        own = inside(labels)
        return own | {t: own[t].masked_fill(w == 0, torch.nan) for t, w in weights.items()}

    return visible


def row_totals(code: GeneratedModule, labels: Tensors, weights: Tensors) -> Tensor:
    """How much the rows of a batch count for each task, float [T]: the sum of their weights in the
    loss, where none has a weight the number of those with a label.
    """
    if hasattr(code, "row_weights"):
        given = (weights,) if sampled(code) else ()
        totals: Tensor = code.row_weights(labels, *given).sum(1).float()
        return totals
    own = observed(code)(labels, weights)
    return (~torch.stack([own[task] for task in code.TASKS]).isnan()).sum(1).float()


def module_of(part: nn.Module) -> GeneratedModule:
    """The generated module that a model, or a part of one, comes from."""
    return cast(GeneratedModule, sys.modules[type(part).__module__])


# ---------------------------------------------------------------- source -> module

STACKED = "Linears"
"""A class that all optimised files have, and no others: Linears of one shape as one product."""


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


def import_source(name: str, source: str) -> GeneratedModule:
    """Import generated source under a name made of the model's and its content's hash."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    full = f"homespec_generated_{name}_{digest}"
    if full in sys.modules:
        return cast(GeneratedModule, sys.modules[full])
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
    if hasattr(module, STACKED):
        type.__setattr__(module.Model, "qconfig", property(None, _refuse_quantisation))
    return cast(GeneratedModule, module)


def _refuse_quantisation(model: nn.Module, _: object) -> None:
    """What torch's eager quantisation sets first; it would then find next to nothing to replace."""
    raise RuntimeError(
        "torch.ao.quantization replaces nn.Linear, but an optimised file has batched products "
        "instead, so nothing would be quantised: `homespec export --weights int8` keeps"
        " embedding tables in int8"
    )


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
    own = getattr(module, kind, None) or compiled_class(
        cast(Any, module.Model)
    )  # that is in no text
    made: nn.Module = own.__new__(own)
    return made


# ---------------------------------------------------------------- module -> model


@functools.cache
def compiled_class(model: Any) -> type[nn.Module]:
    """The class of a generated module's models with their forward under torch.compile.

    The bare forward, so that hooks such as the check of the batch size run outside.
    """

    class CompiledModel(model):  # type: ignore[misc]
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
    module: GeneratedModule,
    *,
    compile: bool = False,  # noqa: A002
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> torch.nn.Module:
    """The Model of a generated module; see `homespec.build` for the options."""
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype such as torch.bfloat16, not {dtype!r}")
    model: nn.Module = (compiled_class(cast(Any, module.Model)) if compile else module.Model)()
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
    return cast(F, torch.compile(own(function), fullgraph=True, dynamic=dynamic, options=SAFE))


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

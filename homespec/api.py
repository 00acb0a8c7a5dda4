"""The Python interface: load, validate, compile, build, and the exception that they raise."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from homespec.compiler import Analysis, Stopped, analyse, generate, validate_document
from homespec.diagnostics import Report
from homespec.schema import Spec
from homespec.source import Document, parse, read_spec, with_bases
from homespec.variant import Mode, Target

if TYPE_CHECKING:
    import torch

    from homespec.runtime import GeneratedModule


class SpecError(Exception):
    """Raised for a spec with errors.

    `report` holds the diagnostics; the message is their full text.
    """

    def __init__(self, report: Report) -> None:
        from homespec.diagnostics.render import render

        super().__init__("\n" + render(report, "full"))
        self.report = report


class LoadedSpec(Spec):
    """A spec with its document, ready to be compiled."""

    _analysis: Analysis

    @property
    def analysis(self) -> Analysis:
        """The compiler's analysis of the spec."""
        return self._analysis


PathLike = str | os.PathLike[str]


def load(
    path: PathLike, overrides: Iterable[str] = (), *, root: PathLike | None = None
) -> LoadedSpec:
    """Read and check a spec file and the files that it extends.

    Raises SpecError with all diagnostics.

    `overrides` are changes as for `--set`, such as `gates.self=false`; ValueError for another form.
    Files that the spec extends must be in its repository (rule HS023) or in the folder `root`.
    """
    return _loaded(read_spec(path, overrides, _folders(root)))


def as_loaded(spec: PathLike | LoadedSpec) -> LoadedSpec:
    """The given spec, or the spec of a file. Raises SpecError."""
    return spec if isinstance(spec, LoadedSpec) else load(spec)


def loads(
    text: str,
    name: str = "<string>",
    overrides: Iterable[str] = (),
    *,
    root: PathLike | None = None,
) -> LoadedSpec:
    """Check the text of a spec; `name` is the file's name in messages. Raises SpecError.

    Files that the text extends are resolved as if the text were in the file `name`.
    """
    return _loaded(with_bases(parse(text, name), overrides, _folders(root)))


def validate(
    spec: PathLike, overrides: Iterable[str] = (), *, root: PathLike | None = None
) -> Report:
    """The report on a spec file, including notes.

    Never raises because of the contents of a spec.
    """
    return _report(read_spec(spec, overrides, _folders(root)))


def _folders(root: PathLike | None) -> tuple[str, ...]:
    return () if root is None else (os.fspath(root),)


def compile(  # noqa: A001
    spec: PathLike | LoadedSpec,
    *,
    optimize: bool = True,
    mode: Mode = "training",
    tasks: Iterable[str] | None = None,
    skip_passes: Iterable[str] = (),
    target: Target = "portable",
    user_features: Iterable[str] | None = None,
) -> str:
    """The text of the generated file of a spec. Raises SpecError.

    `mode="inference"` drops everything that only training needs and folds batch norm into the
    weights; `tasks` keeps only what these tasks need; with `optimize=False`, each expert is a
    module; `target="cuda"` adds Triton kernels, which no GPU has run yet. For inference,
    `user_features` are those that a request has once for all its candidates. Raises ValueError for
    an unknown mode, task, feature, target or pass.
    """
    from homespec.variant import variant

    wanted = variant(
        optimize=optimize, mode=mode, tasks=tasks, skip=skip_passes, target=target,
        user_features=user_features,
    )  # fmt: skip
    loaded = as_loaded(spec)
    return generate(loaded.analysis, wanted)


class CompileOptions(TypedDict, total=False):
    """The options of `compile`."""

    optimize: bool
    mode: Mode
    tasks: Iterable[str] | None
    skip_passes: Iterable[str]
    target: Target
    user_features: Iterable[str] | None


def build_module(spec: PathLike | LoadedSpec, **options: Unpack[CompileOptions]) -> GeneratedModule:
    """Compile a spec and import the generated source as a Python module. Needs torch.

    The options are those of `compile`.
    """
    from homespec.runtime import import_source

    loaded = as_loaded(spec)
    return import_source(loaded.name, compile(loaded, **options))


def build(
    spec: PathLike | LoadedSpec,
    *,
    compile: bool = False,  # noqa: A002
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **options: Unpack[CompileOptions],
) -> torch.nn.Module:
    """Instantiate the model of a spec: features by name -> logits [B] by task. Needs torch.

    `compile` compiles its forward with torch.compile(fullgraph=True). `dtype` is the type of
    weights and arithmetic; running statistics stay at least float32. The other options are those of
    `homespec.compile`. Raises SpecError, and `homespec.memory.OutOfMemoryError`, a MemoryError, if
    the weights do not fit in memory.
    """
    return build_with_module(spec, compile=compile, dtype=dtype, device=device, **options)[1]


def build_with_module(
    spec: PathLike | LoadedSpec,
    *,
    compile: bool = False,  # noqa: A002
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    **options: Unpack[CompileOptions],
) -> tuple[GeneratedModule, torch.nn.Module]:
    """The results of `build_module` and `build`, compiled once."""
    from homespec import memory
    from homespec.runtime import instantiate

    loaded = as_loaded(spec)
    code = build_module(loaded, **options)
    with memory.explained(loaded.analysis, "building"):
        return code, instantiate(code, compile=compile, dtype=dtype, device=device)


def _report(document: Document) -> Report:
    return Report.of(validate_document(document), document.texts)


def _loaded(document: Document) -> LoadedSpec:
    try:
        analysis = analyse(document)
    except Stopped:
        raise SpecError(_report(document)) from None
    fields: dict[str, Any] = {n: getattr(analysis.spec, n) for n in analysis.spec.model_fields_set}
    loaded = LoadedSpec.model_construct(_fields_set=analysis.spec.model_fields_set, **fields)
    loaded._analysis = analysis
    return loaded

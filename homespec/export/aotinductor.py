"""Export: AOTInductor packages, and all private names of torch that these need.

torch's public API compiles a dict of features to a package that takes tensors by position. This
file changes two things: the package records that it takes features by keyword, so that Python's
loader orders them by name and refuses other names; and its code checks types, shapes, rows and
strides at each call (`input_checks`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from homespec.export import ExportError
from homespec.export.input_checks import REPLACED, checks
from homespec.export.inputs import Input
from homespec.export.remarks import quiet

PRIVATE = {
    "flatten_inputs": ("torch._inductor.compile_fx", "_aoti_flatten_inputs"),
    "compile_files": ("torch._inductor.compile_fx", "compile_fx_aot"),
    "compiling": ("torch._export.utils", "_compiling_state_context"),
    "CppWrapper": ("torch._inductor.codegen.cpp_wrapper_cpu", "CppWrapperCpu"),
    "virtualized": ("torch._inductor.virtualized", "V"),
    "write_archive": ("torch._inductor.package", "package_aoti"),
    "load_archive": ("torch._inductor", "aoti_load_package"),
    "loader": ("torch._C._aoti", "AOTIModelPackageLoader"),
}
"""Names that torch may change in any version; these are in 2.13."""
HOOK = "generate_input_output_runtime_checks"
"""The method of CppWrapper that writes the function REPLACED."""
FREE_WEIGHTS = {
    # otherwise vectors of up to eight numbers become literals in the code, which cannot be replaced
    "always_keep_tensor_constants": True,
    "aot_inductor.package_constants_on_disk_format": "binary_blob",
}
"""Options that store all weights in a separate file, so that they can be replaced."""

SEPARATOR = ","
"""Separator of names in the metadata of a package; names do not contain it."""

Sizes = list[tuple[str, int]]
"""The name in the model and the size in bytes of each tensor in the weights file, in order."""


def private(name: str) -> Any:
    """The objects named in PRIVATE. Raises ExportError if this torch does not have them."""
    module, attribute = PRIVATE[name]
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise ExportError(_lacking(f"{module}.{attribute}")) from None


def _lacking(what: str) -> str:
    return (
        f"torch {torch.__version__} has no {what}, a private name that model.pt2 is made with:"
        " torch 2.13 has it, and --format onnx needs no such name"
    )


@quiet()
def compile_package(
    program: torch.export.ExportedProgram,
    inputs: Sequence[Input],
    features: Mapping[str, Tensor],
    path: Path,
    metadata: Mapping[str, str],
) -> Sizes:
    """Compile a program with one dict of features to the package `path`, and return its weights.

    Intermediate files remain beside it. Raises ExportError.
    """
    graph = program.module(check_guards=False)
    device = next(iter(features.values())).device.type
    options = {
        **FREE_WEIGHTS,
        "aot_inductor.package": True,
        "aot_inductor.metadata": dict(metadata),
        "aot_inductor.output_path": str(path.with_suffix("")),
    }
    flat, options = private("flatten_inputs")(graph, (dict(features),), {}, options=options)
    by_name = pytree.tree_structure(((), dict(features)))
    options["aot_inductor.serialized_in_spec"] = pytree.treespec_dumps(by_name)
    with _with_checks(checks(inputs, device)) as sizes, private("compiling")():
        files = private("compile_files")(graph, flat, config_patches=options)
    if not sizes:
        raise ExportError(_lacking(f"{HOOK} that is called"))
    private("write_archive")(str(path), files)
    return sizes


@contextmanager
def _with_checks(code: str) -> Iterator[Sizes]:
    """Packages compiled in the block get these checks. Yields the weights of the last one."""
    wrapper = private("CppWrapper")
    original = getattr(wrapper, HOOK, None)
    if original is None:
        raise ExportError(_lacking(f"{wrapper.__name__}.{HOOK}"))
    sizes: Sizes = []

    def write(self: Any) -> None:
        original(self)
        if REPLACED not in self.prefix.getvalue():
            raise ExportError(_lacking(f"{REPLACED} in its code"))
        self.prefix.splice(code)
        sizes[:] = _sizes(private("virtualized").graph)

    setattr(wrapper, HOOK, write)
    try:
        yield sizes
    finally:
        setattr(wrapper, HOOK, original)


def _sizes(graph: Any) -> Sizes:
    return [
        (graph.allocated_constant_name[name], tensor.untyped_storage().nbytes())
        for name, tensor in graph.constants.items()
        if name not in graph.folded_constants
    ]


class Loader:
    """A loaded package, called by position as from C++ and Triton; the names are in its metadata.

    torch's own class for Python imports the compiler on loading, and parses the structure of inputs
    and outputs at each call.
    """

    def __init__(self, path: Path) -> None:
        self._loader = private("loader")(str(path), "model", False, 1, -1)
        metadata = self._loader.get_metadata()
        self._inputs: list[str] = metadata["inputs"].split(SEPARATOR)
        self._outputs: list[str] = metadata["outputs"].split(SEPARATOR)

    def __call__(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs [B] for features, which may include more than the model takes."""
        found = self._loader.run([features[name] for name in self._inputs])
        return dict(zip(self._outputs, found, strict=True))


class Package:
    """A loaded package: features by name -> outputs by task."""

    @quiet()
    def __init__(self, path: Path) -> None:
        self._run = private("load_archive")(str(path))

    @quiet()
    def __call__(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs [B] for features in any order. Raises the errors of the package."""
        outputs: dict[str, Tensor] = self._run(**features)
        return outputs

    @property
    def weights(self) -> frozenset[str]:
        """The names of its tensors."""
        return frozenset(self._run.get_constant_fqns())

    @property
    def metadata(self) -> dict[str, str]:
        """The recorded metadata, with torch's description of the machine that compiled it."""
        metadata: dict[str, str] = self._run.get_metadata()
        return metadata

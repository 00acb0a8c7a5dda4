"""Export: the ONNX file, whose inputs and outputs have the names of the spec, and its session."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from homespec.export.remarks import quiet


def write_onnx(
    program: torch.export.ExportedProgram, inputs: Sequence[str], tasks: Sequence[str], path: Path
) -> None:
    """Write a program with one dict of features. Above 2 GB, its weights are in a separate file."""
    import onnx

    from homespec.export.onnx_rows import require_equal_rows

    with quiet():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=[*inputs], output_names=[*tasks], verbose=False
        )
        assert exported is not None
        _keep_apart(exported.model.graph, {*inputs, *tasks})
        exported.save(path)
    require_equal_rows(path)
    onnx.checker.check_model(str(path))


def _keep_apart(graph: Any, names: Collection[str]) -> None:
    """Rename values of an `onnx_ir.Graph` that have the name of an input or output.

    torch names values after their operators, such as `cat` and `sigmoid`, and does not avoid names
    of features and tasks. Names of a spec contain no colon.
    """
    inside = [value for node in graph.all_nodes() for value in node.outputs]
    for value in (*inside, *graph.initializers.values()):
        if value.name in names and not value.is_graph_output():
            value.name = f"{value.name}:inside"


class Session:
    """An ONNX file in onnxruntime on the CPU: features by name -> outputs by task."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """`threads` of a call; 0 for the default of onnxruntime."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.tasks = [output.name for output in self._session.get_outputs()]

    def __call__(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs [B] for features in any order."""
        return self.run(self.arrays(features))

    def arrays(self, features: Mapping[str, Tensor]) -> dict[str, Any]:
        """Features in the form that `run` takes."""
        return {name: tensor.cpu().numpy() for name, tensor in features.items()}

    def run(self, arrays: Mapping[str, Any]) -> dict[str, Tensor]:
        """The outputs [B] for arrays."""
        found = self._session.run(self.tasks, arrays)
        return {task: torch.from_numpy(out) for task, out in zip(self.tasks, found, strict=True)}

"""Export: config.pbtxt for Triton Inference Server, as text, without Triton's packages.

Clients of all three models send and receive tensors [batch] and so on, under the names of the spec:

* NAME_onnx is model.onnx in the ONNX Runtime backend, which uses these names.
* NAME_aoti is model.pt2 in the PyTorch backend (`torch_aoti`), which names inputs by their position
  in the package's call specification, INPUT__0 and so on, and outputs RESULT[task].
* NAME is an ensemble of only that model, which gives its tensors their names.

The backend also has names for keyword arguments, but its documentation and its code (26.05) spell
them differently. Positions are the same in both, and in older versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from homespec.export.inputs import Input

TYPES = {"int64": "TYPE_INT64", "float32": "TYPE_FP32", "float64": "TYPE_FP64"}
KINDS = {"cpu": "KIND_CPU", "cuda": "KIND_GPU"}
FREE = -1
NOTE = "  # a request is one user with any number of candidates, so requests cannot be batched"
CONFIG = "config.pbtxt"
AOTI, ONNX = "_aoti", "_onnx"
"""Suffixes of the names of models."""


def aoti_configs(
    name: str, inputs: Sequence[Input], tasks: Sequence[str], device: str
) -> dict[str, str]:
    """The text of config.pbtxt of both models that serve model.pt2, by the model's name."""
    return {
        name: _ensemble(name, inputs, tasks),
        name + AOTI: _model(
            name + AOTI, 'backend: "pytorch"\nplatform: "torch_aoti"',
            [_tensor("input", place(i), x) for i, x in enumerate(inputs)],
            [_output(result(task)) for task in tasks], device, _note(inputs),
        ),
    }  # fmt: skip


def onnx_configs(name: str, inputs: Sequence[Input], tasks: Sequence[str]) -> dict[str, str]:
    """The text of config.pbtxt of the model that serves model.onnx, by the model's name."""
    head = 'backend: "onnxruntime"\nplatform: "onnxruntime_onnx"'
    took = [_tensor("input", each.name, each) for each in inputs]
    return {name + ONNX: _model(name + ONNX, head, took, map(_output, tasks), "cpu", _note(inputs))}


def _note(inputs: Sequence[Input]) -> str:
    """Why Triton must not batch requests of several users, as a comment."""
    return NOTE if any(each.user for each in inputs) else ""


def place(index: int) -> str:
    """The backend's name of the input at a position of the call specification."""
    return f"INPUT__{index}"


def result(task: str) -> str:
    """The backend's name of the output of a task."""
    return f"RESULT[{task}]"


def _model(
    name: str, head: str, inputs: Iterable[str], outputs: Iterable[str], device: str, note: str
) -> str:
    group = f"instance_group [{{ count: 1, kind: {KINDS[device]} }}]"
    return _joined([f'name: "{name}"', head, f"max_batch_size: 0{note}", *inputs, *outputs, group])


def _ensemble(name: str, inputs: Sequence[Input], tasks: Sequence[str]) -> str:
    maps = [
        *(_map("input_map", place(i), each.name) for i, each in enumerate(inputs)),
        *(_map("output_map", result(task), task) for task in tasks),
    ]
    steps = "\n".join(f"      {line}" for line in maps)
    return _joined([
        f'name: "{name}"',
        f'platform: "ensemble"\nmax_batch_size: 0{_note(inputs)}',
        *(_tensor("input", each.name, each) for each in inputs),
        *map(_output, tasks),
        "ensemble_scheduling {\n  step [\n    {\n"
        f'      model_name: "{name}{AOTI}"\n      model_version: -1\n{steps}\n    }}\n  ]\n}}',
    ])  # fmt: skip


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(parts) + "\n"


def _tensor(kind: str, name: str, one: Input) -> str:
    note = "" if name == one.name else f"  # {one.name}"
    return _io(kind, name, TYPES[one.dtype], (1 if one.user else FREE, *one.row)) + note


def _output(name: str) -> str:
    return _io("output", name, TYPES["float32"], (FREE,))


def _io(kind: str, name: str, dtype: str, dims: Sequence[int]) -> str:
    shape = ", ".join(map(str, dims))
    return f'{kind} [{{ name: "{name}", data_type: {dtype}, dims: [{shape}] }}]'


def _map(kind: str, key: str, value: str) -> str:
    return f'{kind} {{ key: "{key}", value: "{value}" }}'

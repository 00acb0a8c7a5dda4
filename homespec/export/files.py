"""Export: writes the files of a folder, and tests them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from homespec.export import agreement, manifest, package_weights, triton
from homespec.export.agreement import Agreement
from homespec.export.aotinductor import SEPARATOR, Package, compile_package
from homespec.export.onnx_file import Session, write_onnx
from homespec.export.package_weights import Slices, slices_of
from homespec.export.readme import write_readme
from homespec.export.served_model import (
    Served,
    one_row_gains,
    package_program_of,
    program_of,
)
from homespec.export.subject import Subject
from homespec.train.run_files import SPEC_FILE, spec_text

PT2, ONNX = "model.pt2", "model.onnx"
SAMPLE_INPUTS, SAMPLE_OUTPUTS = "sample_inputs.safetensors", "sample_outputs.safetensors"
TRITON = "triton"
SAMPLE_ROWS = 64
EXAMPLE_ROWS = 61
"""Number of rows with which a model is traced: as many as a large request, because the compiler
parallelises for it, and a prime, so that it does not equal a width."""


def compile_pt2(subject: Subject, folder: Path) -> Slices:
    """Write model.pt2, and return the positions of its weights."""
    features = subject.features(EXAMPLE_ROWS)
    program = package_program_of(
        subject.served, features, one_row_gains(subject.spec), subject.of_user
    )
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        path = Path(work, PT2)
        sizes = compile_package(program, subject.inputs, features, path, metadata_of(subject))
        slices = slices_of(sizes, path, subject.state)
        path.rename(folder / PT2)
    return slices


def metadata_of(subject: Subject) -> dict[str, str]:
    """Metadata that servers can read from a package, also in C++: names in order of positions."""
    user = {"user_inputs": SEPARATOR.join(subject.of_user)} if subject.of_user else {}
    return user | {
        "inputs": SEPARATOR.join(each.name for each in subject.inputs),
        "input_dtypes": SEPARATOR.join(each.dtype for each in subject.inputs),
        "outputs": SEPARATOR.join(subject.tasks),
        "output": subject.options.output,
        "name": subject.spec.name,
        "weights_sha256": subject.weights_sha256,
    }


def check_pt2(subject: Subject, folder: Path) -> Agreement:
    """Its agreement with the trained model.

    Raises ExportError if they differ by more than rounding.
    """
    return _compare(subject, PT2, Package(folder / PT2))


def export_onnx(subject: Subject, folder: Path) -> None:
    """Write model.onnx. This moves the model to the CPU for good, so model.pt2 comes first."""
    on_cpu = Served(subject.served.model, subject.spec, subject.options.output).cpu()
    features = {n: tensor.cpu() for n, tensor in subject.features(EXAMPLE_ROWS).items()}
    names = [each.name for each in subject.inputs]
    write_onnx(program_of(on_cpu, features, subject.of_user), names, subject.tasks, folder / ONNX)


def check_onnx(subject: Subject, folder: Path) -> Agreement:
    """The same for onnxruntime."""
    return _compare(subject, ONNX, Session(folder / ONNX))


def _compare(subject: Subject, what: str, found: agreement.Function) -> Agreement:
    largest = subject.largest_logits

    def allowed(task: str, output_B: Tensor) -> Tensor:
        return subject.served.rounding(task, output_B, largest[task])

    return agreement.check(
        what, found, subject.expected, subject.batches, allowed, subject.searches
    )


def write_samples(subject: Subject, folder: Path) -> None:
    """Write features of some rows, and the trained model's outputs for them."""
    features = subject.features(SAMPLE_ROWS)
    _save(features, folder / SAMPLE_INPUTS)
    _save(subject.expected(features), folder / SAMPLE_OUTPUTS)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(safetensors.torch.save(own))  # only this user could read it


def write_triton(subject: Subject, folder: Path) -> None:
    """Write config.pbtxt for the models that exist."""
    name, inputs, tasks = subject.spec.name, subject.inputs, subject.tasks
    configs: dict[str, str] = {}
    if (folder / PT2).exists():
        configs |= triton.aoti_configs(name, inputs, tasks, subject.options.device)
    if (folder / ONNX).exists():
        configs |= triton.onnx_configs(name, inputs, tasks)
    for model, text in configs.items():
        (folder / TRITON / model).mkdir(parents=True, exist_ok=True)
        (folder / TRITON / model / triton.CONFIG).write_text(text, "utf-8")


def write_documents(
    subject: Subject, folder: Path, agreements: Mapping[str, Agreement], about: manifest.Json
) -> None:
    """Write everything besides the models. The manifest comes last, because it has all hashes."""
    (folder / SPEC_FILE).write_text(spec_text(subject.spec.analysis), "utf-8")
    write_samples(subject, folder)
    write_triton(subject, folder)
    output, user = subject.options.output, subject.user_features
    write_readme(folder, subject.spec.name, subject.tasks, output, about, user)
    checked = {file: asdict(each) for file, each in agreements.items()}
    manifest.write(folder, {**about, "checked": {"batches": [*agreement.BATCHES], **checked}})


def about_package(slices: Slices) -> manifest.Json:
    """The part of the manifest that concerns only model.pt2."""
    return {
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "package_weights": package_weights.as_json(slices),
    }

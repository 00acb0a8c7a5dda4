"""Export: manifest.json, which describes the contents of a folder and how to call its models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from homespec.data.cell_ids import text_id
from homespec.export import ExportError, Weights
from homespec.export.inputs import Input
from homespec.export.served_model import BATCH
from homespec.schema.models import Spec, Task
from homespec.scoring import Output
from homespec.version import __version__

FILE = "manifest.json"
FORMAT = 1
"""Version of the format."""
READ = frozenset({"device", "files", "graph_sha256", "homespec", "inputs", "output", "tasks"})
"""The keys that a later export reads."""
PAGE = "docs/ids.md#ids"
TEXTS = ("", "NULL", "True", "39", " 39.0 ", "1e3", "18446744073709551614", "007", "1.5",
         " a", "ü", "user_42")  # fmt: skip
"""Texts of the test vectors with which a server can test its own ids."""
Json = dict[str, Any]


def about_inputs(inputs: Sequence[Input]) -> Json:
    """The input tensors by name, in the order of the package."""
    return {each.name: _about_input(each) for each in inputs}


def _about_input(one: Input) -> Json:
    tensor = one.tensor
    about: Json = {
        "dtype": one.dtype,
        "shape": [1 if one.user else BATCH, *one.row],
        "kind": tensor.kind,
    }
    about["missing"] = -1 if tensor.kind == "id" else "NaN"
    if tensor.kind == "id":
        kinds = {"vocab": tensor.vocab, "words": tensor.words, "buckets": tensor.buckets}
        about["ids"] = {kind: size for kind, size in kinds.items() if size}
        if tensor.texts:
            about["ids"]["texts"] = list(tensor.texts)
    if tensor.pool:
        about |= {"list": tensor.feature, "order": "any, then missing values"}
    elif tensor.length:
        about |= {"sequence": tensor.feature, "order": "oldest first, then missing values"}
    return about | {"column": tensor.column}


def about_tasks(spec: Spec, tasks: Sequence[str], output: Output) -> Json:
    """The meaning of the outputs by task, in order."""
    return {name: _about_task(spec.tasks[name], output) for name in tasks}


def _about_task(task: Task, output: Output) -> Json:
    if task.kind == "regression":
        unit = task.scale if output == "logits" else 1.0
        return {"kind": task.kind, "output": "estimate", "unit": unit}
    about: Json = {"kind": task.kind, "output": output.replace("ies", "y").rstrip("s")}
    if task.product:
        about["product"] = list(task.product)
    return about | ({"given": task.where} if task.where else {})


def about_text_ids() -> Json:
    """How ids are computed from text, with test vectors."""
    return {
        "rule": PAGE,
        "hash": "BLAKE2b, digest of 8 bytes, big-endian, without the highest bit",
        "vectors": [{"text": text, "id": text_id(text)} for text in TEXTS],
    }


def about_versions(device: str) -> Json:
    """The versions and the device with and for which the files were made."""
    versions = {"homespec": __version__, "torch": torch.__version__, "device": device}
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        versions["cuda_capability"] = f"{major}.{minor}"
    return versions


def file_sha256(path: Path) -> str:
    """The hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: Path, manifest: Json) -> None:
    """Write manifest.json, with the hashes of all other files of the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FILE)
    hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
    text = json.dumps({**manifest, "files": hashes}, indent=2, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", "utf-8")


def read(folder: Path) -> Json:
    """The contents of manifest.json. Raises ExportError if there is none of this version."""
    path = folder / FILE
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ExportError(
            f"{folder} has no {FILE}: it is not a folder of homespec export"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"{path} cannot be read ({error}): export the run again") from None
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") != FORMAT
        or not manifest.keys() >= READ
        or manifest.get("weights", "float32") not in get_args(Weights)
    ):
        raise ExportError(
            f"{path} is not of this version of homespec: export the run again, to a new folder"
        )
    return manifest

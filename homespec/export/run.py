"""Export: compiles a run to a folder, or puts new weights into an existing folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from homespec.api import load
from homespec.export import ExportError, Format, manifest, package_weights
from homespec.export.agreement import BATCHES, Agreement
from homespec.export.files import (
    ONNX,
    PT2,
    about_package,
    check_onnx,
    check_pt2,
    compile_pt2,
    export_onnx,
    metadata_of,
    write_documents,
)
from homespec.export.folder import whole_folder
from homespec.export.graph_identity import differences
from homespec.export.number_types import number_types
from homespec.export.subject import Options, Subject
from homespec.train.run_files import SPEC_FILE
from homespec.train.torch_compile import obstacle
from homespec.version import __version__

Say = Callable[[str], None]
OF_PACKAGE = ("homespec", "torch", "cuda_capability", "processor", "threads", "package_weights")
"""Entries of the manifest that stay the same when the weights are replaced."""


def export_run(
    folder: Path,
    out: Path,
    wanted: Format,
    options: Options,
    overwrite: bool,
    say: Say,
) -> None:
    """Write the folder `out` atomically.

    Raises ExportError, and RunError and SpecError for a run that cannot be loaded.
    """
    check_free(out, overwrite)
    if wanted != "onnx" and (reason := obstacle()):
        raise ExportError(f"{PT2} cannot be compiled here ({reason}); --format onnx needs none")
    subject = Subject(folder, options)
    if wanted != "onnx":
        check_keywords(subject)
    agreements: dict[str, Agreement] = {}
    with whole_folder(out) as new:
        about = subject.about()
        if wanted != "onnx":
            say(f"compiling {PT2} for {options.device}, which takes a minute or so")
            about |= about_package(compile_pt2(subject, new))
            agreements[PT2] = check_pt2(subject, new)
        if wanted != "pt2":
            _write_onnx(subject, new, agreements, say)
        write_documents(subject, new, agreements, about)
    _report(subject, agreements, out, say)


def _write_onnx(subject: Subject, new: Path, agreements: dict[str, Agreement], say: Say) -> None:
    say(f"writing {ONNX}")
    export_onnx(subject, new)
    agreements[ONNX] = check_onnx(subject, new)


def _report(subject: Subject, agreements: dict[str, Agreement], out: Path, say: Say) -> None:
    weights = subject.options.weights
    if weights != "float32":
        lost = subject.lost_by_rounding()
        say(
            f"tables in {weights} change outputs by up to {lost:.1e}; later comparisons include "
            "these changes"
        )
    batches = ", ".join(map(str, BATCHES))
    for file, agreement in agreements.items():
        say(f"{file} gives what the model gives, in batches of {batches}: {agreement}")
    say(f"wrote {out}")


def check_keywords(subject: Subject) -> None:
    """Raise ExportError for an input that torch's Python loader cannot take by keyword."""
    if "self" in {each.name for each in subject.inputs}:
        raise ExportError(
            f"{PT2} cannot have an input named `self`: it takes inputs by keyword, and Python has"
            " that one. Rename the feature (`was: self` and `column: self` keep weights and data)"
            " and carry the weights over with homespec migrate, or give --format onnx"
        )


def check_free(out: Path, overwrite: bool) -> None:
    """Raise ExportError if something exists at the folder's path that may not be replaced."""
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out} is a file, not a folder: give another --out")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise ExportError(f"{out} already exists: give --overwrite, or another --out")
        check_own(out, manifest.read(out))


def check_own(folder: Path, about: manifest.Json) -> None:
    """Raise ExportError if a folder contains files that no export wrote, which would be lost."""
    own = {*about["files"], manifest.FILE}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    if others := sorted(there - own):
        raise ExportError(
            f"{folder} holds {', '.join(others[:3])}, which homespec export did not write: move"
            " that away, or give another --out"
        )


def replace_weights(folder: Path, into: Path, out: Path, options: Options, say: Say) -> None:
    """Write `out` as the folder `into` with the weights of another run of the same spec.

    Both may be the same folder, which is then exchanged atomically. Nothing is compiled. Raises
    ExportError if the run's model needs other code.
    """
    before = manifest.read(into)
    if out.resolve() == into.resolve():
        check_own(into, before)
    else:
        check_free(out, overwrite=False)
    check_intact(into, before)
    check_same_user(options, before, into)
    subject = Subject(folder, as_before(options, before))
    check_same_graph(subject, into, before)
    check_same_types(subject, into, options, say)
    agreements: dict[str, Agreement] = {}
    with whole_folder(out) as new:
        if (into / PT2).exists():
            slices = package_weights.from_json(before.get("package_weights", []))
            package_weights.replace_weights(
                into / PT2, new / PT2, slices, subject.state, metadata_of(subject)
            )
            agreements[PT2] = check_pt2(subject, new)
        if (into / ONNX).exists():
            _write_onnx(subject, new, agreements, say)
        kept = {key: before[key] for key in OF_PACKAGE if key in before}
        write_documents(subject, new, agreements, subject.about() | kept)
    _report(subject, agreements, out, say)


def check_intact(into: Path, before: manifest.Json) -> None:
    """Raise ExportError if the package is not the one that was exported."""
    path = into / PT2
    if path.exists() and manifest.file_sha256(path) != before["files"].get(PT2):
        raise ExportError(
            f"{path} is not what was exported, by its hash in {manifest.FILE}: export the run again"
        )


def as_before(options: Options, before: manifest.Json) -> Options:
    """The options with which a folder was exported; only the source of weights is new."""
    inputs: dict[str, Any] = before["inputs"]
    return dataclasses.replace(
        options,
        tasks=tuple(before["tasks"]),
        output=before["output"],
        weights=before.get("weights", "float32"),
        device=before["device"],
        user_features=tuple(before.get("user_features", ())),
        numbers={n: about["dtype"] for n, about in inputs.items() if about["kind"] == "number"},
    )


def check_same_user(options: Options, before: manifest.Json, into: Path) -> None:
    """Raise ExportError if user features are given and the folder was compiled for others."""
    asked, compiled = options.user_features, before.get("user_features", [])
    if asked and set(asked) != set(compiled):
        known = f"the user features {', '.join(compiled)}" if compiled else "no user features"
        raise ExportError(
            f"--user-features {','.join(asked)}: {into} is compiled for {known}. Export the run to"
            " a folder of its own, or leave the option out"
        )


def check_same_graph(subject: Subject, into: Path, before: manifest.Json) -> None:
    """Raise ExportError with the differences between the run's model and the compiled one."""
    known = set(subject.options.tasks) <= set(subject.spec.tasks)
    known &= set(subject.options.user_features) < set(subject.spec.features)
    if known and subject.graph_sha256 == before["graph_sha256"]:
        return
    what = differences(load(into / SPEC_FILE), subject.spec) or (
        f"homespec {before['homespec']}, which exported it, makes other code of the spec than"
        f" {__version__}"
    )
    raise ExportError(
        f"the weights of {subject.folder} do not fit the model that is compiled in {into}: {what}."
        " Export the run to a folder of its own"
    )


def check_same_types(subject: Subject, into: Path, options: Options, say: Say) -> None:
    """Raise ExportError if the run was trained on numbers of other types than those served."""
    served = subject.options.numbers
    assert isinstance(served, dict)
    try:
        trained = number_types(subject.spec, subject.folder, options.numbers)
    except ExportError:
        say(f"note: the data of the run cannot be read; numbers are served as {into} has them")
        return
    for name, dtype in served.items():
        if trained[name] != dtype:
            raise ExportError(
                f"the run was trained on `{name}` as {trained[name]}, and {into} takes {dtype}:"
                " export the run to a folder of its own"
            )

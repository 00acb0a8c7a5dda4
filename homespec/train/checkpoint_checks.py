"""Training: checks the contents of a checkpoint, and finds damage by checksums.

`state.json` has a CRC-32 of each tensor's name, type, shape and bytes, and a SHA-256 of itself.
Files of older versions have no checksums: then only names, types and shapes are checked.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from homespec.train import RunError
from homespec.train.settings import from_json
from homespec.train.tensor_bytes import tensor_bytes

Json = dict[str, Any]
Forms = Mapping[str, tuple[torch.Size, torch.dtype]]
"""Tensors by name: their shape and type."""

SUM = "sha256"
CUT = "cut"
"""The key of a history entry for an epoch that `--max-steps` cut short."""
SHOWN = 3


class DamagedError(RunError):
    """Raised for a damaged file of a run; `checkpoint.read` completes the message."""


# ---------------------------------------------------------------- checksums


def sums(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """A checksum of each tensor, which also covers its name, type and shape."""
    return {name: _sum(name, tensor) for name, tensor in tensors.items()}


def _sum(name: str, tensor: Tensor) -> str:
    about = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
    return f"{zlib.crc32(tensor_bytes(tensor), zlib.crc32(about.encode())):08x}"


def check_sums(tensors: Mapping[str, Tensor], stored: Mapping[str, str], file: str) -> None:
    """Raise DamagedError, which names the tensors of a file that do not match their checksums."""
    _check_names(tensors.keys(), stored.keys(), file)
    bad = [name for name, own in sums(tensors).items() if own != stored[name]]
    if bad:
        does = "do not match their checksums" if len(bad) > 1 else "does not match its checksum"
        raise DamagedError(f"{_listed(bad, 'tensor')} of {file} {does}")


def signed(content: Json) -> Json:
    """Content for a JSON file, with a checksum of itself, which replaces an existing one."""
    rest = {key: value for key, value in content.items() if key != SUM}
    return {**rest, SUM: _digest(rest)}


def check_signed(content: Json, file: str) -> bool:
    """Whether there is a checksum. Raises DamagedError if it does not match the content."""
    if SUM not in content:
        return False
    if content[SUM] != _digest({key: value for key, value in content.items() if key != SUM}):
        raise DamagedError(f"{file} does not match its checksum")
    return True


def _digest(content: Json) -> str:
    """The checksum of the content as it is read back from a file. The order of keys counts."""
    text = json.dumps(json.loads(json.dumps(content)))
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- tensors


def forms(tensors: Mapping[str, Tensor]) -> Forms:
    """The shape and type of each tensor."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def check_forms(
    tensors: Mapping[str, Tensor], wanted: Forms, file: str, may_lack: Iterable[str] = (),
    may_widen: bool = False,
) -> None:  # fmt: skip
    """Raise DamagedError for missing or unknown tensors, and for those of another shape or type.

    With `may_widen`, a less precise float type is accepted, which older versions may have written.
    """
    _check_names(tensors.keys(), wanted.keys(), file, frozenset(may_lack))
    for name, tensor in tensors.items():
        shape, dtype = wanted[name]
        wide = may_widen and tensor.is_floating_point() and dtype.is_floating_point
        same = torch.promote_types(tensor.dtype, dtype) == dtype if wide else tensor.dtype == dtype
        if tensor.shape != shape or not same:
            raise DamagedError(
                f"tensor `{name}` of {file} is {_form(tensor.shape, tensor.dtype)}, not"
                f" {_form(shape, dtype)}"
            )


def _check_names(
    names: Iterable[str], wanted: Iterable[str], file: str, may_lack: frozenset[str] = frozenset()
) -> None:
    missing = sorted(set(wanted) - set(names) - may_lack)
    unknown = sorted(set(names) - set(wanted))
    if missing:
        raise DamagedError(f"{file} lacks {_listed(missing, 'tensor')}")
    if unknown:
        raise DamagedError(f"{file} has {_listed(unknown, 'tensor')}, which are unknown to the run")


def _form(shape: torch.Size, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"


def _listed(names: list[str], what: str) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}{'s' if len(names) > 1 else ''} {shown}{more}"


# ---------------------------------------------------------------- state.json

COUNT, NUMBER, MAYBE = "a whole number, 0 or more", "a number", "a number or null"
EPOCH: Json = {"epoch": COUNT, "step": COUNT, "losses": dict, "tasks": dict, "monitor": MAYBE}
STATE: Json = {
    "spec_sha256": str,
    "settings": dict,
    "model": dict,
    "data": {"train": list, "valid": list},
    "at": {"epoch": COUNT, "batch": COUNT, "step": COUNT},
    "history": {"epochs": list, "best": COUNT, "value": MAYBE, "waited": COUNT},
}
"""The required keys of `state.json` and their types; further keys are allowed."""
MEASURES = ("rate", "auc", "gauc", "logloss", "pcoc", "mae", "rmse")
"""The numbers that an epoch may have for a task."""
WORDS: dict[object, object] = {dict: "an object", list: "a list", str: "a text"}


def check_state(state: Json, file: str) -> None:
    """Raise DamagedError for a state with a missing entry or one of another type."""
    _check(state, STATE, "", file)
    _check(state.get("processes", 1), COUNT, "processes", file)  # the first version had none
    try:
        from_json(state["settings"])
    except ValueError as error:
        raise DamagedError(f"`settings` of {file} cannot be used: {error}") from None
    for purpose in ("train", "valid"):
        for number, mark in enumerate(state["data"][purpose]):
            kinds = [type(each) for each in mark] if isinstance(mark, list) else []
            if kinds != [str, int, int, str]:
                raise DamagedError(
                    f"`data.{purpose}[{number}]` of {file} is not the mark of a file"
                )
    history, at = state["history"], state["at"]
    tasks = state["model"].get("tasks")
    if not isinstance(tasks, dict):
        raise DamagedError(f"`model.tasks` of {file} is not an object")
    if history.get("start") is not None:
        _check_epoch(history["start"], "history.start", tasks, file)
    for number, entry in enumerate(history["epochs"]):
        _check_epoch(entry, f"history.epochs[{number}]", tasks, file)
    epochs = len(history["epochs"])
    whole = [entry for entry in history["epochs"] if not entry.get(CUT)]
    if len(whole) != at["epoch"] or history["best"] > epochs or (epochs and not history["best"]):
        raise DamagedError(f"`history` of {file} is not that of {at['epoch']} epochs")
    before = whole[-1]["step"] if whole else 0
    if at["step"] != before + at["batch"]:
        raise DamagedError(f"`at` of {file} is step {at['step']}, but batch {at['batch']}")


def _check_epoch(entry: Json, where: str, tasks: Json, file: str) -> None:
    _check(entry, EPOCH, where, file)
    if entry["tasks"].keys() != tasks.keys():
        raise DamagedError(f"`{where}` of {file} is not that of all tasks")
    for task, measured in entry["tasks"].items():
        path = f"{where}.tasks.{task}"
        _check(measured, dict, path, file)
        _check(measured, dict.fromkeys(measured, MAYBE), path, file)
        if unknown := [name for name in measured if name not in MEASURES]:
            raise DamagedError(f"`{path}` of {file} has the unknown `{unknown[0]}`")


def _check(value: object, wanted: object, path: str, file: str) -> None:
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            raise DamagedError(f"{f'`{path}` of {file}' if path else file} is not {WORDS[dict]}")
        for key, inner in wanted.items():
            where = f"{path}.{key}" if path else key
            if key not in value:
                raise DamagedError(f"{file} lacks `{where}`")
            _check(value[key], inner, where, file)
    elif not _is(value, wanted):
        where = f"`{path}` of {file}" if path else file
        raise DamagedError(f"{where} is not {WORDS.get(wanted, wanted)}")


def _is(value: object, wanted: object) -> bool:
    if isinstance(wanted, type):
        return isinstance(value, wanted)
    if isinstance(value, bool):
        return False
    if wanted == COUNT:
        return isinstance(value, int) and value >= 0
    return isinstance(value, int | float) or (wanted == MAYBE and value is None)

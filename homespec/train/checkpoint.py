"""Training: a checkpoint is a folder of safetensors and JSON, written atomically.

    last/model.safetensors      weights and running statistics by logical name
    last/optimizer.safetensors  moments by logical name, states of random generators
    last/state.json             everything else: spec, settings, position, history

Nothing is pickled. A new checkpoint is completely on disk before it replaces the previous one,
which is put aside during the replacement: whenever the process dies, one of the two exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from homespec.atomic_write import sync
from homespec.json_values import without_nan
from homespec.train import RunError
from homespec.train.checkpoint_checks import (
    DamagedError,
    Json,
    check_signed,
    check_state,
    check_sums,
    signed,
    sums,
)

FOLDER, LAST, BEST = "checkpoints", "last", "best"
WEIGHTS_FILE, OPTIMIZER_FILE, STATE_FILE = (
    "model.safetensors", "optimizer.safetensors", "state.json",
)  # fmt: skip
FILES = WEIGHTS_FILE, OPTIMIZER_FILE, STATE_FILE
SUMS = "checksums"
AGAIN = "start again with --overwrite"
"""The alternative for a run whose own checkpoint is damaged; other readers have others."""
VERSION = 1
"""Version of state.json; a change makes old checkpoints unreadable."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights by logical name, the optimiser's state, and the rest as JSON."""

    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Json
    verified: bool = False
    """Whether it was read and matches its checksums."""


def write(checkpoint: Checkpoint, folder: Path) -> None:
    """Write to `folder`, replacing an existing one. Raises RunError if that fails.

    After an error, or if the process dies at any moment, the old one still exists.
    """
    new, old = _beside(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        recover(folder)
        new.mkdir(exist_ok=True)
        try:
            safetensors.torch.save_file(dict(checkpoint.weights), new / WEIGHTS_FILE)
            safetensors.torch.save_file(dict(checkpoint.optimizer), new / OPTIMIZER_FILE)
            state = signed(without_nan({"version": VERSION, **_described(checkpoint)}))
            (new / STATE_FILE).write_text(json.dumps(state, indent=1) + "\n")
            for path in (*new.iterdir(), new):
                path.chmod(0o755 if path.is_dir() else 0o644)
                sync(path)
        except BaseException:
            with suppress(OSError):  # on a full disk, its space is needed
                _remove(new)
            raise
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        sync(folder.parent)
        with suppress(OSError):
            _remove(old, folder)


def _described(checkpoint: Checkpoint) -> Json:
    """The state with the checksums of all tensors."""
    tensors = {WEIGHTS_FILE: checkpoint.weights, OPTIMIZER_FILE: checkpoint.optimizer}
    return {**checkpoint.state, SUMS: {file: sums(own) for file, own in tensors.items()}}


def read(folder: Path, other: str = AGAIN, *, optimizer: bool = True) -> Checkpoint:
    """The checkpoint of a folder. Raises RunError if it is damaged, or of another version.

    `other` is the alternative that messages offer besides a copy. Without `optimizer`, the file
    that only training needs is not read.
    """
    state = read_state(folder, other)
    weights = _read_tensors(folder, WEIGHTS_FILE, state, other)
    moments = _read_tensors(folder, OPTIMIZER_FILE, state, other) if optimizer else {}
    return Checkpoint(weights, moments, state, verified=SUMS in state)


def _read_tensors(folder: Path, file: str, state: Json, other: str) -> dict[str, Tensor]:
    """The tensors of a file, checked if the state has checksums."""
    with reading(folder, other):
        tensors = safetensors.torch.load_file(folder / file)
        if SUMS in state:
            check_sums(tensors, state[SUMS][file], file)
    return tensors


def read_state(folder: Path, other: str = AGAIN) -> Json:
    """The contents of a checkpoint besides tensors. Raises RunError like `read`."""
    with reading(folder, other):
        state: Json = json.loads((folder / STATE_FILE).read_text("utf-8"))
        if isinstance(state, dict) and not check_signed(state, STATE_FILE):
            state.pop(SUMS, None)  # they belong to another state
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise RunError(
            f"the checkpoint {folder} was written by another version of homespec: use that "
            f"version, or {other}"
        )
    with reading(folder, other):
        check_state(state, STATE_FILE)
    return state


@contextmanager
def reading(folder: Path, other: str = AGAIN) -> Iterator[None]:
    """Turn errors of reading in the block into RunError with a remedy."""
    try:
        yield
    except DamagedError as error:
        raise damaged(folder, str(error), other) from None
    except OSError as error:
        raise RunError(
            f"the checkpoint {folder} cannot be read ({error.strerror or error}): make it "
            f"readable, restore it from a copy, or {other}"
        ) from None
    except json.JSONDecodeError as error:
        raise damaged(folder, f"{STATE_FILE} is not JSON ({error})", other) from None
    except (ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise damaged(folder, str(error).splitlines()[0][:200], other) from None


def damaged(folder: Path, why: str, other: str = AGAIN) -> DamagedError:
    """The error for a checkpoint that cannot be used, with a remedy."""
    return DamagedError(
        f"the checkpoint {folder} is damaged: {why}. Restore it from a copy, or {other}"
    )


def prefer_intact(folder: Path) -> bool:
    """Restore the checkpoint that was put aside if its replacement is damaged; returns whether.

    Both exist if a process died between two steps of `write`, as in a power failure.
    """
    old = _beside(folder)[1]
    if not (folder.exists() and old.exists()):
        return False
    try:
        read(folder)
    except RunError:
        try:
            read(old)
        except RunError:
            return False
        _remove(folder, old)
        return not folder.exists()
    return False


def recover(folder: Path) -> bool:
    """Clean up after a process that died while writing. Returns whether there is a checkpoint."""
    new, old = _beside(folder)
    if new.exists():
        _remove(new)
    if old.exists():
        if folder.exists():
            _remove(old, folder)
        else:
            old.rename(folder)
    return folder.is_file() or any((folder / name).exists() for name in FILES)


def remove(folder: Path) -> None:
    """Remove a checkpoint, and the remains of a process that died while writing one."""
    for path in (folder, *_beside(folder)):
        _remove(path)


def _remove(folder: Path, keep_in: Path | None = None) -> None:
    """Remove the files of a checkpoint.

    Other files, which should not exist, stay in place or are moved to the folder `keep_in`.
    """
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    if keep_in and folder.is_dir():
        for path in folder.iterdir():
            if not (keep_in / path.name).exists():
                path.rename(keep_in / path.name)
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Remove a folder if it is empty; a link to a folder stays."""
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def states(folder: Path) -> list[Path]:
    """The paths of the state files of a checkpoint, and of one that is put aside."""
    return [path / STATE_FILE for path in (folder, _beside(folder)[1])]


def _beside(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report errors of the file system as one line about the file that could not be written."""
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).rpartition("error: ")[2]
        raise RunError(f"{path} cannot be written ({reason})") from None


def progress(state: Json) -> str:
    """The position of a checkpoint in the run, in words."""
    at, epochs = state["at"], state["settings"]["epochs"]
    if at["batch"]:
        return f"at step {at['step']}, in epoch {at['epoch'] + 1} of {epochs}"
    return f"at step {at['step']}, after epoch {at['epoch']} of {epochs}"


def last_is_best(state: Json) -> bool:
    """Whether a checkpoint has the weights of the best epoch."""
    at, history = state["at"], state["history"]
    epochs = history["epochs"]
    return bool(epochs) and history["best"] == len(epochs) and epochs[-1]["step"] == at["step"]

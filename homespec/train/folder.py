"""Training: the folder of a run: whether one is there, and what becomes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from homespec.train import RunError, checkpoint
from homespec.train.checkpoint import BEST, FOLDER, LAST, WEIGHTS_FILE
from homespec.train.loop import BAD_BATCH_FILE
from homespec.train.losses import FILE as LOSSES_FILE
from homespec.train.quantiles import FILE as BOUNDARIES_FILE
from homespec.train.result import METRICS_FILE, SETTINGS_FILE
from homespec.train.settings import Settings, from_json
from homespec.writing import write_texts

LOGS = "tensorboard"
OWN = (
    WEIGHTS_FILE,
    METRICS_FILE,
    SETTINGS_FILE,
    LOSSES_FILE,
    BAD_BATCH_FILE,
    BOUNDARIES_FILE,
    FOLDER,
    LOGS,
)
"""What a run leaves in its folder, which may hold other things, too."""


def stored_settings(out: Path) -> Settings | None:
    """The settings of the run in `out`; None if there is none."""
    path = out / SETTINGS_FILE
    try:
        return from_json(json.loads(path.read_text())["settings"]) if path.is_file() else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}): remove it, and give all flags") from None


def found(out: Path, resume: bool, overwrite: bool, say: Callable[[str], None]) -> bool:
    """Whether there is a checkpoint to go on from; else the run is to start.

    Raises RunError if there is a run in `out` that is neither to go on nor to be overwritten.
    """
    last = out / FOLDER / LAST
    there = (out / FOLDER).is_dir() and checkpoint.recover(last)
    checkpoint.recover(out / FOLDER / BEST)
    if resume:
        if not there and (out / WEIGHTS_FILE).exists():
            raise RunError(
                f"{out} holds the weights of a run, but no checkpoint to resume from: --overwrite"
                " starts anew in its place, and another --out leaves it alone"
            )
        if not there:
            say(f"{out} holds no checkpoint to resume from: training from the start")
        return there
    if (there or (out / WEIGHTS_FILE).exists()) and not overwrite:
        raise RunError(
            f"{out} holds a run{_how_far(last) if there else ''}: --resume goes on with it,"
            " --overwrite starts anew in its place, and another --out leaves it alone"
        )
    return False


def _how_far(last: Path) -> str:
    return f", {checkpoint.told(checkpoint.read_state(last))}"


def clear(out: Path) -> None:
    """Remove an earlier run; what else the folder holds stays."""
    with checkpoint.writing(out):
        for path in (out / name for name in OWN):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def write_settings(
    out: Path, spec: str, data: Sequence[Path], valid: Sequence[Path], settings: Settings
) -> None:
    """Write settings.json: what the command was."""
    about = {
        "spec": spec,
        "data": [str(path) for path in data],
        "valid": [str(path) for path in valid],
        "settings": asdict(settings),
    }
    with checkpoint.writing(out / SETTINGS_FILE):
        write_texts({out / SETTINGS_FILE: json.dumps(about, indent=2) + "\n"})

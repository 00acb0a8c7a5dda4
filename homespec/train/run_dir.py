"""Training: the folder of a run: whether it contains one, and what to remove or keep.

Only files that a run of homespec wrote are removed or replaced: those with exactly its names, and
only if a file identifies the folder as that of a run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from homespec.atomic_write import write_texts
from homespec.compiler import Analysis
from homespec.train import RunError, checkpoint
from homespec.train.checkpoint import BEST, FOLDER, LAST, WEIGHTS_FILE
from homespec.train.checkpoint_checks import DamagedError, Json, check_signed, signed
from homespec.train.lit_module import BAD_BATCH_FILE
from homespec.train.losses import FILE as LOSSES_FILE
from homespec.train.quantiles import FILE as BOUNDARIES_FILE
from homespec.train.run_files import METRICS_FILE, SETTINGS_FILE, SPEC_FILE, spec_text
from homespec.train.scaling import FILE as SCALING_FILE
from homespec.train.settings import Settings, from_json
from homespec.train.vocabularies import FILE as VOCABULARIES_FILE

LOGS, EVENTS, MARK = "tensorboard", "events.out.tfevents.*", ".homespec"
"""TensorBoard's folder, its files, and the suffix of those that homespec wrote."""
OWN_FILES = (
    WEIGHTS_FILE, METRICS_FILE, LOSSES_FILE, BAD_BATCH_FILE, BOUNDARIES_FILE, SCALING_FILE,
    VOCABULARIES_FILE, SPEC_FILE,
)  # fmt: skip
OWN = (SETTINGS_FILE, *OWN_FILES, FOLDER, LOGS)
"""The files that a run writes to its folder, which may also contain others."""
NO_HPARAMS = ("", "{}")
"""Lightning's hparams.yaml for a run of homespec."""


def is_run(out: Path) -> bool:
    """Whether a run of homespec wrote to `out`, judging by its files."""
    settings = _json(out / SETTINGS_FILE)
    if {"spec", "data", "valid", "settings"} <= settings.keys():
        return True
    states = [path for name in (LAST, BEST) for path in checkpoint.states(out / FOLDER / name)]
    if any({"homespec", "version", "at"} <= _json(path).keys() for path in states):
        return True
    return {"spec_sha256", "best_epoch"} <= _json(out / METRICS_FILE).keys()


def _json(path: Path) -> Json:
    """The contents of a file, if it is a JSON object."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def check_own(out: Path) -> None:
    """Raise RunError if a run would write to files that no run of homespec wrote."""
    names = [name for name in OWN if _is_there(out / name)]
    if names and not is_run(out):
        raise RunError(
            f"{out} holds {', '.join(names)}, but no sign that a run of homespec wrote "
            f"{'it' if len(names) == 1 else 'them'}: give another --out, or move "
            f"{'it' if len(names) == 1 else 'them'} away. Nothing was changed"
        )
    for folder in (out / FOLDER, out / LOGS):
        if folder.exists() and not folder.is_dir():
            raise RunError(
                f"{folder} is a file, but a run needs a folder: give another --out, or move it "
                "away. Nothing was changed"
            )


def _is_there(path: Path) -> bool:
    """Whether there is such a file, or a folder of this name with a file in it."""
    if path.is_dir():
        return any(not below.is_dir() for below in path.rglob("*"))
    return path.exists() or path.is_symlink()


def stored_settings(out: Path) -> Settings | None:
    """The settings of the run in `out`; None without a run.

    They are from the last checkpoint if their file is missing.
    """
    path = out / SETTINGS_FILE
    try:
        if path.exists():
            stored = json.loads(path.read_text("utf-8"))
            if not isinstance(stored, dict) or not isinstance(stored.get("settings"), dict):
                raise ValueError("it holds no settings")
            check_signed(stored, "it")
            return from_json(stored["settings"])
    except (OSError, ValueError, RecursionError, DamagedError) as error:
        raise RunError(
            f"{path} is damaged ({error}): remove it to continue with the settings of the last "
            "checkpoint, or restore it from a copy"
        ) from None
    for state in checkpoint.states(out / FOLDER / LAST):
        if state.exists():
            return from_json(checkpoint.read_state(state.parent)["settings"])
    return None


def can_resume(out: Path, resume: bool, overwrite: bool, say: Callable[[str], None]) -> bool:
    """Whether there is a checkpoint to resume from; otherwise the run starts.

    Raises RunError if `out` has a run that should be neither resumed nor overwritten.
    """
    check_own(out)
    last = out / FOLDER / LAST
    if checkpoint.prefer_intact(last):
        say(f"the checkpoint {last} was damaged, so the previous one replaces it")
    there = (out / FOLDER).is_dir() and checkpoint.recover(last)
    checkpoint.recover(out / FOLDER / BEST)
    if resume:
        if not there and (out / WEIGHTS_FILE).exists():
            raise RunError(
                f"{out} holds the weights of a run, but no checkpoint to resume from: "
                "--overwrite replaces it, and another --out keeps it"
            )
        if not there:
            say(f"{out} holds no checkpoint to resume from: training from the start")
        return there
    if (there or (out / WEIGHTS_FILE).exists()) and not overwrite:
        raise RunError(
            f"{out} holds a run{_how_far(last) if there else ''}: --resume continues it,"
            " --overwrite replaces it, and another --out keeps it"
        )
    return False


def _how_far(last: Path) -> str:
    try:
        return f", {checkpoint.progress(checkpoint.read_state(last))}"
    except RunError:
        return " whose checkpoint is damaged"


def clear(out: Path, say: Callable[[str], None]) -> None:
    """Remove the files of an earlier run; other files in the folder stay.

    The settings are left for `write_settings` to replace: they tell whose the folder is.
    """
    with checkpoint.writing(out):
        for name in OWN_FILES:
            (out / name).unlink(missing_ok=True)
        for name in (LAST, BEST):
            checkpoint.remove(out / FOLDER / name)
        _clear_logs(out / LOGS)
        for folder in (out / FOLDER, out / LOGS):
            checkpoint.remove_empty(folder)
    if any((out / LOGS).glob(EVENTS)):
        say(f"{out / LOGS} holds logs of other programs or of an older homespec, which are kept")


def _clear_logs(logs: Path) -> None:
    for path in logs.glob(EVENTS + MARK):
        path.unlink()
    about = logs / "hparams.yaml"
    if about.is_file() and about.read_text(errors="replace").strip() in NO_HPARAMS:
        about.unlink()


def write_settings(
    out: Path, analysis: Analysis, data: Sequence[Path], valid: Sequence[Path], settings: Settings,
    init_from: Json | None = None,
) -> None:  # fmt: skip
    """Write spec.yaml and settings.json: what was trained, and what the command was.

    `init_from` is the origin of the initial weights.
    """
    about = {
        "spec": analysis.spec.name,
        "data": [str(path) for path in data],
        "valid": [str(path) for path in valid],
        "settings": asdict(settings),
        **({} if init_from is None else {"init_from": init_from}),
    }
    with checkpoint.writing(out):
        write_texts(
            {
                out / SPEC_FILE: spec_text(analysis),
                out / SETTINGS_FILE: json.dumps(signed(about), indent=2) + "\n",
            }
        )

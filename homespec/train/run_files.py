"""Training: names of a run's files that others read, the location of its weights, and its spec."""

from __future__ import annotations

from pathlib import Path

from homespec.analysis.expand import expanded
from homespec.compiler import Analysis
from homespec.train import RunError
from homespec.train.checkpoint import BEST, FOLDER, LAST, STATE_FILE

METRICS_FILE, SETTINGS_FILE, SPEC_FILE = "metrics.json", "settings.json", "spec.yaml"


def find_weights(
    path: Path, which: str, alone: tuple[str, ...], otherwise: str
) -> tuple[Path, bool]:
    """The folder with the weights of a run, and whether it is a checkpoint.

    It is the checkpoint `which` of the run in `path`, or `path` itself if that is a checkpoint or a
    folder with the files `alone`. Raises RunError if there is none of these; `otherwise` is the
    alternative for a run without a completed epoch.
    """
    own = path / FOLDER / which
    if own.is_dir():
        return own, True
    if (path / STATE_FILE).is_file():
        return path, True
    if which == BEST and (path / FOLDER / LAST / STATE_FILE).is_file():
        raise RunError(
            f"{path} is a run without a completed epoch: --resume continues it, and {otherwise}"
        )
    if not alone:
        raise RunError(f"{path} has no checkpoint {FOLDER}/{which}")
    if all((path / file).is_file() for file in alone):
        return path, False
    raise RunError(
        f"{path} holds no run of homespec train: it has neither {FOLDER}/{which} nor"
        f" {' with '.join(alone)}"
    )


def spec_text(analysis: Analysis) -> str:
    """A spec in one file: its own text, or its explicit form if it has bases or `--set` flags."""
    document = analysis.document
    alone = not document.bases and not document.overrides
    return document.text if alone else expanded(analysis)

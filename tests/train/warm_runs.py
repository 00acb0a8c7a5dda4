"""Specs and runs for tests of runs that start from the weights of others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from small_spec import SMALL

import homespec
from homespec.cli.main import cli
from homespec.train import checkpoint, run
from homespec.train.settings import Settings

SETTINGS = Settings(batch_size=128, limit_rows=700, compile=False, lr=1e-2, checkpoint_every=2)
FITTED = SMALL.replace(
    "bucketize: [10000, 18000, 30000, 60000, 120000]", "bucketize: {quantiles: 8}"
)
MORE = FITTED.replace("comment_stay]", "comment_stay, follow]").replace(
    "tasks:\n", "tasks:\n  follow: {label: is_follow}\n"
)
"""A task more: its expert, gates and tower are new, and the group's gates weigh nothing else."""
WIDER = FITTED.replace("meta: {shared: 1", "meta: {shared: 2")
"""An expert more, which gates weigh."""
RENAMED = FITTED.replace("comment_stay]", "reading]").replace(
    "  comment_stay: {", "  reading: {was: comment_stay, "
)


def silent(line: str) -> None:
    pass


def train(text: str, data: Path, out: Path, say: Any = silent, **changed: Any) -> run.Result:
    place = {key: changed.pop(key) for key in ("resume", "overwrite") if key in changed}
    settings = dataclasses.replace(SETTINGS, **changed)
    return run.train(homespec.loads(text), run.Place([data], out, **place), settings, say)


def last(out: Path) -> checkpoint.Checkpoint:
    return checkpoint.read(out / "checkpoints" / "last")


def metrics(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return found


def invoke(*words: str) -> Result:
    return CliRunner().invoke(cli, words)

"""A training run in a process of its own that dies at a given moment, for test_resume.py.

python steps.py DATA OUT MOMENT [compiled]
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_spec import SMALL

import homespec
from homespec.train import checkpoint, checkpoint_callback, lit_module, run
from homespec.train.settings import Settings

SETTINGS = Settings(
    epochs=3, batch_size=128, lr=1e-2, warmup_steps=9, clip=5.0, limit_rows=1500, compile=False,
    checkpoint_every=4, gauc_by="user_id", patience=5, optimizer="adam", schedule="constant",
)  # fmt: skip
"""Eleven steps an epoch, and a checkpoint after every fourth step."""
COMPILED = dataclasses.replace(SETTINGS, compile=True, schedule="cosine")
"""Also with a learning rate that falls."""


def die() -> None:
    """As kill -9 does it: nothing is flushed, nothing cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: Any, name: str, calls: int, act: Callable[[], None] = die) -> None:
    """Act behind this many calls of a function."""
    original, count = getattr(owner, name), 0

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        result = original(*args, **kwargs)
        count += 1
        if count == calls:
            act()
        return result

    setattr(owner, name, counting)


MOMENTS: dict[str, Callable[[], None]] = {
    "before the first checkpoint": lambda: after(lit_module.RankingModule, "training_step", 3),
    "while a checkpoint is written": lambda: after(checkpoint.safetensors.torch, "save_file", 3),
    "when the old checkpoint is aside": lambda: after(Path, "rename", 1),
    "when the new checkpoint is in place": lambda: after(Path, "rename", 3),
    "while it measures": lambda: after(lit_module.RankingModule, "validation_step", 2),
    "between last and best": lambda: after(checkpoint, "write", 1),
    "between epochs": lambda: after(checkpoint_callback.Checkpointer, "on_train_epoch_end", 1),
    "between checkpoints": lambda: after(lit_module.RankingModule, "training_step", 7),
    "after the last epoch": lambda: after(run, "_fit", 1),
    "never": lambda: None,
}
"""When the processes die that go on with one run, one after the other."""


def main(data: str, out: str, moment: str, *more: str) -> None:
    """Train until the moment comes."""
    MOMENTS[moment]()
    place = run.Place([Path(data)], Path(out), resume=True)
    settings = COMPILED if "compiled" in more else SETTINGS
    run.train(homespec.loads(SMALL), place, settings, print)


if __name__ == "__main__":
    main(*sys.argv[1:])

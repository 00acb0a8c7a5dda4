"""Training: Lightning's Trainer for one process, or for several under DDP."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as lightning
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from homespec.train.distributed import world_size
from homespec.train.lit_module import Position
from homespec.train.progress import Bar, PlainProgress
from homespec.train.run_dir import LOGS, MARK
from homespec.train.settings import Settings

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "bf16": "bf16-mixed",
}

LOOK_EVERY = 50
"""Steps between readings of the losses, each of which waits for the device."""

_SYNC = "forward_sync_buffers"
if _SYNC not in inspect.signature(DistributedDataParallel).parameters:
    _SYNC = "broadcast_buffers"  # before torch 2.13


def trainer(
    settings: Settings, out: Path, epochs: int, at: Position, callbacks: Sequence[Callback],
    loggers: Sequence[Logger], measure_first: bool = False, ends_inside: bool = False,
) -> lightning.Trainer:  # fmt: skip
    """A Trainer from a position in a run to the end of `epochs` epochs.

    If it `ends_inside`, it does only a part of the last epoch. With `measure_first`, it measures on
    the held-out rows before the first step.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no advertisements
    terminal = sys.stdout.isatty() and world_size() == 1
    progress = Bar(epochs) if terminal else PlainProgress(epochs)
    return lightning.Trainer(
        default_root_dir=out,
        max_epochs=epochs - at.epoch,
        precision=PRECISIONS[settings.precision],
        **_devices(),
        callbacks=[*callbacks, progress],
        logger=[*_tensorboard(out, at.step), *loggers],
        log_every_n_steps=LOOK_EVERY,
        enable_progress_bar=terminal,
        enable_model_summary=False,
        num_sanity_val_steps=-1 if measure_first else 0,
        # the rest of a resumed epoch, or a last partial epoch, is shorter than other epochs
        reload_dataloaders_every_n_epochs=1 if at.batch or ends_inside else 0,
    )


class EndOnSigterm(lightning.Callback):
    """Lets SIGTERM end each process at once, as torchrun expects when another one has failed.

    Lightning, which handles the signal when a fit starts, would send a message to the others, which
    may hang or have ended. Checkpoints are intact at any moment.
    """

    def on_sanity_check_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Restore the default handler."""
        self.on_train_start(trainer, pl_module)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Restore the default handler."""
        if world_size() > 1:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _devices() -> dict[str, Any]:
    """The Trainer's options for the processes that train together.

    Running statistics are averaged before they are used; DDP would use those of the first process.
    """
    if world_size() == 1:
        return {"devices": 1}
    options: dict[str, Any] = {_SYNC: False}
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))
    return {
        "accelerator": "cuda" if torch.cuda.is_available() else "cpu",
        "devices": here,
        "num_nodes": world_size() // here,
        "strategy": DDPStrategy(**options),
        "plugins": [TorchElasticEnvironment()],
    }


def _tensorboard(out: Path, step: int) -> list[TensorBoardLogger]:
    """TensorBoard's logger, if installed; logs of later steps by a dead process are dropped."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    return [
        TensorBoardLogger(out, name=LOGS, version="", purge_step=step + 1, filename_suffix=MARK)
    ]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Suppress warnings that are useless here."""
    with warnings.catch_warnings():
        # Lightning's warning about epochs shorter than LOOK_EVERY: the end of each is also checked
        warnings.filterwarnings("ignore", ".*number of training batches", UserWarning)
        # Lightning 2.6, torch 2.13
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        # DDP, about a weight of width 1, which has more than one layout
        warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
        yield

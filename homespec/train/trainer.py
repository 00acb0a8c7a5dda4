"""Training: Lightning's Trainer for one process, or for several under DDP."""

from __future__ import annotations

import importlib.util
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as lightning
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from homespec.train.distributed import world_size
from homespec.train.progress import Bar, PlainProgress
from homespec.train.run_dir import LOGS, MARK
from homespec.train.settings import Settings

PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {
    "float32": "32-true",
    "bf16": "bf16-mixed",
}

_SYNC = "forward_sync_buffers"
if _SYNC not in inspect.signature(DistributedDataParallel).parameters:
    _SYNC = "broadcast_buffers"  # before torch 2.13


def trainer(
    settings: Settings, checkpointer: lightning.Callback, out: Path, epochs: int, step: int
) -> lightning.Trainer:
    """A Trainer for so many epochs from a step on; `checkpointer` is called behind each batch."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no advertisements
    terminal = sys.stdout.isatty() and world_size() == 1
    return lightning.Trainer(
        max_epochs=epochs,
        precision=PRECISIONS[settings.precision],
        **_devices(),
        callbacks=[checkpointer, Bar() if terminal else PlainProgress()],
        enable_progress_bar=terminal,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=_loggers(out, step),
        log_every_n_steps=1,  # we log by ourselves; a larger number makes it warn of short epochs
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _devices() -> dict[str, Any]:
    """What the Trainer has to know of the processes that train together.

    Running statistics are averaged before they are used; DDP would take those of the first process.
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


def _loggers(out: Path, step: int) -> list[TensorBoardLogger]:
    """TensorBoard where it is installed; what a died process logged of later steps is dropped."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    return [
        TensorBoardLogger(out, name=LOGS, version="", purge_step=step + 1, filename_suffix=MARK)
    ]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without warnings that are of no use here, and with a compiled step that stays one graph
    under DDP: torch.compile would cut it where DDP's buckets end.
    """
    with warnings.catch_warnings(), torch._dynamo.config.patch(optimize_ddp=False):
        # Lightning 2.6, torch 2.13
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        # DDP, of a weight that is 1 wide: it has more than one layout
        warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
        yield

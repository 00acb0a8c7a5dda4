"""Scoring: applies the trained model of a run to batches, on a device and in a precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from homespec import memory
from homespec.api import LoadedSpec, PathLike
from homespec.data.batches import Batch, as_batch
from homespec.data.plan import Arrays
from homespec.scoring import ScoringError
from homespec.train import RunError, checkpoint
from homespec.train.checkpoint import FOLDER
from homespec.train.load_run import Run, Which, load_run, metrics_of
from homespec.train.run_files import METRICS_FILE
from homespec.train.settings import Settings, from_json
from homespec.train.torch_compile import obstacle

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the model, which the command line names --best, --last, --batch-size and so on."""

    checkpoint: Which = "best"
    batch_size: int | None = None
    """None means the default of the verb."""
    precision: Precision = "float32"
    """bf16 computes in bfloat16, as in training; scores are always float32."""
    compile: bool = False
    device: str | None = None
    """cpu or cuda; None means a GPU if there is one."""
    spec: PathLike | LoadedSpec | None = None
    """The spec of a run whose folder does not contain it."""

    def __post_init__(self) -> None:
        for name, kind in (("checkpoint", Which), ("precision", Precision)):
            if (value := getattr(self, name)) not in (allowed := get_args(kind)):
                raise ValueError(f"{name} is {value!r}, not {' or '.join(allowed)}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, not a whole number of at least 1")


@dataclass(frozen=True)
class Scorer:
    """Maps batches to logits and estimates."""

    run: Run
    device: str
    precision: Precision

    @classmethod
    def of(cls, folder: PathLike, options: Options, **build: Any) -> Scorer:
        """The model of a run; `build` are the options of `homespec.compile`.

        Raises RunError if the folder is not a run, and ScoringError if the device or compiler is
        missing.
        """
        device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if device == "cuda" and not torch.cuda.is_available():
            raise ScoringError("torch finds no GPU here: use the device cpu")
        if options.compile and (why_not := obstacle()):
            raise ScoringError(f"torch.compile cannot work here: {why_not}; or do not compile")
        run = load_run(
            folder,
            spec=options.spec,
            checkpoint=options.checkpoint,
            compile=options.compile,
            device=device,
            **build,
        )
        return cls(run, device, options.precision)

    def outputs(self, arrays: Arrays, batch_size: int) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
        """Each batch of rows, and the model's outputs [B] by task on the device."""
        with memory.explained(self.run.spec.analysis, "scoring"):
            for part in arrays.split(batch_size):
                batch = as_batch(part)
                yield batch, self._forward(batch.features)

    def _forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        bf16 = self.precision == "bf16"
        features = {name: tensor.to(self.device) for name, tensor in features.items()}
        with torch.no_grad(), torch.autocast(self.device, torch.bfloat16, enabled=bf16):
            outputs: dict[str, Tensor] = self.run.model(features)
        return outputs


def state_of(run: PathLike, which: Which) -> dict[str, Any]:
    """The contents of a checkpoint besides weights; empty if the run's folder has only weights.

    Raises RunError if the checkpoint is damaged.
    """
    kept = Path(run, FOLDER, which)
    return checkpoint.read_state(kept) if kept.is_dir() else {}


def settings_of(run: PathLike, state: dict[str, Any]) -> Settings:
    """The settings with which the weights were trained, if they are known.

    They are in the checkpoint's `state` or else in the run's folder. Raises RunError for a damaged
    file.
    """
    stored = (state or metrics_of(Path(run))).get("settings", {})
    try:
        return from_json(stored)
    except (ValueError, AttributeError) as error:
        raise RunError(
            f"the settings in {Path(run, METRICS_FILE)} cannot be used ({error}): restore it "
            "from a copy, or remove it"
        ) from None

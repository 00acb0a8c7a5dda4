"""One of two processes that torchrun starts, for test_ddp.py.

python -m torch.distributed.run --nproc-per-node 2 ddp_steps.py runs FOLDER
python -m torch.distributed.run --nproc-per-node 2 ddp_steps.py MOMENT train SPEC ...
"""

from __future__ import annotations

import atexit
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import steps
import torch.distributed as dist

import homespec
from homespec.cli.main import main as command_line
from homespec.data import DataError
from homespec.train import RunError, datamodule, lit_module, run
from homespec.train.settings import Settings

RANK = int(os.environ.get("RANK", 0))

SPEC = """\
homespec: 1
name: tiny
features:
  user: {id: {buckets: 50}, dim: 4}
  video: {id: {buckets: 50}, dim: 4}
  age: {dense: 2}
tasks: {click: {}, buy: {where: click}, rare: {}}
family: mmoe
experts: {hidden: [], width: 8, norm: NORM, task: {shared: 2}}
"""
SETTINGS = Settings(
    epochs=2, batch_size=64, lr=1e-2, shuffle_rows=0, compile=False, gauc_by="user",
    checkpoint_every=5, schedule="constant", watch_experts=True,
)  # fmt: skip
LEARNING: dict[str, dict[str, Any]] = {
    "fixed": {"clip": 0.05, "warmup_steps": 4},
    "uncertainty": {"weighting": "uncertainty", "table_optimizer": "adagrad", "clip": 0.05},
    "gradnorm": {"weighting": "gradnorm", "optimizer": "adamw", "weight_decay": 0.1},
    "pcgrad": {"weighting": "pcgrad", "table_optimizer": "adagrad", "clip": 0.05},
    "weighted": {"weighting": "uncertainty", "clip": 0.05, "weighted_metrics": True},
    "sessions": {"weighting": "uncertainty", "clip": 0.05},
    "parts": {
        "table_optimizer": "adagrad",
        "l2": ("*=1e-2",),
        "l1": ("features.user.*=1e-3",),
        "lr_of": ("features.video.*=0.1x", "experts.task.shared.0.*=0.5x", "towers.rare.*=0"),
    },
    "sgd": {"optimizer": "sgd", "l2": ("features.*=1e-2",), "lr_of": ("towers.*=0.1",)},
}
"""Ways to learn, all of which give what one process gives."""


def spec(norm: str) -> Any:
    return homespec.loads(SPEC.replace("NORM", norm))


def spec_for(how: str) -> Any:
    """That of a way to learn: one has rows with weights, and rows outside of sample spaces; one
    ranks rows within sessions, which are in one process.
    """
    if how == "sessions":
        text = SPEC.replace("NORM", "none").replace("rare: {}", "rare: {within: {column: eight}}")
        return homespec.loads(text.replace("where: click", "where: click, within: {column: eight}"))
    if how != "weighted":
        return spec("none")
    text = SPEC.replace("NORM", "none").replace("click: {}", "click: {sample_weight: trust}")
    outside = "where: click, outside_weight: 0.2, sample_weight: trust"
    return homespec.loads(text.replace("where: click", outside))


def runs(folder: str) -> None:
    """Runs of all kinds; what is refused goes to a file of this process."""
    found: dict[str, Any] = {}
    here = Path(folder)
    atexit.register(lambda: (here / f"{RANK}.joined").write_text(str(dist.is_initialized())))

    def go(name: str, norm: str = "none", of: Any = None, **changed: Any) -> None:
        about = {k: changed.pop(k) for k in ("resume", "overwrite") if k in changed}
        place = run.Place([here / "dealt"], here / name, **about)
        said: list[str] = []
        try:
            run.train(
                of or spec(norm), place, dataclasses.replace(SETTINGS, **changed), said.append
            )
        except (RunError, DataError) as error:
            found[name] = [type(error).__name__, str(error)]
        found[f"{name} said"] = said

    for name, changed in LEARNING.items():
        go(name, of=spec_for(name), **changed)
    go("resumed", **LEARNING["pcgrad"], epochs=1)
    go("resumed", **LEARNING["pcgrad"], resume=True)
    go("batch", norm="batch")
    go("first step", norm="batch", limit_rows=64, epochs=1)
    go("first step", norm="batch", limit_rows=64, epochs=1)
    go("odd", batch_size=65)
    go("few", batch_size=2)
    go("seeds", seed=RANK)
    spoil_on_rank_1()
    go("nan")
    (here / f"{RANK}.json").write_text(json.dumps(found))


def spoil_on_rank_1() -> None:
    """In the fourth batch of a training run a task's loss is NaN in one of the processes."""
    original = lit_module.RankingModule.training_step

    def training_step(self: lit_module.RankingModule, batch: Any, batch_idx: int) -> Any:
        if self.position.batch == 3 and RANK == 1:
            self.code.logical_state(self.model)["towers.rare.linears.1.bias"].fill_(float("nan"))
        return original(self, batch, batch_idx)

    lit_module.RankingModule.training_step = training_step  # type: ignore[method-assign]


def break_data() -> None:
    """The files break in one of the processes behind seven batches."""
    original = datamodule.Batches.__iter__

    def iterate(self: datamodule.Batches) -> Iterator[Any]:
        for number, batch in enumerate(original(self)):
            if number == 7 and RANK == 1:
                raise DataError("train.parquet is broken")
            yield batch

    datamodule.Batches.__iter__ = iterate  # type: ignore[method-assign]


def die_on_rank_1() -> None:
    if RANK == 1:
        steps.after(lit_module.RankingModule, "training_step", 8)


MOMENTS: dict[str, Callable[[], None]] = {
    "killed": die_on_rank_1,
    "broken": break_data,
    "never": lambda: None,
}


if __name__ == "__main__":
    moment, *arguments = sys.argv[1:]
    if moment == "runs":
        runs(*arguments)
    else:
        MOMENTS[moment]()
        sys.argv[1:] = arguments
        command_line()

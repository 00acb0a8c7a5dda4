"""The checkpoint of the best epoch is that of the run, or the run does not go on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from test_damage import BEST, SETTINGS, SPEC

from homespec.train import RunError, run
from homespec.train.evaluate import Monitor


@pytest.mark.parametrize("best", [1, 2])
def test_the_best_epoch_of_another_run_is_not_taken(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: int
) -> None:
    """Its checksums are right. It is refused, or written again if `last` is of the same epoch."""
    monkeypatch.setattr(Monitor, "value", lambda self, measured: next(values))
    runs = {}
    for seed in (0, 1):
        values = iter([0.5, 0.9] if best == 2 else [0.9, 0.5])
        runs[seed] = tmp_path / str(seed)
        run.train(SPEC, run.Place([data], runs[seed]), replace(SETTINGS, seed=seed), print)
    weights = (runs[0] / BEST / "model.safetensors").read_bytes()
    shutil.copytree(runs[1] / BEST, runs[0] / BEST, dirs_exist_ok=True)
    assert (runs[0] / BEST / "model.safetensors").read_bytes() != weights
    if best == 1:
        values = iter([0.1])
        longer = replace(SETTINGS, epochs=3)
        with pytest.raises(
            RunError, match="checkpoints/best is damaged: it belongs to another run"
        ):
            run.train(SPEC, run.Place([data], runs[0], resume=True), longer, print)
    else:
        run.train(SPEC, run.Place([data], runs[0], resume=True), SETTINGS, print)
        assert (runs[0] / BEST / "model.safetensors").read_bytes() == weights
        kept = load(weights)
        final = load((runs[0] / "model.safetensors").read_bytes())
        assert kept.keys() == final.keys()
        assert all(torch.equal(final[name], tensor) for name, tensor in kept.items())

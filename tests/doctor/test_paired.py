"""Losses of two models on the same rows: means and intervals of their differences."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from planted import SPEC

import homespec
from homespec.doctor.paired import KeptLosses, loss_changes
from homespec.graph.nodes import Objective
from homespec.scoring.intervals import Z


def kept(losses_TB: torch.Tensor, *overrides: str) -> KeptLosses:
    losses = KeptLosses(homespec.loads(SPEC, overrides=overrides).analysis.graph)
    for low in range(0, losses_TB.shape[1], 7):
        losses.add(losses_TB[:, low : low + 7])
    return losses


def test_changes_are_means_of_differences_of_rows() -> None:
    random = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 4, 50, generator=random)
    one[1, :10] = torch.nan
    found = list(loss_changes(kept(one), kept(other)))
    assert [effect.task for effect in found] == ["click", "finish", "like", "follow"]
    for row, effect in enumerate(found):
        differences = [
            float(a) - float(b)
            for a, b in zip(one[row], other[row], strict=True)
            if not math.isnan(a)
        ]
        mean = sum(differences) / len(differences)
        variance = sum((d - mean) ** 2 for d in differences) / (len(differences) - 1)
        error = Z * math.sqrt(variance / len(differences))
        assert math.isclose(effect.change, mean, rel_tol=1e-5, abs_tol=1e-7)
        assert math.isclose(effect.high - effect.low, 2 * error, rel_tol=1e-5)


@pytest.mark.parametrize("key", ["label=is_like", "unknown=-1", "pos_weight=3", "focal=2"])
def test_losses_of_other_labels_or_shapes_are_not_compared(key: str) -> None:
    losses = torch.rand(4, 20)
    found = loss_changes(kept(losses), kept(losses, f"tasks.like.{key}"))
    assert [effect.task for effect in found] == ["click", "finish", "follow"]


def test_every_field_of_a_loss_says_whether_it_changes_what_is_measured() -> None:
    """A new one is either among the measures or in this list."""
    elsewhere = {"name", "reads", "span", "task", "weight", "where", "outside", "sample_weight"}
    elsewhere |= {"within", "within_weight"}
    objective = homespec.loads(SPEC).analysis.graph.of(Objective)[0]
    fields = {field.name for field in dataclasses.fields(objective)}
    measures = kept(torch.rand(4, 20)).measures["like"]
    assert len(fields - elsewhere) == len(measures)


def test_a_task_without_labels_has_no_change() -> None:
    losses = torch.full((4, 20), torch.nan)
    found = list(loss_changes(kept(losses), kept(losses)))
    assert all(math.isnan(effect.change) for effect in found)

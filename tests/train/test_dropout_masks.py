"""Processes that train together draw masks of their own, and all else alike."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from homespec.train import dropout_masks


def drawn(rank: int, monkeypatch: pytest.MonkeyPatch, drops: bool = True) -> list[Tensor]:
    """What a process of two draws in three steps, by turns in the forward and elsewhere."""
    monkeypatch.setattr(dropout_masks, "world_size", lambda: 2)
    monkeypatch.setattr(dropout_masks, "rank", lambda: rank)
    torch.manual_seed(0)
    found = []
    for _ in range(3):
        with dropout_masks.own_masks(drops):
            found.append(torch.rand(100))
        found.append(torch.rand(100))
    return found


def test_masks_differ_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = drawn(0, monkeypatch), drawn(1, monkeypatch)
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        assert torch.equal(a, b) is (i % 2 == 1)
    masks = first[::2] + second[::2]
    assert not any(torch.equal(a, b) for i, a in enumerate(masks) for b in masks[:i])


def test_without_dropout_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    plain = [torch.rand(100) for _ in range(6)]
    for rank in (0, 1):
        found = drawn(rank, monkeypatch, drops=False)
        assert all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))


def test_one_process_draws_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout_masks, "world_size", lambda: 1)
    torch.manual_seed(0)
    with dropout_masks.own_masks(True):
        found = torch.rand(5)
    torch.manual_seed(0)
    assert torch.equal(found, torch.rand(5))

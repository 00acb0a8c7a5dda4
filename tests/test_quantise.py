"""torch's eager quantisation: refused where it would do nothing, and working where it can."""

from __future__ import annotations

import copy

import pytest
import torch
from test_runtime import TINY
from torch import nn
from torch.ao.quantization import quantize_dynamic

import homespec
from homespec.variant import Mode

TINY_SPEC = homespec.loads(TINY)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
"""Of torch, about its own quantised types."""


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_an_optimised_model_refuses(mode: Mode) -> None:
    model = homespec.build(TINY_SPEC, mode=mode)
    assert not hasattr(model, "qconfig")
    for one in (model, copy.deepcopy(model)):
        with pytest.raises(RuntimeError, match="nothing would be quantised"):
            quantize_dynamic(one, {nn.Linear}, dtype=torch.qint8)


def test_a_plain_model_is_quantised() -> None:
    model = homespec.build(TINY_SPEC, optimize=False).eval()
    quantised = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    left = [each for each in quantised.modules() if type(each) is nn.Linear]
    assert not left
    features = {"user_id": torch.arange(16)}
    exact, found = model(features), quantised(features)
    for task, logit_B in exact.items():
        apart = float((found[task] - logit_B).abs().max())
        assert 0 < apart < 0.1, task

"""torch's eager quantisation: an error, never a silent no-op."""

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
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_an_optimised_model_refuses(mode: Mode) -> None:
    model = homespec.build(TINY_SPEC, mode=mode)
    assert not hasattr(model, "qconfig")
    for one in (model, copy.deepcopy(model)):
        with pytest.raises(RuntimeError, match="nothing would be quantised"):
            quantize_dynamic(one, {nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about its own quantised types
def test_a_plain_model_fails_when_it_is_called() -> None:
    """Loudly: what the page says."""
    model = homespec.build(TINY_SPEC, optimize=False).eval()
    quantised = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(AttributeError, match="dtype"):
        quantised({"user_id": torch.arange(16)})

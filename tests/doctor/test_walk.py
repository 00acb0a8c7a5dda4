"""The doctor evaluates models node by node; in all models of the language the logits stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from doctor_models import random_trunk
from hierarchies import random_features, random_spec
from topologies import random_family, random_topology

DRAWS = {"hierarchy": random_spec, "family": random_family, "topology": random_topology}


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_logits_are_the_models_own(draw: Callable[[int], dict[str, Any]], seed: int) -> None:
    spec = draw(seed)
    trunk = random_trunk(spec, seed)
    features = random_features(spec, 16, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        expected = trunk.model(features, stacked=True)
        found = trunk.logits(trunk(trunk.inputs(features)))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)

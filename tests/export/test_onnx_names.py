"""model.onnx where features and tasks have the names that torch gives to what it computes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

import homespec
from homespec.export.onnx_file import Session, write_onnx
from homespec.export.served_model import Served, program_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
SPEC = """\
homespec: 1
name: names
family: mmoe
features: {cat: {id: {vocab: 5}, dim: 4}, embedding: {id: {vocab: 7}, dim: 4}}
tasks: {sigmoid: {}, stack: {}}
experts: {width: 4, hidden: [], norm: layer}
"""


def test_names_of_operators(tmp_path: Path) -> None:
    spec = homespec.loads(SPEC)
    served = Served(homespec.build(spec).eval(), spec, "probabilities").eval()
    features = {"cat": torch.tensor([0, 4, -1]), "embedding": torch.tensor([6, -1, 2])}
    path = tmp_path / "model.onnx"
    write_onnx(program_of(served, features), [*features], [*spec.tasks], path)
    inside = [name for node in onnx.load(path).graph.node for name in node.output]
    assert len(inside) == len(set(inside))
    with torch.no_grad():
        torch.testing.assert_close(Session(path)(features), served(features), rtol=1e-5, atol=1e-6)

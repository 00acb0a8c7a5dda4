"""A batch of one row has code of its own in a package, of the same weights."""

from __future__ import annotations

import pytest
import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

import homespec
from homespec.bench.candidates import weights_of
from homespec.bench.random_batch import random_features
from homespec.export.served_model import Served, one_row_gains, package_program_of
from homespec.export.subject import Subject


@pytest.fixture(scope="module")
def program(subject: Subject) -> ExportedProgram:
    """What the package is compiled of."""
    return package_program_of(subject.served, subject.features(5), one_row_gains(subject.spec))


def shapes(branch: GraphModule) -> list[torch.Size]:
    """Those of softmaxes: all of them have the batch as an axis."""
    found = [node.meta["val"].shape for node in branch.graph.nodes if "softmax" in str(node)]
    assert found
    return found


def test_the_batch_is_a_constant_for_one_row_alone(program: ExportedProgram) -> None:
    module = program.graph_module
    (chosen,) = (node for node in module.graph.nodes if node.target is torch.ops.higher_order.cond)
    one, more = (getattr(module, str(branch.target)) for branch in chosen.args[1:3])
    assert all(isinstance(size, int) for shape in shapes(one) for size in shape)
    assert all(any(isinstance(size, torch.SymInt) for size in shape) for shape in shapes(more))


def test_both_branches_give_what_the_model_gives(
    subject: Subject, program: ExportedProgram
) -> None:
    scored = program.module()
    for rows in (1, 2, 5):
        features = subject.features(rows)
        wanted, found = subject.served(features), scored(features)
        assert [*found] == [*wanted]
        for task, output_B in wanted.items():
            assert found[task].shape == (rows,)
            torch.testing.assert_close(found[task], output_B, rtol=1e-5, atol=1e-6)


def test_weights_keep_their_names(subject: Subject, program: ExportedProgram) -> None:
    names = {*dict(program.named_parameters()), *dict(program.named_buffers())}
    assert names == {*subject.state}


ENCODERS = ("mean", "din", "dien", "twin: {top: 3}", "sim: {search: soft, top: 3}")
HISTORY = """\
homespec: 1
name: history
family: mmoe
features:
  user_id: {id: {buckets: 50}, dim: 4}
  video_id: {id: {buckets: 50}, dim: 4}
  history: {sequence: {of: [video_id], max_len: 6, encoder: ENCODER}}
tasks: {click: {}, like: {}}
experts: {width: 4, hidden: []}
"""


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_can_be_in_a_branch(encoder: str) -> None:
    """A branch must not take a view of a weight, as `weight.mT` is, beside the weight."""
    given = f"{{{encoder}}}" if ":" in encoder else encoder
    spec = homespec.loads(HISTORY.replace("ENCODER", given))
    code, model = homespec.build_with_module(spec, mode="inference")
    code.load_logical_state(model, weights_of(spec))
    served = Served(model, spec, "probabilities")
    features = random_features(spec, 3, "cpu")
    features = {name: features[name] for name in code.FEATURES}
    scored = package_program_of(served, features, one_row_apart=True).module()
    for rows in (1, 3):
        some = {name: tensor[:rows] for name, tensor in features.items()}
        torch.testing.assert_close(scored(some), served(some), rtol=1e-5, atol=1e-6)


def test_a_model_without_feature_gates_has_no_branch() -> None:
    assert not one_row_gains(homespec.loads(HISTORY.replace("ENCODER", "mean")))

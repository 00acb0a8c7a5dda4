"""Copies of models compute with their own weights and stay compiled; pickles load anywhere."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import homespec
from homespec import runtime
from homespec.bench.random_batch import random_features, random_labels
from homespec.train.torch_compile import obstacle

SPEC = homespec.loads("""
homespec: 1
name: copied
features:
  user: {id: {vocab: 9}, dim: 4}
  age: {bucketize: {quantiles: 4}, dim: 2}
  history: {sequence: {of: [user], max_len: 3, encoder: din}}
groups: {watch: [click, finish]}
tasks: {click: {}, finish: {}}
experts: {width: 4}
towers: {hidden: []}
""")
SMALL = homespec.loads("""
homespec: 1
name: small
family: shared_bottom
features: {user: {id: {vocab: 9}, dim: 4}}
tasks: {click: {}, finish: {}}
experts: {width: 4}
towers: {hidden: []}
""")
FEATURES = random_features(SPEC, 8, "cpu")
Copy = Callable[[nn.Module], nn.Module]


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


COPIES: dict[str, Copy] = {
    "deepcopy": copy.deepcopy,
    "of a copy": lambda model: copy.deepcopy(copy.deepcopy(model)),
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": saved,
    "AveragedModel": AveragedModel,
}


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> CompileCounter:
    """Dynamo as always, behind it eager code; counts the graphs."""
    torch._dynamo.reset()
    counter = CompileCounter()

    def compiled(function: Any, dynamic: bool) -> Any:
        return torch.compile(
            runtime.own(function), fullgraph=True, dynamic=dynamic, backend=counter
        )

    monkeypatch.setattr(runtime, "compiled", compiled)
    return counter


def built(**options: Any) -> nn.Module:
    """A model whose boundaries are known, and no weight of which is zero; small if compiled."""
    torch.manual_seed(0)
    model = homespec.build(SMALL if options.get("compile") else SPEC, **options)
    if not options.get("compile"):
        code = sys.modules[type(model).__module__]
        code.set_boundaries(model, {"age": [1.0, 2.0, 3.0]})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model.eval()


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        logits_TB: Tensor = model(FEATURES, stacked=True)
    return logits_TB


def zero(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


EAGER = [{"mode": mode, "optimize": optimize} for mode in ("training", "inference")
         for optimize in (True, False)]  # fmt: skip


@pytest.mark.parametrize("options", [*EAGER, {"compile": True}], ids=str)
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_has_its_own_weights(
    graphs: CompileCounter, way: str, options: dict[str, Any]
) -> None:
    model = built(**options)
    expected = logits(model)
    made = COPIES[way](model)
    assert torch.equal(logits(made), expected)
    assert not logits(zero(made)).any()
    assert torch.equal(logits(model), expected)
    assert isinstance(getattr(made, "module", made), type(model))
    assert graphs.frame_count == (2 if "compile" in options else 0)  # one for each


def test_a_shallow_copy_takes_other_modules(graphs: CompileCounter) -> None:
    """As torch.nn.DataParallel makes one for each GPU: a forward of it uses what it holds."""
    model = built(compile=True)
    expected = logits(model)
    made = copy.copy(model)
    assert torch.equal(logits(made), expected)
    made._modules = dict(model._modules)
    made.trunk = zero(copy.deepcopy(model.get_submodule("trunk")))
    assert not logits(made).any()
    assert torch.equal(logits(model), expected)
    replica = model._replicate_for_data_parallel()  # type: ignore[operator]
    replica._modules["trunk"] = made.trunk
    assert not logits(replica).any()


def test_an_average_follows_the_training(graphs: CompileCounter) -> None:
    """An exponential moving average of compiled models is that of eager ones."""
    pairs = []
    for is_compiled in (True, False):
        torch.manual_seed(0)
        model = homespec.build(SMALL, compile=is_compiled)
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
        code = sys.modules[type(model).__module__]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for step in range(3):
            torch.manual_seed(step)
            labels = random_labels(SMALL, 8, "cpu")
            code.loss(model(FEATURES), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            average.update_parameters(model)
        pairs.append((logits(average.eval()), logits(model.eval())))
    (average, last), (wanted, its_last) = pairs
    torch.testing.assert_close(average, wanted)
    torch.testing.assert_close(last, its_last)
    assert not torch.allclose(average, last)


def test_many_copies_are_like_the_first(graphs: CompileCounter) -> None:
    """Dynamo allows eight graphs for one code object: each copy has its own."""
    model = built(compile=True)
    expected = logits(model)
    copies = [copy.deepcopy(model) for _ in range(8)]
    assert all(torch.equal(logits(made), expected) for made in copies)
    assert graphs.frame_count == 9


def test_shared_memory_is_that_of_the_model(graphs: CompileCounter) -> None:
    model = built(compile=True)
    expected = logits(model)
    assert torch.equal(logits(model.share_memory()), expected)
    assert not logits(zero(model)).any()


LOAD = """
import sys, torch
assert "homespec" not in sys.modules
for path in sys.argv[1:]:
    saved, features, expected = torch.load(path, weights_only=False)
    found = saved(features) if isinstance(features, torch.Tensor) else saved(features, stacked=True)
    torch.testing.assert_close(found, expected)
    assert "homespec_generated_copied_" in type(saved).__module__
"""


def test_another_process_loads_what_was_saved(tmp_path: Path) -> None:
    """Also a part of a model, first in the file; nothing of homespec is imported before."""
    paths = []
    for optimize in (True, False):
        model = built(optimize=optimize)
        trunk, x_BV = model.get_submodule("trunk"), model.get_submodule("features")(FEATURES)
        for what, read in ((model, FEATURES), (trunk, x_BV.detach())):
            paths.append(str(tmp_path / f"{len(paths)}.pt"))
            expected = logits(model) if what is model else trunk(x_BV).detach()
            torch.save((what, read, expected), paths[-1])
    done = subprocess.run([sys.executable, "-c", LOAD, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_compiled_generated_file_copies_as_torch_has_it() -> None:
    """`torch.compile(code.Model())`, as users of a generated file write it."""
    torch._dynamo.reset()
    code = homespec.build_module(SPEC)
    model = torch.compile(built(), backend="eager")
    expected = logits(model)
    made = copy.deepcopy(model)
    assert not logits(zero(made)).any()
    assert torch.equal(logits(model), expected)
    assert code.logical_state(made).keys() == code.logical_state(model).keys()


@pytest.mark.compiles
@pytest.mark.timeout(900)
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_copies_by_inductor() -> None:
    torch._dynamo.reset()
    model = built(compile=True)
    expected = logits(model)
    for way in ("deepcopy", "torch.save"):
        made = COPIES[way](model)
        torch.testing.assert_close(logits(made), expected)
        assert not logits(zero(made)).any()
    assert torch.equal(logits(model), expected)

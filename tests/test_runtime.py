"""Runtime: a real module with readable tracebacks, torch.compile without breaks or recompiles."""

from __future__ import annotations

import inspect
import linecache
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hierarchies import Spec, random_features, random_labels, random_spec
from torch import Tensor, fx, nn
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.testing import CompileCounterWithBackend
from torch._functorch.aot_autograd import make_boxed_func
from torch._guards import TracingContext
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import homespec
from homespec import runtime
from homespec.bench import random_batch
from homespec.runtime import instantiate
from homespec.train.torch_compile import obstacle

TINY = """
homespec: 1
name: tiny
features: {user_id: {id: {buckets: 50}, dim: 8}}
groups: {watch: [click, finish]}
tasks: {click: {}, finish: {}}
experts: {width: 8, meta: {shared: 2, group: 2}, task: {shared: 2, group: 2, task: 2}}
gates: {feature: {rank: 2}}
towers: {hidden: []}
"""
ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted((ROOT / "specs").glob("*.yaml"))


def load(seed: int) -> tuple[Spec, homespec.api.LoadedSpec]:
    spec = random_spec(seed)
    return spec, homespec.loads(yaml.safe_dump(spec, sort_keys=False))


def float_features(spec: Spec, batch: int) -> dict[str, torch.Tensor]:
    drawn = random_features(spec, batch, torch.Generator().manual_seed(batch))
    return {name: t.float() if t.is_floating_point() else t for name, t in drawn.items()}


@pytest.fixture(autouse=True)
def fresh_dynamo() -> None:
    torch._dynamo.reset()


@pytest.mark.parametrize("seed", range(4))
def test_one_graph_serves_every_batch_size(seed: int) -> None:
    """fullgraph=True: a graph break would raise. A second batch size compiles nothing more."""
    spec, loaded = load(seed)
    model = homespec.build(loaded)
    counter = CompileCounterWithBackend("eager")
    forward = torch.compile(model.forward, backend=counter, fullgraph=True, dynamic=True)
    for batch in (16, 24, 7):
        forward(float_features(spec, batch))
    assert counter.frame_count == 1


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_inductor_agrees_with_eager() -> None:
    spec = yaml.safe_load(TINY)
    loaded = homespec.loads(TINY)
    models = [homespec.build(loaded, compile=True), homespec.build(loaded)]
    module = sys.modules[type(models[0]).__module__]
    module.load_logical_state(models[1], module.logical_state(models[0]))
    compiles = []
    for batch in (16, 24):
        features = float_features(spec, batch)
        labels = random_labels(spec, batch, torch.Generator().manual_seed(0))
        for model in models:
            model.zero_grad()
            module.loss(model(features), labels).backward()
        for (name, ours), theirs in zip(
            models[0].named_parameters(), models[1].parameters(), strict=True
        ):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=2e-3, atol=2e-5, msg=name)
        compiles.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert compiles[0] == compiles[1]
    with pytest.raises(ValueError, match="at least 2 rows"):
        models[0](float_features(spec, 1))


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_inductor_keeps_gradients_of_wide_batches() -> None:
    """With its default options, as users of a generated file compile it.

    At this size inductor of torch 2.13 computes in place into a concatenation that is still read,
    where experts are `split`: the gradients of shared and group sets are then lost.
    """
    loaded = homespec.load(ROOT / "benchmarks" / "specs" / "public.yaml")
    module = homespec.build_module(loaded)
    model = awake(loaded)
    features = {"x": torch.randn(2048, 256)}
    labels = {task: torch.randint(2, (2048,)).float() for task in module.TASKS}
    assert_same_gradients(module, model, features, labels)


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_inductor_keeps_gradients_of_tables() -> None:
    """Inductor of torch 2.13 adds gradients that are turned meanwhile to the wrong rows of a table.

    And to memory that is not the table's; without `Turn` this process dies.
    """
    loaded = homespec.load(ROOT / "specs" / "kuairand.yaml")
    module = homespec.build_module(loaded)
    model = awake(loaded)
    features = random_batch.random_features(loaded, 64, "cpu")
    labels = random_batch.random_labels(loaded, 64, "cpu")
    assert_same_gradients(module, model, features, labels)


UNSAFE = """
homespec: 1
name: unsafe
features: {x: {id: {vocab: 11}, dim: 4}}
groups: {watch: [click, like, inner], social: [share, send], inner: [follow, join]}
tasks: {click: {}, like: {}, share: {}, send: {}, follow: {}, join: {}}
experts:
  activation: relu
  width: 3
  meta: [{nodes: {social: 1}}, {group: 1, nodes: {social: 2}}]
"""


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, in importing inductor
def test_no_gradient_is_lost_without_buffers_in_place() -> None:
    """By itself inductor of torch 2.13 writes over a concatenation whose parts are still read.

    Three weights of gates then have another gradient, which no warning tells.
    """
    loaded = homespec.loads(UNSAFE)
    model = awake(loaded)
    features, labels = (
        draw(loaded, 64, "cpu")
        for draw in (random_batch.random_features, random_batch.random_labels)
    )
    assert_same_gradients(homespec.build_module(loaded), model, features, labels, runtime.SAFE)


def awake(loaded: Any) -> nn.Module:
    """A model of which no weight is zero: feature gates start as nothing."""
    torch.manual_seed(0)
    model = homespec.build(loaded)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def assert_same_gradients(
    module: Any, model: nn.Module, features: Any, labels: Any, options: Any = None
) -> None:
    """Those of the model under torch.compile are those of eager code."""

    def loss_of(features: dict[str, torch.Tensor], labels: dict[str, torch.Tensor]) -> torch.Tensor:
        loss: torch.Tensor = module.loss(model(features), labels)
        return loss

    loss_of(features, labels).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    step = torch.compile(loss_of, fullgraph=True, dynamic=False, options=options)
    step(features, labels).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        exact = expected[name]
        assert exact is not None
        wrong = (parameter.grad - exact).norm() / exact.norm()
        assert wrong < 1e-3, name


def test_a_batch_of_one_trains_only_without_batch_norm() -> None:
    text = """
homespec: 1
name: small
features: {asr: {dense: 4}}
groups: {watch: [click, finish]}
tasks: {click: {}, finish: {}}
experts: {norm: NORM}
"""
    one = {"asr": torch.randn(1, 4)}
    batch = homespec.build(homespec.loads(text.replace("NORM", "batch")))
    with pytest.raises(ValueError, match="at least 2 rows"):
        batch(one)
    assert batch.eval()(one)["click"].shape == (1,)
    assert homespec.build(homespec.loads(text.replace("NORM", "layer")))(one)["click"].isfinite()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_is_that_of_the_weights(dtype: torch.dtype) -> None:
    spec, loaded = load(5)
    model = homespec.build(loaded, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {dtype}
    statistics = {b.dtype for n, b in model.named_buffers() if ".running_" in n}
    assert statistics <= {torch.float32 if dtype is torch.bfloat16 else torch.float64}
    logits = model(float_features(spec, 8))
    assert {logit.dtype for logit in logits.values()} == {dtype}
    labels = random_labels(spec, 8, torch.Generator().manual_seed(0))
    module = sys.modules[type(model).__module__]
    module.loss(logits, labels).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_plain_models_take_coarse_types(dtype: torch.dtype) -> None:
    """Their norms stay float32, as torch wants it."""
    loaded = homespec.loads(TINY)
    model = homespec.build(loaded, optimize=False, dtype=dtype)
    features = random_batch.random_features(loaded, 8, "cpu")
    for training in (True, False):
        assert model.train(training)(features)["click"].dtype == dtype


def test_bfloat16_statistics_stay_precise() -> None:
    """Running statistics of a bf16 model move by less than bf16 could tell."""
    text = """
homespec: 1
name: small
features: {asr: {dense: 4}}
groups: {watch: [click, finish]}
tasks: {click: {}, finish: {}}
experts: {norm_momentum: 0.0001}
"""
    model = homespec.build(homespec.loads(text), dtype=torch.bfloat16)
    model({"asr": torch.randn(64, 4)})
    moved = [b for n, b in model.named_buffers() if n.endswith("running_var")]
    assert all((b != 1).any() and (b - 1).abs().max() < 1e-3 for b in moved)


def test_tracebacks_and_sources_show_generated_lines() -> None:
    model = homespec.build(homespec.loads(TINY))
    with pytest.raises(ValueError, match="features missing: ") as caught:
        model({})
    frames = traceback.extract_tb(caught.value.__traceback__)
    generated = [frame for frame in frames if frame.filename.startswith("homespec-generated")]
    assert generated
    assert all(frame.line and frame.line.strip() for frame in generated)
    assert "class Model" in inspect.getsource(type(model))
    linecache.checkcache()
    assert linecache.getline(generated[0].filename, generated[0].lineno or 0).strip()


def test_modules_are_shared_by_content() -> None:
    _, loaded = load(0)
    assert homespec.build_module(loaded) is homespec.build_module(loaded)
    assert homespec.build_module(loaded) is not homespec.build_module(loaded, optimize=False)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_shipped_specs_run_and_train(path: Path) -> None:
    loaded = homespec.load(path)
    module = homespec.build_module(loaded)
    model = instantiate(module, device="cpu")
    features = random_batch.random_features(loaded, 16, "cpu")
    labels = {task: (torch.rand(16) < 0.5).float() for task in module.TASKS}
    module.loss(model(features), labels).backward()
    assert all(p.grad is not None for p in model.parameters())


class Scaled(nn.Module):
    """Code that models share."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), 2.0))

    def forward(self, x: Tensor, *, shift: float = 1.0) -> Tensor:
        return x * self.weight + shift


@pytest.mark.parametrize("as_function", [False, True])
def test_the_ninth_compiled_model_is_like_the_first(as_function: bool) -> None:
    """Dynamo allows eight graphs for one code object."""
    for width in range(1, 12):
        forward = Scaled(width).forward

        def function(x: Tensor, forward: Any = forward) -> Any:
            return forward(x)

        own = runtime.own(function if as_function else forward)
        compiled = torch.compile(own, fullgraph=True, dynamic=False, backend="eager")
        assert torch.equal(compiled(torch.ones(width)), torch.full((width,), 3.0))


class OffDevice(TorchDispatchMode):
    """Collects the operations whose results lie elsewhere than on the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        elsewhere = [t for t in tree_leaves(result) if isinstance(t, Tensor) and not t.is_meta]
        self.found += [str(func)] * len(elsewhere)
        return result


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_step_stays_on_its_device(path: Path, optimize: bool) -> None:
    """No constant is made on the host, and nothing asks for a number: on a GPU no step waits.

    The meta device is in place of the GPU: it has no numbers that could be asked for.
    """
    spec = homespec.load(path)
    code = homespec.build_module(spec, optimize=optimize)
    model = homespec.build(spec, optimize=optimize).to("meta")
    features = {n: t.to("meta") for n, t in random_batch.random_features(spec, 8, "cpu").items()}
    labels = {n: t.to("meta") for n, t in random_batch.random_labels(spec, 8, "cpu").items()}
    with OffDevice() as elsewhere:
        code.loss(model(features), labels).backward()
    assert elsewhere.found == []


@pytest.mark.parametrize("optimize", [True, False])
def test_a_step_changes_only_what_keeps_its_address(optimize: bool) -> None:
    """Running statistics, which torch.compile knows to stay in place.

    inductor makes no CUDA graph of a step that changes anything else.
    """
    spec = homespec.loads(TINY)
    code, model = (
        build(spec, optimize=optimize) for build in (homespec.build_module, homespec.build)
    )
    buffers = [n for n, _ in model.named_buffers() if "running" in n or "tracked" in n]
    changed, fixed = [], []

    def look(graph: fx.GraphModule, _: Any) -> Any:
        about = TracingContext.get().fw_metadata
        assert about is not None
        changed.extend(i for i, each in enumerate(about.input_info) if each.mutates_data)
        fixed.extend(about.static_input_indices)
        return make_boxed_func(graph.forward)

    def loss_of(features: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        loss: Tensor = code.loss(model(features), labels)
        return loss

    step = torch.compile(loss_of, backend=aot_autograd(fw_compiler=look), fullgraph=True)
    step(random_batch.random_features(spec, 8, "cpu"), random_batch.random_labels(spec, 8, "cpu"))
    assert len(changed) == len(buffers) > 0
    assert set(changed) <= set(fixed)

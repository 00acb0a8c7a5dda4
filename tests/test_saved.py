"""What a compiled step keeps for its backward pass: inductor may write over any of it.

It takes a kept tensor for its own ("donated") where no input or output shares its memory, and does
not ask whether another kept tensor does; torch keeps a piece of `split` beside the whole. Gradients
were silently wrong, on any device. So generated code slices: a slice is taken anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._functorch.config
import yaml
from hierarchies import random_features, random_labels, random_spec
from torch import Tensor, fx, nn
from torch._functorch.aot_autograd import make_boxed_func
from torch._functorch.partitioners import get_default_op_list
from torch._guards import TracingContext

import homespec
from homespec.bench import random_batch

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted([*(ROOT / "specs").glob("*.yaml"), *(ROOT / "benchmarks/specs").glob("*.yaml")])

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, in its import

UNEQUAL = """
homespec: 1
name: unequal
features: {user_id: {id: {buckets: 50}, dim: 8}}
groups: {watch: [click, finish], interaction: [like, follow]}
tasks: {click: {}, finish: {}, like: {}, follow: {}}
experts: {width: 8, task: {nodes: {interaction: 3}}}
gates: {feature: {rank: 2}}
towers: {hidden: []}
"""


class Kept:
    """A backend of torch.compile that looks at what inductor would get, and computes eagerly."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.read: set[str] = set()

    def __call__(self, graph: fx.GraphModule, examples: Any) -> Any:
        from torch._inductor.compile_fx import compile_fx

        return compile_fx(graph, examples, inner_compile=self.inner)

    def inner(self, graph: fx.GraphModule, examples: Any, **given: Any) -> Any:
        """Stands in for inductor, behind autograd's choice of what to keep."""
        if given.get("is_backward"):
            inputs = graph.graph.find_nodes(op="placeholder")
            self.read = {node.name for node in inputs if any(map(pointwise, readers(node)))}
            return make_boxed_func(graph.forward)
        about = TracingContext.get().fw_metadata
        assert about is not None
        (output,) = graph.graph.find_nodes(op="output")
        names = [str(node) for node in output.args[0]][about.num_forward :]

        def run(*arguments: Any) -> Any:
            found = graph(*arguments)
            results, kept = found[: about.num_forward], found[about.num_forward :]
            others = {place(t) for t in (*arguments, *results) if isinstance(t, Tensor)}
            self.tensors = {
                name: t
                for name, t in zip(names, kept, strict=True)
                if isinstance(t, Tensor) and place(t) not in others
            }
            return found

        return make_boxed_func(run)

    def clashes(self) -> list[tuple[str, str]]:
        """Kept tensors that share memory, of which a kernel may be written over one."""
        names = list(self.tensors)
        return [
            (a, b)
            for i, a in enumerate(names)
            for b in names[:i]
            if {a, b} & self.read and overlap(self.tensors[a], self.tensors[b])
        ]


def readers(node: fx.Node) -> Iterator[fx.Node]:
    """The operations that read a tensor, through views of it."""
    for user in node.users:
        if get_default_op_list().is_view(user):
            yield from readers(user)
        else:
            yield user


def pointwise(node: fx.Node) -> bool:
    """Whether inductor generates a kernel for it, which may put its result where an input was."""
    return get_default_op_list().is_fusible(node)


def place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def overlap(a: Tensor, b: Tensor) -> bool:
    return place(a) == place(b) and bool(set(offsets(a)) & set(offsets(b)))


def offsets(tensor: Tensor) -> list[int]:
    """Of each number in its storage."""
    places = torch.tensor([tensor.storage_offset()])
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = (places.unsqueeze(-1) + torch.arange(size) * stride).flatten()
    return places.tolist()


def step(spec: homespec.api.LoadedSpec, optimize: bool, features: Any, labels: Any) -> Kept:
    """A training step as torch.compile would have it, with what it keeps."""
    torch._dynamo.reset()
    code, model = (
        build(spec, optimize=optimize) for build in (homespec.build_module, homespec.build)
    )

    def loss_of(features: dict[str, Tensor], labels: dict[str, Tensor]) -> Tensor:
        loss: Tensor = code.loss(model(features), labels)
        return loss

    random_batch.set_fitted(code, model, spec)
    kept = Kept()
    with torch._functorch.config.patch(enable_autograd_cache=False):
        compiled = torch.compile(loss_of, backend=kept, fullgraph=True, dynamic=False)
        compiled(features, labels).backward()
    assert kept.tensors
    assert kept.read
    return kept


@pytest.mark.parametrize("path", SPECS, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_shipped_specs(path: Path) -> None:
    spec = homespec.load(path)
    features, labels = (
        draw(spec, 4, "cpu") for draw in (random_batch.random_features, random_batch.random_labels)
    )
    assert step(spec, True, features, labels).clashes() == []


@pytest.mark.parametrize("seed", range(10))
def test_random_hierarchies(seed: int) -> None:
    drawn = random_spec(seed)
    spec = homespec.loads(yaml.safe_dump(drawn, sort_keys=False))
    generator = torch.Generator().manual_seed(seed)
    features = {
        name: t.float() if t.is_floating_point() else t
        for name, t in random_features(drawn, 5, generator).items()
    }
    labels = {name: t.float() for name, t in random_labels(drawn, 5, generator).items()}
    assert step(spec, True, features, labels).clashes() == []


@pytest.mark.parametrize("optimize", [True, False])
def test_sets_of_unequal_size(optimize: bool) -> None:
    spec = homespec.loads(UNEQUAL)
    features, labels = (
        draw(spec, 4, "cpu") for draw in (random_batch.random_features, random_batch.random_labels)
    )
    assert step(spec, optimize, features, labels).clashes() == []


def test_a_clash_is_seen() -> None:
    """A piece of `split` is kept beside the whole."""
    model = nn.Linear(4, 6)

    def loss_of(x: Tensor) -> Tensor:
        left, right = model(x).softmax(1).split([2, 4], dim=1)
        return (left * x[:, :2]).sum() + (right * right.sin()).sum()

    kept = Kept()
    torch._dynamo.reset()
    with torch._functorch.config.patch(enable_autograd_cache=False):
        torch.compile(loss_of, backend=kept, fullgraph=True)(torch.randn(3, 4)).backward()
    assert kept.clashes()

"""Count what inductor makes of a training step for a GPU that is not here: kernels and bytes.

    pip install triton
    python benchmarks/gpu_schedule.py [--sizes small-4 public] [--json FILE]

The step is traced on a CPU; then the tensors of its graphs, forward and backward, are declared to
be on an H100, and inductor lowers, fuses and writes Triton code for it, which nothing runs. A
kernel is a launch; bytes are what inductor counts for its fused kernels and for products, each of
which reads its inputs and writes its outputs once. These are counts, no measurements of time, and
inductor of another version may count otherwise. Needs torch 2.13, whose internals it calls.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import lab
import torch
from scaling import scaled
from torch import Tensor, fx
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._guards import TracingContext, detect_fake_mode, tracing
from torch._inductor import config
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.fx_passes.post_grad import post_grad_passes, view_to_reshape
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime.hints import DeviceProperties
from torch._inductor.scheduler import NopKernelSchedulerNode
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.passes.fake_tensor_prop import FakeTensorProp
from torch.utils._pytree import tree_map

import homespec
from homespec.api import LoadedSpec
from homespec.bench.candidates import model_loss
from homespec.bench.random_batch import random_features, random_labels
from homespec.bench.roofline import bytes_moved
from homespec.bench.variants import FUSED

SIZES = {
    "small-4": ("small", 4, 2048),
    "small-64": ("small", 64, 2048),
    "public": ("public", 6, 2048),
    "industrial": ("industrial", 24, 4096),
}
"""By name: the spec, how many tasks it gets, and the batch."""

GPU = torch.device("cuda", 0)
H100 = {
    "multi_processor_count": 132, "major": 9, "regs_per_multiprocessor": 65536,
    "max_threads_per_multi_processor": 2048, "max_threads_per_block": 1024, "warp_size": 32,
}  # fmt: skip
LAUNCH = re.compile(r"(triton_\w+)\.run\(|(extern_kernels\.\w+)\(|(torch\.ops\.[\w.]+)\(")


@dataclass
class Schedule:
    """Launches of generated kernels and of products, and the bytes of each, in a training step."""

    kernels: int = 0
    products: int = 0
    kernel_bytes: int = 0
    product_bytes: int = 0


def schedule_of(spec: LoadedSpec, optimize: bool, rows: int) -> Schedule:
    """What inductor makes of forward, loss and backward in float32."""
    torch._dynamo.reset()
    schedule = Schedule()

    def compiler(graph: fx.GraphModule, inputs: list[Any], backward: bool) -> Any:
        add(schedule, deepcopy(graph), inputs, backward)
        return make_boxed_func(graph.forward)

    backend = aot_autograd(
        fw_compiler=functools.partial(compiler, backward=False),
        bw_compiler=functools.partial(compiler, backward=True),
        decompositions=select_decomp_table(),
        partition_fn=functools.partial(min_cut_rematerialization_partition, compiler="inductor"),
    )
    code, model = homespec.build_with_module(spec, optimize=optimize)
    step = torch.compile(model_loss(model, code), backend=backend, fullgraph=True, dynamic=False)
    loss = step(random_features(spec, rows, "cpu"), random_labels(spec, rows, "cpu"))
    loss.backward()
    return schedule


def add(schedule: Schedule, graph: fx.GraphModule, inputs: list[Any], backward: bool) -> None:
    """Lower one graph, and add what it launches."""
    simplify(graph, inputs)
    with absent_gpu(), FakeTensorMode() as fake, V.set_fake_mode(fake):
        moved = [on_gpu(each, fake) for each in inputs]
        for node in graph.graph.nodes:
            node.args, node.kwargs = tree_map(of_gpu, (node.args, node.kwargs))
        with tracing(TracingContext(fake)):
            FakeTensorProp(graph, fake).propagate_dont_convert_inputs(*moved)
            lowering = GraphLowering(graph, example_inputs=moved, is_backward=backward)
            with V.set_graph_handler(lowering), V.set_debug_handler(DebugContext()):
                lowering.run(*moved)
                code = lowering.codegen()[0].value
                for node in lowering.scheduler.nodes:
                    count_bytes(schedule, node)
    launches = [
        match.group(1) is not None for match in LAUNCH.finditer(code.partition("def call(")[2])
    ]
    schedule.kernels += sum(launches)
    schedule.products += len(launches) - sum(launches)


def count_bytes(schedule: Schedule, node: Any) -> None:
    """Add what a node of inductor's schedule reads and writes."""
    if node.is_extern():
        schedule.product_bytes += node.get_read_write_buffers_sizes()
    elif not isinstance(node, NopKernelSchedulerNode):
        schedule.kernel_bytes += node.get_read_write_buffers_sizes()


def simplify(graph: fx.GraphModule, inputs: list[Any]) -> None:
    """What inductor does to a graph before it lowers it; it computes, so still on the CPU."""
    fake = detect_fake_mode(inputs)
    view_to_reshape(graph)
    with tracing(TracingContext(fake)), V.set_fake_mode(fake):
        FakeTensorProp(graph, fake).propagate_dont_convert_inputs(*inputs)
        post_grad_passes(graph, is_inference=False)
    view_to_reshape(graph)


def on_gpu(value: Any, fake: FakeTensorMode) -> Any:
    """A tensor of this shape that claims to be on a GPU."""
    if not isinstance(value, Tensor):
        return value
    empty = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return FakeTensor(fake, empty, GPU)


def of_gpu(value: Any) -> Any:
    """The GPU for a device."""
    return GPU if isinstance(value, torch.device) else value


@contextlib.contextmanager
def absent_gpu() -> Iterator[None]:
    """Have inductor and Triton believe in an H100 while code is generated."""
    import triton
    from triton.backends.compiler import GPUTarget

    driver = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32), get_current_device=lambda: 0
    )
    triton.runtime.driver.set_active(driver)
    properties = DeviceProperties(type="cuda", index=0, cc=90, **H100)
    known = SimpleNamespace(name="H100", minor=0, total_memory=80 << 30, gcnArchName="", **H100)
    answers = {
        "torch.cuda.is_available": True,
        "torch.cuda._lazy_init": None,
        "torch.cuda.current_device": 0,
        "torch.cuda.get_device_capability": (9, 0),
        "torch.cuda.get_device_properties": known,
        "torch._inductor.scheduler.has_triton": True,
        "torch._inductor.runtime.hints.DeviceProperties.create": properties,
    }
    with contextlib.ExitStack() as stack:
        for name, value in answers.items():
            stack.enter_context(mock.patch(name, return_value=value))
        yield


def main() -> None:
    """Count, print, and keep the result where it was asked for."""
    parser = lab.parser(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    given = parser.parse_args()
    cases = []
    for name in given.sizes:
        file, tasks, rows = SIZES[name]
        spec = scaled(homespec.load(lab.SPECS / f"{file}.yaml"), tasks)
        floor = 2 * bytes_moved(spec.analysis.graph, rows, torch.float32)
        for variant in ("naive", "ours", "ours-fused"):
            with config.patch(FUSED if variant == "ours-fused" else {}):
                schedule = schedule_of(spec, variant != "naive", rows)
            print(name, variant, schedule, f"activations at least {floor / 1e6:.0f} MB", flush=True)
            cases.append(
                {"size": file, "tasks": tasks, "batch": rows, "variant": variant, "floor": floor}
                | asdict(schedule)
            )
    lab.write(given.json, cases=cases)


if __name__ == "__main__":
    main()

"""Benchmark: counts operations, kernels and memory of a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

FREE = {"_unsafe_view", "_reshape_alias", "detach", "lift_fresh", "promote_types"}
"""Operations that compute nothing, although torch does not call them views."""

FREE_BEGINNINGS = ("empty", "new_empty")


def is_free(operation: str) -> bool:
    """Whether an operation of this name (without `aten::`) only creates memory or a view."""
    return operation in FREE or operation.startswith(FREE_BEGINNINGS)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations that reach the device, which excludes views and empty memory."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if not func.is_view and not is_free(func.overloadpacket.__name__):
            self.count += 1
        return func(*args, **(kwargs or {}))


def operations(action: Callable[[], object]) -> int:
    """Number of aten operations of an eager function and its backward pass, without views.

    The recurrence of DIEN is one operator of the generated file, so it also counts as one.
    """
    counter = _Counter()  # type: ignore[no-untyped-call]
    with counter:
        action()
    return int(counter.count)


def generated_kernels() -> int:
    """Number of kernels that inductor has generated in this process, or found in its cache.

    On a CPU, a kernel is a loop nest.
    """
    from torch._inductor import metrics

    return int(metrics.generated_kernel_count)


def external_kernels(action: Callable[[], object]) -> int:
    """Number of aten operations that compiled code calls on a CPU, such as matrix products.

    Nested operations do not count, and neither do kernels that inductor generated.
    """
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        action()
    return sum(_is_outermost(event) for event in seen.events() or ())


VIEWS = {"alias", "as_strided", "expand", "permute", "reshape", "resolve_conj", "select", "slice"}
VIEWS |= {"split", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view", "view_as"}
"""Names of views, for profiles that contain only names."""


def _is_outermost(event: Any) -> bool:
    scope, _, name = event.name.rpartition("::")
    if scope not in ("aten", "mkldnn", "mkl", "onednn", "inductor") or name in VIEWS:
        return False
    above = event.cpu_parent
    while above is not None:
        if above.name.startswith(("aten::", "mkldnn::", "mkl::", "onednn::")):
            return False
        above = above.cpu_parent
    return not is_free(name)


def cuda_kernels(action: Callable[[], object]) -> int:
    """Number of kernels, copies and fills that a function runs on the GPU."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        action()
        torch.cuda.synchronize()
    gpu = torch.autograd.DeviceType.CUDA  # type: ignore[attr-defined]
    return sum(event.device_type == gpu for event in seen.events() or ())


def skipped_graphs() -> int:
    """Number of graphs that inductor ran here without a CUDA graph, although one was requested."""
    from torch._dynamo.utils import counters

    return int(counters["inductor"]["cudagraph_skips"])


def synchronises(action: Callable[[], object]) -> bool:
    """Whether a function waits for the GPU, so that the next one cannot be launched ahead."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        action()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


def peak_memory(action: Callable[[], object], device: str) -> int:
    """Peak memory of a call in bytes, above the memory in use when it starts."""
    if device == "cuda":
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        action()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - held)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        action()
    assert seen.profiler is not None
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest

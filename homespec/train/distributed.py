"""Training: processes that torchrun starts: how they connect, exchange values and agree on errors.

One process reports an error; the others end silently. Steps that all of them do, such as opening
the data, go through `on_all_ranks`; steps that the first does for all, such as writing, through
`on_rank_zero`. If a process fails alone in the middle of an epoch, it leaves a note in the group's
store. The others find it there when their next exchange fails.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn, TypeVar, cast
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from homespec.train import RunError

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""How long a process waits for others; the first writes and measures while the others wait."""
RUNNING = ("running_mean", "running_var")
REPORTED, LOST = "homespec/reported", "homespec/lost"

_gloo_groups: WeakKeyDictionary[Any, dist.ProcessGroup] = WeakKeyDictionary()
"""A gloo group for the processes of a group without gloo.

`destroy_process_group` only drops its own references, and the threads of a remaining group would
abort the process when Python exits.
"""
_store: Store | None = None
_agreed = False
"""Whether the error that ends the run was found by all processes at the same place."""


class ElsewhereError(RunError):
    """Raised if another process of the run reports the error, so that this one ends silently."""


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    started = dist.is_available() and dist.is_torchelastic_launched()
    return started and int(os.environ["WORLD_SIZE"]) > 1


def is_rank_zero() -> bool:
    """Whether this is the process that writes and reports, which is so for a single process."""
    return rank() == 0


@contextmanager
def init() -> Iterator[None]:
    """Connect the processes that torchrun started, each on a GPU if there are any.

    The group lasts until the process ends, so a second run uses it. An existing group is used.
    Raises RunError if there are too few GPUs.
    """
    global _agreed
    _agreed = False
    if launched() and not dist.is_initialized():
        _join()
    with propagating_errors():
        yield


def _join() -> None:
    global _store
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(_device())
    _store, number, count = next(rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=_store, rank=number, world_size=count, timeout=TIMEOUT,
    )  # fmt: skip
    atexit.register(_leave)


def _leave() -> None:
    """Close the connections.

    This waits for gloo's threads: one that still holds the last tensor when Python exits would
    abort the process.
    """
    if _store is not None and dist.is_initialized():
        dist.destroy_process_group()


def _device() -> int:
    here, devices = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    own = int(os.environ["LOCAL_RANK"])
    if here > devices:
        error = (
            f"torchrun started {here} processes on this machine, which shows {devices} GPUs: give"
            f" --nproc-per-node {devices}, or CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
        raise (ElsewhereError if own else RunError)(error)
    return own


# ---------------------------------------------------------------- collectives


def world_size() -> int:
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def all_gather(*tensors: Tensor) -> tuple[tuple[Tensor, ...], int]:
    """Each tensor concatenated over all processes, and their number.

    The tensors must have the same shape in each process.
    """
    count = world_size()
    if count == 1:
        return tensors, 1
    return tuple(_gather(tensor, count) for tensor in tensors), count


def _gather(tensor: Tensor, count: int) -> Tensor:
    parts = [torch.empty_like(tensor) for _ in range(count)]
    dist.all_gather(parts, tensor.contiguous(), group=_group_of(tensor))
    return torch.cat(parts)


def _group_of(tensor: Tensor) -> dist.ProcessGroup | None:
    return None if tensor.is_cuda else _cpu_group()


def _cpu_group() -> dist.ProcessGroup | None:
    """A group for tensors on the CPU, because processes of another Trainer may only have NCCL."""
    if "gloo" in dist.get_backend_config():
        return None
    world = dist.group.WORLD
    if world not in _gloo_groups:
        _gloo_groups[world] = dist.new_group(backend="gloo", timeout=TIMEOUT)
    return _gloo_groups[world]


def gather_on_rank_zero(tensor: Tensor) -> Tensor | None:
    """Like `all_gather` for one tensor, but only for the first process; the others get None."""
    count = world_size()
    if count == 1:
        return tensor
    tensor = tensor.contiguous()
    parts = [torch.empty_like(tensor) for _ in range(count)] if rank() == 0 else None
    dist.gather(tensor, parts, group=_group_of(tensor))
    return torch.cat(parts) if parts else None


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """The mean over all processes, the same in each."""
    count = world_size()
    if count > 1:
        tensor = tensor.contiguous().clone()
        dist.all_reduce(tensor, group=_group_of(tensor))
        tensor /= count
    return tensor


def loss_scales(rows_T: Tensor) -> Tensor | None:
    """Factors for this process's losses [T], so that their mean is that of the whole batch.

    None for a single process. A task's loss is the weighted mean over its rows with a label, and
    processes have different numbers of these: the factor is this process's number, `rows_T`,
    divided by the mean number.
    """
    if world_size() == 1:
        return None
    mean_T = all_reduce_mean(rows_T)
    return torch.where(mean_T > 0, rows_T / mean_T, 1.0)


def average_running_stats(model: nn.Module) -> None:
    """Set running means and variances to their mean over all processes; no-op for a single process.

    In training, each process normalises by its own rows, and so has its own statistics. The mean of
    the means is that of all rows; the variance lacks the part between processes, which is 1/B of it
    for B rows a process.
    """
    buffers = [b for name, b in model.named_buffers() if name.rpartition(".")[2] in RUNNING]
    if world_size() == 1 or not buffers:
        return
    averaged = all_reduce_mean(torch.cat([buffer.flatten() for buffer in buffers]))
    parts = torch.split(averaged, [buffer.numel() for buffer in buffers])
    for buffer, part in zip(buffers, parts, strict=True):
        buffer.copy_(part.view_as(buffer))


# ---------------------------------------------------------------- agreement


def on_all_ranks(act: Callable[[], T]) -> T:
    """Run a step that every process does at the same place. An error in one is an error in all."""
    if world_size() == 1:
        return act()
    error: Exception | None = None
    try:
        value = act()
    except Exception as raised:
        error = raised
    (failed_R,), _ = all_gather(torch.tensor([error is not None]))
    if not failed_R.any():
        return value
    _agree()
    if error is not None and int(failed_R.nonzero()[0]) == rank():
        raise error
    raise ElsewhereError(str(error or "another process of the run failed"))


def on_rank_zero(act: Callable[[], T]) -> T:
    """Run a step only in the first process, and return its value in all of them."""
    if world_size() == 1:
        return act()
    values = [on_all_ranks(lambda: act() if is_rank_zero() else None)]
    dist.broadcast_object_list(values, group=_cpu_group())
    return cast(T, values[0])


def check_same(what: str, value: Any) -> None:
    """Raise RunError if a value, which must be JSON, differs between processes."""
    text = json.dumps(value, sort_keys=True)

    def check() -> None:
        if text != wanted:
            raise RunError(
                f"process {rank()} has different {what} from process 0: start all of them with "
                "the same command, files and version of homespec"
            )

    wanted = on_rank_zero(lambda: text)
    on_all_ranks(check)


def fail(error: Exception) -> NoReturn:
    """Raise an error that all processes have; the first one reports it."""
    _agree()
    raise error if is_rank_zero() else ElsewhereError(str(error))


def _agree() -> None:
    global _agreed
    _agreed = True


# ---------------------------------------------------------------- errors of one process


@contextmanager
def propagating_errors() -> Iterator[None]:
    """Tell the others about an error of this process, and be silent about errors of others.

    Raises ElsewhereError for the latter, and RunError if a process has disappeared without a note.
    After that, an exchange may hang, and connections end with the process; after an error that all
    processes have, this does not happen.
    """
    try:
        yield
    except BaseException as error:
        if _agreed:
            raise
        atexit.unregister(_leave)
        if _store is None or isinstance(error, ElsewhereError):
            raise
        if not _broken_off(error):
            with suppress(RuntimeError):
                _store.set(REPORTED, str(rank()))
            raise
        if _noted(_store):
            raise ElsewhereError("another process of the run failed") from None
        raise RunError(
            "another process of this run ended without a message: it was killed, or its machine "
            "failed"
        ) from None


def _broken_off(error: BaseException) -> bool:
    """Whether an exchange with other processes failed."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and ("gloo" in str(error) or "NCCL" in str(error))


def _noted(store: Store) -> bool:
    """Whether another process reports the error, or has reported that a process is lost."""
    try:
        return bool(store.check([REPORTED]) or store.add(LOST, 1) > 1)
    except RuntimeError:  # the store is also lost
        return False


def is_silent() -> bool:
    """Whether this process prints nothing, because the first one does."""
    return launched() and int(os.environ["RANK"]) > 0

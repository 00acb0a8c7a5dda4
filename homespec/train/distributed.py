"""Training: the processes that torchrun starts: how they find each other, what they compute
together outside of DDP, and how they agree on errors.

One process reports an error; the others end silently. What all of them do, such as opening the
data, goes through `on_all_ranks`; what the first does for all, such as writing, through
`on_rank_zero`. Where one fails alone, in the middle of an epoch, it leaves a note in the store of
the group: the others, whose next exchange breaks off, find it there.
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
"""So long a process waits for another one: the first writes and measures while the others wait."""
RUNNING = ("running_mean", "running_var")
REPORTED, LOST = "homespec/reported", "homespec/lost"

_gloo_groups: WeakKeyDictionary[Any, dist.ProcessGroup] = WeakKeyDictionary()
"""The processes of a group without gloo, with it. `destroy_process_group` drops only references of
its own: a group that lives on has threads, which abort the process when Python ends.
"""
_store: Store | None = None
_agreed = False
"""Whether the error that ends the run is one that all processes have found at the same place."""


class ElsewhereError(RunError):
    """Another process of the run reports what is wrong; this one ends silently."""


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    started = dist.is_available() and dist.is_torchelastic_launched()
    return started and int(os.environ["WORLD_SIZE"]) > 1


def is_rank_zero() -> bool:
    """Whether this is the process that writes and reports; one alone is."""
    return rank() == 0


@contextmanager
def init() -> Iterator[None]:
    """Find the processes that torchrun started, on a GPU each where there are some.

    They stay together until the process ends, so a second run uses them. A group that there
    is already is used. Raises RunError where GPUs are too few.
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
    """Close the connections, which waits for the threads of gloo: one that still holds the last
    tensor when Python ends aborts the process.
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
    """Each tensor as that of all processes, one after the other, and how many these are.

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
    """The processes for tensors on the CPU: in a Trainer of one's own they may have NCCL alone."""
    if "gloo" in dist.get_backend_config():
        return None
    world = dist.group.WORLD
    if world not in _gloo_groups:
        _gloo_groups[world] = dist.new_group(backend="gloo", timeout=TIMEOUT)
    return _gloo_groups[world]


def gather_on_rank_zero(tensor: Tensor) -> Tensor | None:
    """As `all_gather`, of one tensor and for the first process alone; the others get None."""
    count = world_size()
    if count == 1:
        return tensor
    tensor = tensor.contiguous()
    parts = [torch.empty_like(tensor) for _ in range(count)] if rank() == 0 else None
    dist.gather(tensor, parts, group=_group_of(tensor))
    return torch.cat(parts) if parts else None


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """The mean over all processes, the same in each of them."""
    count = world_size()
    if count > 1:
        tensor = tensor.contiguous().clone()
        dist.all_reduce(tensor, group=_group_of(tensor))
        tensor /= count
    return tensor


def loss_scales(rows_T: Tensor) -> Tensor | None:
    """What losses [T] of this process are multiplied by, that their mean over all processes be
    the loss of the whole batch; None for a process alone.

    A task's loss is the mean over its rows with a label, by their weights, and processes have
    different numbers of them: the factor is this process's rows, `rows_T`, by the mean of all.
    """
    if world_size() == 1:
        return None
    mean_T = all_reduce_mean(rows_T)
    return torch.where(mean_T > 0, rows_T / mean_T, 1.0)


def average_running_stats(model: nn.Module) -> None:
    """Give all processes the mean of their running means and variances; does nothing in one alone.

    Each process normalises by its own rows in training, and so keeps statistics of its own. The
    mean of the means is that of all rows; the variance lacks the part between processes, which is
    1/B of it for B rows a process.
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
    """What each process does for itself, all at the same place. An error of one is one of all."""
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
    """What the first process alone does, for all of them: its value."""
    if world_size() == 1:
        return act()
    values = [on_all_ranks(lambda: act() if is_rank_zero() else None)]
    dist.broadcast_object_list(values, group=_cpu_group())
    return cast(T, values[0])


def check_same(what: str, value: Any) -> None:
    """Raise RunError if a value, which must be JSON, is another one in another process."""
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
    """Raise an error that all processes have: the first one reports it."""
    _agree()
    raise error if is_rank_zero() else ElsewhereError(str(error))


def _agree() -> None:
    global _agreed
    _agreed = True


# ---------------------------------------------------------------- errors of one process


@contextmanager
def propagating_errors() -> Iterator[None]:
    """Let the others know of an error of this process, and be silent about one of another.

    Raises ElsewhereError for the latter, and RunError if a process is gone that left no note. From
    then on an exchange may hang, and connections end with the process; after an error that all
    have none does.
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
    """Whether another process reports what is wrong, or one has reported that one is lost."""
    try:
        return bool(store.check([REPORTED]) or store.add(LOST, 1) > 1)
    except RuntimeError:  # the store is also lost
        return False


def is_silent() -> bool:
    """Whether this process says nothing, since the first one does."""
    return launched() and int(os.environ["RANK"]) > 0

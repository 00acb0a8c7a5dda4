"""Training: the processes that torchrun starts: how they find each other and agree on errors.

An error is told by one process; the others end without a word. What all of them do, such as
opening the data, goes through `together`; what the first one does for all, such as writing, through
`first`. Where one fails alone, in the midst of an epoch, it leaves a note in the store of the
group: the others, whose next exchange breaks off, find it there.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from homespec.train import RunError
from homespec.train.ranks import gathered, rank, ranks

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""So long a process waits for another one: the first writes and measures while the others wait."""
TOLD, LOST = "homespec/told", "homespec/lost"

_store: Store | None = None
_agreed = False
"""Whether the error that ends the run is one that all processes have found at the same place."""


class ElsewhereError(RunError):
    """Another process of the run tells what is wrong; this one is to end without a word."""


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    started = dist.is_available() and dist.is_torchelastic_launched()
    return started and int(os.environ["WORLD_SIZE"]) > 1


def is_first() -> bool:
    """Whether this is the process that writes and tells; one alone is."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Find the processes that torchrun started, on a GPU each where there are some.

    They stay together until the process ends, so a second run goes on with them. A group that there
    is already is used. Raises RunError where GPUs are too few.
    """
    global _agreed
    _agreed = False
    if launched() and not dist.is_initialized():
        _join()
    with heard():
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


# ---------------------------------------------------------------- agreement


def together(act: Callable[[], T]) -> T:
    """What each process does for itself, all at the same place. An error of one is one of all."""
    if ranks() == 1:
        return act()
    error: Exception | None = None
    try:
        value = act()
    except Exception as raised:
        error = raised
    (failed_R,), _ = gathered(torch.tensor([error is not None]))
    if not failed_R.any():
        return value
    _agree()
    if error is not None and int(failed_R.nonzero()[0]) == rank():
        raise error
    raise ElsewhereError(str(error or "another process of the run failed"))


def first(act: Callable[[], T]) -> T:
    """What the first process alone does, for all of them: its value, which must be JSON."""
    if ranks() == 1:
        return act()
    text = together(lambda: json.dumps(act()) if is_first() else "")
    value: T = json.loads(_from_first(text))
    return value


def _from_first(text: str) -> str:
    content = text.encode()
    length = torch.tensor([len(content)])
    dist.broadcast(length, 0)
    sent = torch.zeros(int(length), dtype=torch.uint8)
    if is_first():
        sent = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    dist.broadcast(sent, 0)
    return bytes(sent.tolist()).decode()


def check_same(what: str, value: Any) -> None:
    """Raise RunError if a value, which must be JSON, is another one in another process."""
    text = json.dumps(value, sort_keys=True)

    def check() -> None:
        if text != wanted:
            raise RunError(
                f"process {rank()} has other {what} than process 0: start all of them with the"
                " same command, the same files and the same version of homespec"
            )

    wanted = _from_first(text) if ranks() > 1 else text
    together(check)


def fail(error: Exception) -> NoReturn:
    """Raise an error that all processes have found: the first one tells it."""
    _agree()
    raise error if is_first() else ElsewhereError(str(error))


def _agree() -> None:
    global _agreed
    _agreed = True


# ---------------------------------------------------------------- errors of one process


@contextmanager
def heard() -> Iterator[None]:
    """Let the others know of an error of this process, and be silent about one of another.

    Raises ElsewhereError for the latter, and RunError if a process is gone that left no note. From
    then on an exchange may hang, and connections end with the process; behind an error that all
    have found none does.
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
                _store.set(TOLD, str(rank()))
            raise
        if _noted(_store):
            raise ElsewhereError("another process of the run failed") from None
        raise RunError(
            "another process of this run ended without a word: it was killed, or its machine is"
            " lost"
        ) from None


def _broken_off(error: BaseException) -> bool:
    """Whether an exchange with other processes failed."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and ("gloo" in str(error) or "NCCL" in str(error))


def _noted(store: Store) -> bool:
    """Whether another process tells what is wrong, or one has told already that one is lost."""
    try:
        return bool(store.check([TOLD]) or store.add(LOST, 1) > 1)
    except RuntimeError:  # the store is lost, too
        return False


def end_on_sigterm(trainer: Any) -> None:
    """Let SIGTERM end this process at once, as torchrun wants to when another one has failed.

    Lightning would send a message to the others instead, which hang or are gone, and asks after
    each step whether one came, which waits for the device. Checkpoints are whole at any moment.
    """
    if ranks() > 1:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # of Lightning 2.6; elsewhere the name means nothing
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


def quiet() -> bool:
    """Whether this process says nothing, since the first one does."""
    return launched() and int(os.environ["RANK"]) > 0

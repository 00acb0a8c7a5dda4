"""Benchmark: times several functions in turns.

The speed of a machine changes with other programs, clocks and heat. Each round calls each function
once, so all functions see the same conditions, and ratios are taken within rounds.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

import torch

Action = Callable[[], object]
Times = dict[str, list[float]]
"""Milliseconds of every call by function."""

WARM_UP = 3
"""Calls before the first round. Compilers, caches and CUDA graphs are ready after two."""


class Interrupted(Exception):  # noqa: N818  # the user's wish
    """Raised at Ctrl-C; `times` are those of the completed rounds."""

    def __init__(self, times: Times) -> None:
        super().__init__("interrupted")
        self.times = times


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    """Median and quartiles of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def tail(values: list[float]) -> float:
    """The 99th percentile of at least one value: the largest if there are fewer than a hundred."""
    return sorted(values)[min(len(values) - 1, int(0.99 * len(values)))]


def ratios(times: Times, reference: str) -> dict[str, Spread]:
    """Speed-up of each function over the reference, by round."""
    base = times[reference]
    return {
        name: spread([before / own for before, own in zip(base, values, strict=True)])
        for name, values in times.items()
    }


def interleaved(
    actions: Mapping[str, Action],
    rounds: int,
    device: str,
    progress: Callable[[int], None] = lambda _: None,
    calls: int = 1,
) -> Times:
    """Call each function once a round, or several times in succession.

    Every round starts with another function.

    `progress` receives the number of completed rounds. Raises Interrupted at Ctrl-C.
    """
    clock = cuda_milliseconds if device == "cuda" else milliseconds
    for action in actions.values():
        for _ in range(WARM_UP):
            action()
    times: Times = {name: [] for name in actions}
    try:
        with no_garbage_collection():
            for done, order in zip(range(rounds), _rotations(list(actions)), strict=False):
                taken = {n: [clock(actions[n]) for _ in range(calls)] for n in order}
                for name, values in times.items():
                    values.extend(taken[name])
                progress(done + 1)
    except KeyboardInterrupt:
        complete = min(map(len, times.values()))
        raise Interrupted({name: taken[:complete] for name, taken in times.items()}) from None
    return times


def _rotations(names: list[str]) -> Iterator[list[str]]:
    """The names, starting with each in turn, so that none always follows the same one."""
    for start in cycle(range(len(names))):
        yield names[start:] + names[:start]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Disable Python's garbage collector in the block."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def milliseconds(action: Action) -> float:
    """Time of one call on this processor."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def cuda_milliseconds(action: Action) -> float:
    """Time of one call by the GPU's clock; the GPU is idle before and after it."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    begin.record()
    action()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end))

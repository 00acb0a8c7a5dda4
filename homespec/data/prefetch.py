"""Data: runs an iterator ahead of its consumer, in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetched(items: Iterator[T], ahead: int = 2) -> Iterator[T]:
    """The items in order, up to `ahead` of which are computed before they are requested.

    An error of the iterator is raised in place of its item. Leaving the block early stops the
    thread.
    """
    end = object()
    pool = ThreadPoolExecutor(1, "homespec-data")
    try:
        pending = deque(pool.submit(next, items, end) for _ in range(ahead))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)

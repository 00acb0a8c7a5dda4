"""Data: runs an iterator ahead of its consumer, in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class _Raised:
    """What ended the iterator: an error, or None at its end."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetched(items: Iterator[T], ahead: int = 1) -> Iterator[T]:
    """The items in their order, up to `ahead` + 1 of which are made before they are asked for.

    An error of the iterator is raised where its item would be. Leaving early stops the thread.
    """
    ready: queue.Queue[T | _Raised] = queue.Queue(ahead)
    left = threading.Event()
    thread = threading.Thread(
        target=_fill, args=(items, ready, left), name="homespec-data", daemon=True
    )
    thread.start()
    try:
        while not isinstance(item := ready.get(), _Raised):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        left.set()
        thread.join()


def _fill(items: Iterator[T], ready: queue.Queue[T | _Raised], left: threading.Event) -> None:
    error = None
    try:
        for item in items:
            if not _put(ready, item, left):
                return
    except BaseException as raised:  # it is raised again in the thread of the consumer
        error = raised
    _put(ready, _Raised(error), left)


def _put(ready: queue.Queue[T | _Raised], item: T | _Raised, left: threading.Event) -> bool:
    """Whether there was room before the consumer left."""
    while not left.is_set():
        try:
            ready.put(item, timeout=0.05)
        except queue.Full:
            continue
        return True
    return False

"""Command line: standard streams that are closed or full, so that verbs need not care.

Whatever happens to the text of a verb, the verb does its work and its exit code says how that went.
A loss on stdout is reported at the end; one on stderr cannot be.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Stream(io.FileIO):
    """A standard stream that drops what cannot be written, and keeps the reason."""

    lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write it all, or drop it: a stream that failed once is not tried again."""
        size = memoryview(data).nbytes
        if self.lost:
            return size
        try:
            while (
                count := super().write(data)
            ) is None:  # a full pipe of the kind that never waits
                select.select([], [self], [])
        except OSError as error:
            self.lost = error
            return size
        return count


def guard() -> Stream | None:
    """Put such streams in place of stdout and stderr; the one of stdout, unless it is captured."""
    stdin, stdout, stderr = sys.stdin, sys.stdout, sys.stderr
    # a descriptor that is free would go to the next file that is opened, and print into it
    if stdin is None:
        sys.stdin = os.fdopen(_unusable(os.O_WRONLY), "r", closefd=False)
    out = _unusable(os.O_RDONLY) if stdout is None else 1
    err = _unusable(os.O_WRONLY) if stderr is None else 2
    if stderr is sys.__stderr__:
        sys.stderr = _text(Stream(err, "w", closefd=False), stderr)
    if stdout is not sys.__stdout__:
        return None
    stream = Stream(out, "w", closefd=False)
    sys.stdout = _text(stream, stdout)
    return stream


def _unusable(flags: int) -> int:
    """A descriptor of the null device, the lowest that is free, which children inherit."""
    descriptor = os.open(os.devnull, flags)
    os.set_inheritable(descriptor, True)
    return descriptor


def _text(stream: Stream, before: TextIO | None) -> TextIO:
    """A text stream like the one before; what its terminal lacks is shown by backslashes."""
    like = before if isinstance(before, io.TextIOWrapper) else None
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=like.line_buffering if like else True,
        write_through=like.write_through if like else False,
    )


def loss(stream: Stream | None) -> str:
    """Why output is missing; empty if it is not, or if its reader has seen enough, as `head`."""
    sys.stdout.flush()
    error = stream.lost if stream else None
    return "" if error is None or error.errno == errno.EPIPE else str(error.strerror)

"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Temporary paths beside `paths`, which replace them if the block succeeds.

    The suffix is kept, since writers tell formats by it. On an error nothing is left behind and
    files that were there before stay as they were.
    """
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = tuple(p.with_name(f".{os.getpid()}-{p.name}") for p in paths)
    try:
        yield temporary
        for source, target in zip(temporary, paths, strict=True):
            source.chmod(0o666 & ~_umask())  # some writers make files that only they can read
            source.replace(target)
    finally:
        for source in temporary:
            source.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_texts(texts: dict[Path, str]) -> list[Path]:
    """Write each text whose file has other bytes, all or none; return what was written."""
    changed = {path: text for path, text in texts.items() if not holds(path, text)}
    with replacing(*changed) as temporary:
        for path, text in zip(temporary, changed.values(), strict=True):
            path.write_bytes(text.encode())
    return list(changed)


def holds(path: Path, text: str) -> bool:
    """Whether a file is there and has exactly this text."""
    return path.is_file() and path.read_bytes() == text.encode()

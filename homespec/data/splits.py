"""Data: finds training and held-out files, by name or in a folder with both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from homespec.data import DataError
from homespec.data.data_files import SUFFIXES, DataFiles, open_files
from homespec.data.paths import reachable


def open_splits(
    data: Sequence[Path], valid: Sequence[Path] = ()
) -> tuple[DataFiles, DataFiles | None]:
    """The training rows and the held-out rows, or None.

    One folder that holds `train` and perhaps `valid` (as .parquet, .csv, .csv.gz or folders) gives
    both; an explicit `valid` takes precedence; if it is such a folder, its `valid` is used. Other
    files and folders are used directly. Raises DataError.
    """
    with reachable():
        data, valid = _splits(data, valid)
    return _with_rows(data), _with_rows(valid) if valid else None


def _splits(data: Sequence[Path], valid: Sequence[Path]) -> tuple[Sequence[Path], Sequence[Path]]:
    if len(valid) == 1 and valid[0].is_dir() and (own := _split(valid[0], "valid")) is not None:
        valid = [own]
    if len(data) == 1 and data[0].is_dir() and (train := _split(data[0], "train")) is not None:
        held_out = _split(data[0], "valid")
        data, valid = [train], valid or ([] if held_out is None else [held_out])
    if len(data) == 1 and not data[0].exists():
        raise DataError(
            f"{data[0]} does not exist; give files, or a folder with train.parquet and"
            " valid.parquet (for KuaiRand, `python -m examples.kuairand.prepare` makes one)"
        )
    return data, valid


def _with_rows(paths: Sequence[Path]) -> DataFiles:
    source = open_files(paths)
    if not source.rows:
        raise DataError(f"{source} has no rows")
    return source


def _split(folder: Path, name: str) -> Path | None:
    """The file or folder of one split."""
    paths = [p for p in (folder / f"{name}{end}" for end in ("", *SUFFIXES)) if p.exists()]
    if len(paths) > 1:
        raise DataError(f"{paths[0]} and {paths[1]} both exist: name the one that you mean")
    return paths[0] if paths else None

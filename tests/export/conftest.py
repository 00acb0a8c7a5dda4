"""Shared by the tests of exports: runs without training, and one folder that took a compilation."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

import pytest
from small_run import write_data, write_run

from homespec.export.run import export_run
from homespec.export.subject import Options, Subject


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data that runs were trained on, as far as it matters."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, data: Path) -> list[Path]:
    """A new model, and the same after two days of training."""
    folder = tmp_path_factory.mktemp("runs")
    return [write_run(folder / f"day{seed}", seed, data) for seed in range(3)]


@pytest.fixture(scope="session")
def subject(runs: list[Path]) -> Subject:
    """The new model, as it is exported."""
    return Subject(runs[0], Options())


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, runs: list[Path], worker_id: str) -> Path:
    """The new model, exported in both formats; never changed. Compiled once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    out = shared / "exported"
    with (shared / "exported.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            export_run(runs[0], out, "both", Options(), overwrite=False, say=lambda line: None)
    return out


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(exported, tmp_path / "served"))

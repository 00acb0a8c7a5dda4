"""The program as the action installs it, once for all tests, and a team's repository."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from action_runner import Runner
from repositories import commit, copy_product, git, skip_offline, spec_of_a_team


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "ci"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def product(shared: Path) -> Path:
    """A repository with what others fetch of homespec."""
    with (shared / "product.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = shared / "product"
        if not folder.exists():
            copy_product(folder)
            git(folder, "init", "-q")
            commit(folder)
    return folder


@pytest.fixture(scope="session")
def installed(product: Path, shared: Path) -> Path:
    """RUNNER_TEMP after the action's own steps have installed homespec into it."""
    temp = shared / "runner"
    with (shared / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not temp.exists():
            temp.mkdir()
            workspace = shared / "hostile"
            workspace.mkdir(exist_ok=True)
            (workspace / "venv.py").write_text("raise SystemExit('code of a pull request ran')")
            (workspace / "pip.py").write_text("raise SystemExit('code of a pull request ran')")
            known = {"python": {"python-path": base_python()}, "validate": {}}
            outcome = Runner(product, workspace, temp, known).run()
            if outcome.failed:
                shutil.rmtree(temp)
                skip_offline(outcome.log)
            assert not outcome.failed, outcome.log
            (temp / "log").write_text(outcome.log)
    return temp


def base_python() -> str:
    """The Python of this environment's Python, which the action of GitHub would have installed."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return str(Path(sys.base_prefix) / "bin" / f"python{version}")


@pytest.fixture
def runner(product: Path, installed: Path, tmp_path: Path) -> Callable[..., Runner]:
    """Makes a machine for a checkout, on which homespec is installed."""

    def made(workspace: Path, **event: object) -> Runner:
        temp = tmp_path / "temp"
        temp.mkdir()
        (temp / "homespec").symlink_to(installed / "homespec")
        (temp / "results").mkdir()
        known = {
            "python": {"python-path": base_python()},
            "install": {"results": str(temp / "results")},
        }
        sha = git(workspace, "rev-parse", "HEAD") if (workspace / ".git").exists() else ""
        return Runner(product, workspace, temp, known, **{"sha": sha, **event})

    return made


@pytest.fixture(scope="session")
def compiled_team(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Path:
    """A team's repository: one spec with its generated file, in a commit on `main`."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "specs").mkdir()
    (folder / "specs" / "shorts.yaml").write_text(spec_of_a_team(), "utf-8")
    program = installed / "homespec" / "bin" / "homespec"
    subprocess.run([program, "compile", "specs"], cwd=folder, check=True, capture_output=True)
    git(folder, "init", "-q")
    commit(folder)
    return folder


@pytest.fixture
def team(tmp_path: Path, compiled_team: Path) -> Path:
    """A copy of the team's repository, to be changed."""
    return shutil.copytree(compiled_team, tmp_path / "team")

"""Scratch repositories: homespec as it is fetched by others, and a team's with one spec."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "tests" / "diff" / "shorts.yaml"
PRODUCT = (
    "homespec", "pyproject.toml", "README.md", "LICENSE",
    "action.yml", ".github", ".pre-commit-hooks.yaml",
)  # fmt: skip
"""What of this repository others fetch and use."""

RATES = "{label: is_follow, rate: 0.005}\n"
SHARE = "  share: {label: is_share, rate: 0.004}\n"
TASK_GONE = {"[like, follow, share]": "[like, follow]", SHARE: ""}
MORE_EXPERTS = {"name: shorts\n": "name: shorts\nexperts: {meta: {shared: 3}}\n"}
WARNED = {"[like, follow, share]": "[like, follow]", "  watch: [": "  own: [share]\n  watch: ["}
"""Changes of the team's spec: texts and what replaces them."""


def spec_of_a_team() -> str:
    """The spec of the README with a fifth task."""
    text = SPEC.read_text("utf-8")
    return text.replace("[like, follow]", "[like, follow, share]").replace(RATES, RATES + SHARE)


OFFLINE = re.compile(r"NewConnectionError|NameResolutionError|ConnectTimeoutError")
"""What pip says of an index that it cannot reach."""


def skip_offline(output: str) -> None:
    """Skip a test that cannot install homespec for want of a network."""
    if OFFLINE.search(output):
        pytest.skip("pip reaches no index of packages")


def git(folder: Path, *words: str) -> str:
    """What git prints, without the user's own configuration."""
    identity = [
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@x.invalid",
        "-c",
        "init.defaultBranch=main",
    ]
    return subprocess.run(
        ["git", *identity, *words],
        cwd=folder,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
        check=True,
        capture_output=True,
        encoding="utf-8",
    ).stdout.strip()


def commit(folder: Path, message: str = "x") -> str:
    """Commit all that is in a folder; returns the hash."""
    git(folder, "add", "-A", "--force")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def copy_product(folder: Path) -> None:
    """Copy what others fetch, as it is in the working tree."""
    folder.mkdir()
    for name in PRODUCT:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)


def copy_own_specs(folder: Path) -> None:
    """Copy this project's specs and what is generated of them."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("specs", "generated", "schemas"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, dirs_exist_ok=True)


def changed(spec: Path, changes: dict[str, str]) -> None:
    """Replace text in a spec, each piece of which must be there."""
    text = spec.read_text("utf-8")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    spec.write_text(text, "utf-8")

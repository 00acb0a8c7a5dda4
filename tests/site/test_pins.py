"""What the playground fetches is pinned, with hashes, to versions that homespec allows."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PLAYGROUND = ROOT / "docs" / "playground"


def pinned() -> dict[str, str]:
    """The version of each Python package; every line has one, and a hash."""
    lines = (PLAYGROUND / "requirements.txt").read_text("utf-8").splitlines()
    pin = re.compile(r"([\w-]+)==([\w.]+) --hash=sha256:[0-9a-f]{64}")
    found = [pin.fullmatch(line) for line in lines if not line.startswith("#")]
    assert all(found)
    return {str(canonicalize_name(match[1])): match[2] for match in found if match}


def test_python_packages_are_those_that_homespec_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = pinned()
    for need in map(Requirement, project["dependencies"]):
        version = pins.get(canonicalize_name(need.name))
        assert version, f"{need.name} is not in requirements.txt"
        assert need.specifier.contains(version), f"{need} is pinned to {version}"


def test_packages_of_npm_have_hashes_and_name_no_registry() -> None:
    lock = json.loads((PLAYGROUND / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((PLAYGROUND / "package.json").read_text("utf-8"))["dependencies"]
    packages = {path: each for path, each in lock["packages"].items() if path}
    assert {f"node_modules/{name}" for name in wanted} <= packages.keys()
    for path, each in packages.items():
        assert each["integrity"].startswith("sha512-"), path
        assert "resolved" not in each, path


@pytest.mark.parametrize("file", ["build.py", "precompile.mjs", "worker/worker.js"])
def test_nothing_is_fetched_from_an_address(file: str) -> None:
    assert "http" not in (PLAYGROUND / file).read_text("utf-8")

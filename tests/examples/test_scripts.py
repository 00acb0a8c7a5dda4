"""Scripts of `python -m` where their packages are not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from homespec.installation import install_command

WITHOUT = """
import importlib.util, runpy
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "numpy" else find(name, *more)
runpy.run_module("{module}", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["examples.kuairand.prepare", "examples.kuairand.synthesize"])
def test_the_extra_is_named(module: str) -> None:
    code = WITHOUT.format(module=module)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"error: numpy is missing: {install_command('data')}\n"

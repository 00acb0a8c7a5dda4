"""Building blocks: what a file gets of them, and that they are Python that runs."""

from __future__ import annotations

import ast
import builtins
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from homespec.emit import copies
from homespec.emit.copies import Copies

FOLDER = Path(copies.__file__).with_name("blocks")
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")

STACKS = '''\
import os

import torch
from homespec.emit.blocks.constants import TASKS
from homespec.emit.blocks.parts import half

SCALE = 2
SCALE__large = 3


def doubled(x):
    """Twice x."""
    torch = x
    return SCALE * torch


class Stack:
    """A stack."""

    size = 1

    def forward(self, x):
        return doubled(x)

    # says how
    @staticmethod
    def describe():
        return os.name, TASKS


class Stack__half(Stack):
    """A stack of halves."""

    def forward(self, x):
        return half(x)


class Stack__sized(Stack):
    size = 2

    def grow(self):
        return torch.ones(3)


class Stack__bare:
    """Something else of this name."""
'''
PARTS = '''\
def half(x):
    """Half of x."""
    return x / 2
'''


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two modules of blocks in place of the real ones."""
    (tmp_path / "blocks").mkdir()
    (tmp_path / "blocks" / "stacks.py").write_text(STACKS)
    (tmp_path / "blocks" / "parts.py").write_text(PARTS)
    monkeypatch.setattr(copies.resources, "files", lambda _: tmp_path)
    monkeypatch.setattr(copies, "parsed", copies.parsed.__wrapped__)
    monkeypatch.setattr(copies, "block", copies.block.__wrapped__)


@pytest.mark.usefixtures("small")
def test_a_block_comes_behind_what_it_needs_and_once() -> None:
    file = Copies()
    text = file.copy("stacks.Stack")
    assert [line for line in text.split("\n") if line[:3] in ("SCA", "def", "cla")] == [
        "SCALE = 2",
        "def doubled(x):",
        "class Stack:",
    ]
    assert file.imports == ["import os"]  # `torch` is a local name of `doubled`
    assert file.copy("stacks.doubled", "parts.half") == PARTS.rstrip()


@pytest.mark.usefixtures("small")
def test_variants_replace_members_or_the_whole() -> None:
    text = Copies().copy("stacks.Stack__half__sized")
    assert "doubled" not in text
    assert text.endswith('''\
class Stack:
    """A stack of halves."""

    size = 2

    def forward(self, x):
        return half(x)

    # says how
    @staticmethod
    def describe():
        return os.name, TASKS

    def grow(self):
        return torch.ones(3)''')
    assert (
        Copies().copy("stacks.Stack__bare")
        == STACKS[STACKS.index("class Stack__bare") :].replace("__bare", "").rstrip()
    )
    assert Copies("stacks.SCALE__large").copy("stacks.doubled").startswith("SCALE = 3\n\n\ndef")


@pytest.mark.parametrize("name", MODULES)
def test_all_blocks_can_be_copied(name: str) -> None:
    """Each in its variants, with everything that it needs: no name of a file is missing."""
    module = copies.parsed(name)
    for block in module.definitions:
        file = Copies()
        tree = ast.parse(file.copy(f"{name}.{block}"))
        imports = ast.parse("\n".join(file.imports))
        known = set(dir(builtins)) | constants()
        known |= {a.asname or a.name for n in ast.walk(imports) for a in getattr(n, "names", ())}
        known |= {getattr(n, "name", "") for n in tree.body}
        known |= {t.id for n in tree.body for t in getattr(n, "targets", ())}
        assert set(copies._free(tree)) <= known, block


def constants() -> set[str]:
    return set(vars(importlib.import_module("homespec.emit.blocks.constants")))


@pytest.mark.parametrize("name", MODULES)
def test_modules_can_be_imported(name: str) -> None:
    importlib.import_module(f"homespec.emit.blocks.{name}")


def test_the_compiler_imports_no_block() -> None:
    script = (
        "import sys, homespec; homespec.compile('specs/quickstart.yaml');"
        "assert 'torch' not in sys.modules;"
        "assert not any(m.startswith('homespec.emit.blocks') for m in sys.modules)"
    )
    root = FOLDER.parent.parent.parent
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

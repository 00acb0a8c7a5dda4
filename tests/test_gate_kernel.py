"""The file for CUDA: its Triton kernels interpreted and compiled, and the file without Triton."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from parity import load
from torch import nn

import homespec

ROOT = Path(__file__).resolve().parent.parent
SPEC = {
    "homespec": 1,
    "name": "fused",
    "features": {"x": {"dense": 6}},
    "groups": {"a": ["a1", "a2"]},
    "tasks": {"a1": {}, "a2": {}},
    "experts": {"width": 4, "all": {"shared": 1, "group": 1, "task": 1}},
    "gates": {"feature": {"loras": 2, "rank": 3}},
}
SHARED_MEMORY = 99 * 1024
"""Bytes that a block may have on those GPUs since Ampere that have the least of it."""

with_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs triton: tests/interpreted"
)


def ranked(loras: int, rank: int) -> Any:
    return load({**SPEC, "gates": {"feature": {"loras": loras, "rank": rank}}})


@with_triton
def test_the_kernels_in_tritons_interpreter() -> None:
    """A process of its own: Triton must know that it interprets when it is imported."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
         "tests/interpreted/gate_kernel.py"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@with_triton
@pytest.mark.filterwarnings("ignore")  # Triton's own
@pytest.mark.parametrize("kernel", ["gate_tile", "rewind_rows", "rewind_columns"])
def test_the_kernels_compile_for_a_gpu_that_is_not_here(
    kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as Triton's compiler and ptxas go, in the industrial size and float32."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(homespec.build_module(load(SPEC), target="cuda"), kernel)
    block_b, block_n, stages = (128, 32, 3) if kernel == "gate_tile" else (32, 64, 2)
    constants = {
        "LORAS": 2, "RANK": 32, "PADDED": 32, "PRECISION": "tf32", "WIDE": 64, "CHOICES": 2,
        "NEEDS_X": True, "BLOCK_B": block_b, "BLOCK_N": block_n,
    }  # fmt: skip
    constants = {name: c for name, c in constants.items() if name in function.arg_names}
    kinds = {name: "*fp32" if name.endswith("_ptr") else "i32" for name in function.arg_names}
    kinds |= dict.fromkeys(constants, "constexpr")
    places = {(function.arg_names.index(name),): c for name, c in constants.items()}
    source = ASTSource(function, kinds, constexprs=places)
    options = {"num_warps": 8, "num_stages": stages}
    made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    assert made.asm["cubin"]
    assert "mma.sync" in made.asm["ptx"]  # the products are those of tensor cores
    assert made.metadata.shared <= SHARED_MEMORY


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_without_triton_the_file_is_the_portable_one(
    mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    loaded = load(SPEC)
    bare = ModuleType("bare")
    exec(homespec.compile(loaded, mode=mode, target="cuda"), bare.__dict__)
    portable = homespec.build_module(loaded, mode=mode)
    ours, plain = bare.Model(), portable.Model()
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(plain.state_dict())
    features = {"x": torch.randn(5, 6)}
    for task, logit in ours(features).items():
        assert torch.equal(logit, plain(features)[task])


def test_on_a_cpu_the_file_is_the_portable_one() -> None:
    loaded = load(SPEC)
    model, plain = (homespec.build(loaded, target=t).eval() for t in ("cuda", "portable"))
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    model.load_state_dict(plain.state_dict())
    features = {"x": torch.randn(5, 6)}
    for task, logit in model(features).items():
        assert torch.equal(logit, plain(features)[task])


@pytest.mark.parametrize(("loras", "rank"), [(2, 32), (1, 64), (4, 16)])
def test_gates_have_a_kernel(loras: int, rank: int) -> None:
    kind = "SingleFeatureGates" if loras == 1 else "FeatureGates"
    assert f"= Fused{kind}(" in homespec.compile(ranked(loras, rank), target="cuda")


@pytest.mark.parametrize(("loras", "rank"), [(2, 33), (5, 2)])
def test_gates_of_many_ranks_have_none(loras: int, rank: int) -> None:
    assert "triton" not in homespec.compile(ranked(loras, rank), target="cuda")


def test_a_model_without_feature_gates_needs_no_triton() -> None:
    mmoe = load({**SPEC, "family": "mmoe", "experts": {"width": 4}, "gates": {}})
    portable, cuda = (homespec.compile(mmoe, target=t) for t in ("portable", "cuda"))
    head = "import torch\n"
    assert cuda[cuda.index(head) :] == portable[portable.index(head) :]


def test_the_twin_is_portable_alone() -> None:
    with pytest.raises(ValueError, match="only portable"):
        homespec.compile(load(SPEC), optimize=False, target="cuda")
    with pytest.raises(ValueError, match="there is no target `rocm`"):
        homespec.compile(load(SPEC), target="rocm")  # type: ignore[arg-type]


def test_the_count_of_bytes_knows_the_sizes_of_tiles() -> None:
    script = (ROOT / "benchmarks" / "gate_bytes.py").read_text()
    text = homespec.compile(load(SPEC), target="cuda")
    (constants,) = re.findall(
        r"^BLOCK_B, BLOCK_N, PARTS = (\d+, \d+), (\d+)$", script, re.MULTILINE
    )
    assert f"block_b, block_n = {constants[0]} if" in text
    assert f"{constants[1]} // (sets * blocks_n)" in text


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_layout(mode: Any, tmp_path: Path) -> None:
    """The file is as ruff's formatter would write it, within 100 columns."""
    text = homespec.compile(load(SPEC), mode=mode, target="cuda")
    assert max(map(len, text.splitlines())) <= 100
    path = tmp_path / "made.py"
    path.write_text(text)
    command = [sys.executable, "-m", "ruff", "format", "--check", "--config", "pyproject.toml"]
    done = subprocess.run([*command, str(path)], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr

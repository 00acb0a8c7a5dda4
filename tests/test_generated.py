"""The generated file as its reader and its machine see it: imports, bytes, layout, names."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hierarchies import random_spec

import homespec

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
SMALL = """\
homespec: 1
name: small
features:
  user_id: {id: {buckets: 100}, dim: 8}
  duration_ms: {bucketize: [1000, 2000], dim: 4}
  asr: {dense: 4}
groups:
  watch: [click, finish]
  interaction: [like, follow]
tasks:
  click: {label: is_click, rate: 0.4}
  finish: {}
  like: {}
  follow: {}
experts: {width: 8}
gates: {feature: {loras: 2, rank: 2}}
towers: {hidden: [8]}
"""

BLOCKED = """
import importlib.util, sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"homespec", "pydantic", "yaml"}:
            raise ImportError(f"{name} must not be needed")

sys.meta_path.insert(0, Block())
spec = importlib.util.spec_from_file_location("generated", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
torch = module.torch
features = {
    "user_id": torch.tensor([3, -1, 7, 100]),
    "duration_ms": torch.tensor([500.0, 1000.0, float("nan"), 5000.0]),
    "asr": torch.randn(4, 4),
}
model = module.Model()
labels = {task: torch.tensor([0.0, 1.0, float("nan"), 1.0]) for task in module.TASKS}
loss = module.loss(model(features), labels)
loss.backward()
assert loss.isfinite()
print(loss.item())
"""


def generated(text: str, optimize: bool = True) -> str:
    return homespec.compile(homespec.loads(text, "small.yaml"), optimize=optimize)


@pytest.mark.parametrize("optimize", [True, False])
def test_imports_torch_and_the_standard_library(optimize: bool) -> None:
    imported = set()
    for node in ast.walk(ast.parse(generated(SMALL, optimize))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported <= {"contextlib", "itertools", "torch"}


@pytest.mark.parametrize("optimize", [True, False])
def test_runs_without_homespec(tmp_path: Path, optimize: bool) -> None:
    file = tmp_path / "small.py"
    file.write_text(generated(SMALL, optimize))
    script = [sys.executable, "-W", "error", "-c", BLOCKED, str(file)]
    done = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_same_bytes_for_any_hash_seed_and_folder(tmp_path: Path, spec: Path) -> None:
    texts = set()
    for seed in ("1", "2"):
        folder = tmp_path / f"clone{seed}" / "specs"
        folder.mkdir(parents=True)
        (folder / spec.name).write_bytes(spec.read_bytes())
        done = subprocess.run(
            [sys.executable, "-m", "homespec", "compile", "--stdout", f"specs/{spec.name}"],
            capture_output=True,
            cwd=folder.parent,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        texts.add(done.stdout)
    assert texts == {homespec.compile(spec).encode()}


def test_header_names_hash_and_command() -> None:
    text = generated(SMALL)
    digest = hashlib.sha256(SMALL.encode()).hexdigest()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring is not None
    assert f"spec sha256: {digest}" in docstring
    assert "homespec compile small.yaml" in docstring
    assert "├── watch: click, finish" in docstring


def test_blocks_name_the_lines_of_the_spec() -> None:
    text = generated(SMALL)
    lines = SMALL.splitlines()
    places = {name: 1 + lines.index(f"  {name}: {{}}") for name in ("finish", "like", "follow")}
    numbers = ", ".join(map(str, places.values()))
    above = text.partition("self.towers = MLPs(")[0].splitlines()[-2]  # too long for its line
    assert above.endswith(f"# small.yaml:{places['finish'] - 1}, {numbers}")
    number = 1 + lines.index("gates: {feature: {loras: 2, rank: 2}}")
    assert f"self.feature_gates = FeatureGates(  # small.yaml:{number}\n" in text
    default = generated(SMALL.replace(lines[number - 1], ""))
    assert "self.feature_gates = FeatureGates(\n" in default


def test_description_cannot_break_out_of_the_docstring() -> None:
    evil = 'a """ + __import__("os").system("true") \\\\ """ \x07'
    text = SMALL.replace("name: small", "name: small\ndescription: " + yaml.safe_dump(evil).strip())
    tree = ast.parse(generated(text))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "__import__"]
    assert calls == []


@pytest.mark.parametrize("seed", range(12))
def test_is_clean_under_ruff(tmp_path: Path, seed: int) -> None:
    spec = homespec.loads(yaml.safe_dump(random_spec(seed), sort_keys=False), "random.yaml")
    files = []
    for optimize in (True, False):
        files.append(tmp_path / f"random_{optimize}.py")
        files[-1].write_text(homespec.compile(spec, optimize=optimize))
    config = ["--config", str(ROOT / "pyproject.toml")]
    ignored = ["--extend-ignore", "D102"]
    for command in (
        ["check", "--no-cache", *ignored],
        ["format", "--check", "--diff", "--no-cache"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *config, *map(str, files)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_order_of_tasks_changes_no_logical_name() -> None:
    swapped = SMALL.replace("[click, finish]", "[finish, click]").replace(
        "  finish: {}\n  like: {}\n", "  like: {}\n  finish: {}\n"
    )
    states = []
    for text in (SMALL, swapped):
        module = homespec.build_module(homespec.loads(text))
        states.append(module.logical_state(module.Model()))
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].shape == states[1][name].shape for name in states[0])


def test_layouts_share_weights_by_logical_name() -> None:
    spec = homespec.loads(SMALL)
    modules = [homespec.build_module(spec, optimize=optimize) for optimize in (True, False)]
    models = [module.Model().eval() for module in modules]
    modules[1].load_logical_state(models[1], modules[0].logical_state(models[0]))
    features = {
        "user_id": torch.arange(16) * 7,
        "duration_ms": torch.linspace(0, 3000, 16),
        "asr": torch.randn(16, 4),
    }
    batched, plain = (model(features) for model in models)
    assert list(batched) == list(plain) == ["click", "finish", "like", "follow"]
    for task in batched:
        torch.testing.assert_close(batched[task], plain[task])


@pytest.mark.parametrize("optimize", [True, False])
def test_loading_is_all_or_nothing(optimize: bool) -> None:
    module = homespec.build_module(homespec.loads(SMALL), optimize=optimize)
    model = module.Model()
    before = {name: t.clone() for name, t in module.logical_state(model).items()}
    other = {name: torch.ones_like(t) for name, t in before.items()}
    some = "towers.like.linears.0.weight"
    missing = {name: t for name, t in other.items() if name != some}
    with pytest.raises(KeyError, match=some):
        module.load_logical_state(model, missing)
    with pytest.raises(KeyError, match=r"towers\.stranger"):
        module.load_logical_state(model, {**other, "towers.stranger.bias": torch.ones(1)})
    with pytest.raises(ValueError, match=some):
        module.load_logical_state(model, {**other, some: torch.ones(1, 1)})
    after = module.logical_state(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


class Wrapper(torch.nn.Module):
    """As DistributedDataParallel holds a model."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.module = model


@pytest.mark.parametrize("optimize", [True, False])
def test_wrapped_models_have_their_weights(optimize: bool) -> None:
    module = homespec.build_module(homespec.loads(SMALL), optimize=optimize)
    model = module.Model()
    wrapped = torch.compile(Wrapper(model), backend="eager")
    expected = {name: t.data_ptr() for name, t in module.logical_state(model).items()}
    assert {n: t.data_ptr() for n, t in module.logical_state(wrapped).items()} == expected
    module.load_logical_state(
        wrapped, {n: torch.ones_like(t) for n, t in module.logical_state(model).items()}
    )
    assert all((t == 1).all() for t in module.logical_state(model).values())


BATCH = {"user_id": torch.arange(4), "duration_ms": torch.ones(4), "asr": torch.ones(4, 4)}


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("user_id", torch.ones(4, 1), r"feature user_id must be \[B\], not \[4, 1\]"),
        ("asr", torch.ones(4, 5), r"feature asr must be \[4, 4\], not \[4, 5\]"),
        ("asr", torch.ones(4), r"feature asr must be \[4, 4\], not \[4\]"),
        ("duration_ms", torch.ones(3), r"feature duration_ms must be \[4\], not \[3\]"),
    ],
)
def test_misshapen_features_are_named(
    optimize: bool, name: str, value: torch.Tensor, message: str
) -> None:
    model = homespec.build(homespec.loads(SMALL), optimize=optimize)
    with pytest.raises(ValueError, match=f"^{message}$"):
        model({**BATCH, name: value})


@pytest.mark.parametrize("optimize", [True, False])
def test_a_missing_label_is_named(optimize: bool) -> None:
    module = homespec.build_module(homespec.loads(SMALL), optimize=optimize)
    logits = module.Model()(BATCH)
    labels = {task: torch.ones(4) for task in module.TASKS if task not in ("finish", "like")}
    with pytest.raises(ValueError, match=r"^labels missing: finish, like$"):
        module.loss(logits, labels)


@pytest.mark.parametrize("optimize", [True, False])
def test_the_trunk_can_be_cast_alone(optimize: bool) -> None:
    """Features keep their precision then; `tests/test_state.py` casts whole models."""
    model = homespec.build(homespec.loads(SMALL), optimize=optimize)
    model.get_submodule("trunk").bfloat16()
    assert model(BATCH)["click"].dtype == torch.bfloat16
    assert model.get_submodule("features")(BATCH).dtype == torch.float32


@pytest.mark.parametrize("optimize", [True, False])
@pytest.mark.parametrize("inference", [True, False])
def test_no_rows_are_no_logits(optimize: bool, inference: bool) -> None:
    mode = "inference" if inference else "training"
    model = homespec.build(homespec.loads(SMALL), optimize=optimize, mode=mode).eval()
    logits = model({name: column[:0] for name, column in BATCH.items()})
    assert [list(logit.shape) for logit in logits.values()] == [[0]] * 4


@pytest.mark.parametrize("optimize", [True, False])
def test_the_trunk_alone_is_a_model(optimize: bool) -> None:
    """On somebody's own embeddings: it trains, has its logical state, and refuses another width."""
    code = homespec.build_module(homespec.loads(SMALL, "small.yaml"), optimize=optimize)
    whole, trunk = code.Model(), code.Trunk()
    state = {n: t for n, t in code.logical_state(whole).items() if not n.startswith("features.")}
    assert code.logical_state(trunk).keys() == state.keys()
    code.load_logical_state(trunk, state)
    x = torch.randn(6, 16, requires_grad=True)
    torch.testing.assert_close(trunk(x), whole.trunk(x))
    labels = {task: torch.randint(0, 2, (6,)).float() for task in code.TASKS}
    code.loss(trunk(x), labels).backward()
    assert all(p.grad is not None for p in trunk.parameters())
    with pytest.raises(ValueError, match=r"^the trunk reads \[B, 16\], not \[6, 15\]$"):
        trunk(x[:, 1:])
    for dtype in (torch.float64, torch.bfloat16, torch.int64):
        message = f"^the trunk computes in torch.float32, but reads {dtype}$"
        with pytest.raises(ValueError, match=message):
            trunk(x.to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert trunk(x.bfloat16()).isfinite().all()
    assert trunk.double()(x.double()).dtype == torch.float64

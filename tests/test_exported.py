"""torch.export and AOTInductor: the batch stays free, and features are what their names say."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hierarchies import random_features, randomise
from parity import load
from test_sequences import everything
from torch import Tensor, nn
from torch.export import Dim

import homespec
from homespec.train.torch_compile import obstacle

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SPEC = everything(4)
"""A sequence for each encoder, ids, numbers and vectors."""
SPEC["gates"] = {"mixture": {"sees": "path"}}
SMALL = {**SPEC, "features": {n: f for n, f in SPEC["features"].items()
                              if "sequence" not in f or n in ("dien", "twin")}}  # fmt: skip
"""Those whose batch torch has once taken for a constant: compiling all takes minutes."""
SIZES = (1, 5, 64)
BATCHES = {"Dim": Dim("B", min=1, max=4096), "DYNAMIC": Dim.DYNAMIC, "AUTO": Dim.AUTO}
FORMS = [
    *(("inference", True, kind) for kind in BATCHES),
    ("training", True, "Dim"),
    ("training", False, "AUTO"),
    ("inference", False, "Dim"),
]


def built(mode: Any, optimize: bool, spec: Any = SPEC) -> tuple[nn.Module, ModuleType]:
    loaded = load(spec)
    code = homespec.build_module(loaded, mode=mode, optimize=optimize)
    model = code.Model().eval()
    state = randomise(code.logical_state(model), torch.Generator().manual_seed(0))
    code.load_logical_state(model, {name: tensor.float() for name, tensor in state.items()})
    return model, code


def drawn(rows: int, spec: Any = SPEC) -> dict[str, Tensor]:
    found = random_features(spec, rows, torch.Generator().manual_seed(rows))
    return {n: t.float() if t.is_floating_point() else t for n, t in found.items()}


def shuffled(features: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    names = list(features)
    random.Random(seed).shuffle(names)
    return {name: features[name] for name in names}


def exported(model: nn.Module, features: dict[str, Tensor], batch: Any) -> Any:
    shapes = {name: {0: batch} for name in features}
    return torch.export.export(model, (features,), dynamic_shapes=(shapes,))


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for task, logit in expected.items():
        torch.testing.assert_close(found[task], logit, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mode", "optimize", "batch"), FORMS)
def test_the_batch_stays_free(mode: str, optimize: bool, batch: str) -> None:
    """Each encoder, in files to train and to serve; one row included."""
    model, _ = built(mode, optimize)
    program = exported(model, drawn(8), BATCHES[batch]).module()
    for rows in SIZES:
        features = drawn(rows)
        assert_equal(program(features), model(features))
        assert_equal(program(shuffled(features, rows)), model(features))


ONE_EXPERT = """
homespec: 1
name: single
features: {d: {dense: 4}}
tasks: {a: {}, b: {}}
experts: {width: 4}
layers:
  - {experts: {shared: 1}, outputs: [shared]}
  - {experts: {a: 1, b: 1}, outputs: [a, b]}
"""


@pytest.mark.parametrize("optimize", [True, False])
def test_gates_over_one_expert_keep_the_batch_free(optimize: bool) -> None:
    model = homespec.build(homespec.loads(ONE_EXPERT), optimize=optimize).eval()
    program = exported(model, {"d": torch.randn(8, 4)}, Dim.AUTO).module()
    for rows in SIZES:
        features = {"d": torch.randn(rows, 4)}
        assert_equal(program(features), model(features))


def of_kind(code: Any, *kinds: str) -> list[str]:
    return [name for name, field in code.FEATURES.items() if field["kind"] in kinds]


def test_ordered_features_are_those_of_the_file() -> None:
    _, code = built("inference", True)
    features = drawn(5)
    found = code.ordered({**shuffled(features, 1), "other": torch.zeros(1)})
    assert tuple(found) == tuple(code.FEATURES)
    torch.testing.assert_close(found, features, rtol=0, atol=0, equal_nan=True)
    ids = of_kind(code, "hashed", "vocab", "words")
    small = {n: t.int() if n in ids else t for n, t in features.items()}
    found = code.ordered(small)
    torch.testing.assert_close(found, features, rtol=0, atol=0, equal_nan=True)
    assert {found[name].dtype for name in ids} == {torch.int64}
    for name in code.FEATURES:
        with pytest.raises(ValueError, match=f"features missing: {name}"):
            code.ordered({n: t for n, t in features.items() if n != name})
    first, last = (list(code.FEATURES)[i] for i in (0, -1))
    with pytest.raises(ValueError, match=rf"feature {last} must be \[5\b.*, not \[3\b"):
        code.ordered({**features, last: features[last][:3]})
    with pytest.raises(ValueError, match=f"{first} is an id, so it must be integers, not torch.fl"):
        code.ordered({**features, first: features[first].float()})


SERVE = """
import importlib.util, sys, torch
path, package, saved = sys.argv[1:]
spec = importlib.util.spec_from_file_location("serving", path)
code = importlib.util.module_from_spec(spec)
spec.loader.exec_module(code)
run = torch._inductor.aoti_load_package(package)
cases, refused = torch.load(saved)
for features, expected in cases:
    found = run(code.ordered(features))
    for task in expected:
        torch.testing.assert_close(found[task], expected[task], rtol=1e-4, atol=1e-4)
for features in refused:
    try:
        run(code.ordered(features))
    except (RuntimeError, ValueError) as error:
        print("refused:", str(error).splitlines()[0])
"""


@pytest.mark.compiles
@pytest.mark.timeout(1800)
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
def test_a_package_of_aotinductor_takes_features_by_name(tmp_path: Path) -> None:
    """As docs/generated-files.md has it; where it is served, types are checked."""
    model, code = built("inference", True, SMALL)
    program = exported(model, code.ordered(drawn(8, SMALL)), BATCHES["Dim"])
    package = torch._inductor.aoti_compile_and_package(
        program,
        package_path=str(tmp_path / "model.pt2"),
        inductor_configs={"aot_inductor.check_lowerbound": False},
    )
    cases = []
    ids = of_kind(code, "hashed", "vocab", "words")
    for rows in SIZES:
        features = drawn(rows, SMALL)
        small = {n: t.int() if n in ids else t for n, t in features.items()}
        cases += [(shuffled(each, rows), model(features)) for each in (features, small)]
    features = drawn(5, SMALL)
    numbers = of_kind(code, "bucketized", "fitted")
    refused = [{**features, name: features[name].double()} for name in numbers]
    refused += [{n: t for n, t in features.items() if n != next(iter(code.FEATURES))}]
    torch.save((cases, refused), tmp_path / "cases.pt")
    (tmp_path / "serving.py").write_text(homespec.compile(load(SMALL), mode="inference"))
    paths = [str(tmp_path / "serving.py"), package, str(tmp_path / "cases.pt")]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *paths],
        capture_output=True,
        text=True,
        env={**os.environ, "AOTI_RUNTIME_CHECK_INPUTS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("refused:") == len(refused)
    assert done.stdout.count("unmatched dtype") == len(refused) - 1

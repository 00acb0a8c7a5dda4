"""`homespec export --weights`: tables in fewer bytes, and what is computed with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from small_run import SPEC, TINY, write_run
from torch import Tensor

import homespec
from homespec.cli.main import cli
from homespec.export import ExportError, Weights, manifest
from homespec.export.rounded_tables import FORMS, round_tables, with_rounded_values
from homespec.export.run import export_run, replace_weights
from homespec.export.subject import Options, Subject
from homespec.train.torch_compile import obstacle

BYTES = {"bf16": 2 * 4, "int8": 4 + 4}
"""Of a row of four numbers."""
KINDS: tuple[Weights, ...] = ("bf16", "int8")
LARGE = TINY.replace("buckets: 50", "buckets: 5000")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs whose table is most of their bytes."""
    folder = tmp_path_factory.mktemp("large")
    return [write_run(folder / f"day{seed}", seed, None, LARGE) for seed in (1, 2)]


@pytest.fixture(scope="module")
def any_input(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A run of a spec with every kind of input."""
    return write_run(tmp_path_factory.mktemp("any") / "run", 1, data, SPEC)


@pytest.mark.parametrize(("weights", "most"), [("bf16", 2**-8), ("int8", 0.5 / 127)])
def test_numbers_are_the_nearest(weights: str, most: float) -> None:
    """Relative to the number in bf16, to the largest one of the row in int8."""
    table = torch.randn(50, 8) * torch.logspace(-6, 3, 50).unsqueeze(1)
    table[3] = 0
    form = FORMS[weights]()
    kept = form(*form.right_inverse(table))
    size = table.abs() if weights == "bf16" else table.abs().amax(1, keepdim=True)
    assert ((kept - table).abs() <= most * size).all()
    assert (kept[3] == 0).all()
    again = form(*form.right_inverse(kept))
    torch.testing.assert_close(again, kept, rtol=1e-6, atol=0)


@pytest.mark.parametrize("weights", KINDS)
@pytest.mark.parametrize("optimize", [True, False])
def test_only_tables_are_rounded(weights: Weights, optimize: bool, any_input: Path) -> None:
    """The model that is served and the copy that it is compared with have the same numbers."""
    one = Subject(any_input, Options())
    code, model = homespec.build_with_module(one.spec, optimize=optimize)
    code.load_logical_state(model, one.logical)
    rounded = code.logical_state(with_rounded_values(model.eval(), weights))
    names = "user_id", "video_id", "tab", "city", "duration", "days", "brands", "history.watched"
    tables = {f"features.{name}.weight" for name in names}
    changed = {n for n, tensor in code.logical_state(model).items() if (tensor != rounded[n]).any()}
    assert changed == tables
    served = one.served.model
    round_tables(served, weights)
    kept = {t.dtype for n, t in one.state.items() if n.endswith("original0")}
    assert kept == {torch.bfloat16 if weights == "bf16" else torch.int8}
    features = one.features(64)
    expected = with_rounded_values(one.run.model, weights)(features)
    torch.testing.assert_close(served(features), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def say() -> tuple[list[str], Callable[[str], None]]:
    lines: list[str] = []
    return lines, lines.append


@pytest.mark.parametrize("weights", KINDS)
def test_onnx(weights: Weights, large: list[Path], tmp_path: Path, say: Any) -> None:
    """It is smaller, is checked with its tables, and takes other weights as it is."""
    lines, tell = say
    pytest.importorskip("onnxscript", reason="needs homespec[export]")
    export_run(large[0], tmp_path / "exact", "onnx", Options(), False, tell)
    export_run(large[0], tmp_path / "less", "onnx", Options(weights=weights), False, tell)
    assert any(f"tables in {weights} change outputs by up to" in line for line in lines)
    sizes = [(tmp_path / n / "model.onnx").stat().st_size for n in ("exact", "less")]
    saved = 5000 * (4 * 4 - BYTES[weights])
    assert sizes[0] - sizes[1] > saved - 6000  # of nodes that the look-up has more
    assert json.loads((tmp_path / "less" / "manifest.json").read_text())["weights"] == weights
    replace_weights(large[1], tmp_path / "less", tmp_path / "less", Options(), tell)
    after = json.loads((tmp_path / "less" / "manifest.json").read_text())
    assert after["weights"] == weights
    assert after["weights_sha256"] == Subject(large[1], Options()).weights_sha256


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
def test_package(large: list[Path], tmp_path: Path, say: Any) -> None:
    """int8 stays int8 in it: nothing makes float32 of the tables before they are kept."""
    from homespec.export.aotinductor import Package

    out, options = tmp_path / "less", Options(weights="int8")
    export_run(large[0], out, "pt2", options, False, say[1])
    slices = json.loads((out / "manifest.json").read_text())["package_weights"]
    kept = sum(part["size"] for part in slices)
    state = Subject(large[0], Options()).state
    exact = sum(tensor.nbytes for tensor in state.values())
    assert exact - kept > 5000 * (4 * 4 - BYTES["int8"]) * 0.9
    replace_weights(large[1], out, out, Options(), say[1])
    today = Subject(large[1], options)
    features: dict[str, Tensor] = today.features(7)
    found = Package(out / "model.pt2")(features)
    torch.testing.assert_close(found, today.expected(features), rtol=1e-4, atol=1e-5)


def test_a_compiled_folder_has_its_own(large: list[Path], tmp_path: Path) -> None:
    options = ["--weights-only", "--into", str(tmp_path), "--weights", "int8"]
    result = CliRunner().invoke(cli, ["export", str(large[0]), *options])
    assert result.exit_code == 2
    assert "--weights is fixed by the folder --into" in result.output


def test_a_folder_of_a_later_version(large: list[Path], tmp_path: Path) -> None:
    about = dict.fromkeys(manifest.READ) | {"format": manifest.FORMAT, "weights": "int4"}
    manifest.write(tmp_path, about)
    with pytest.raises(ExportError, match="is not of this version of homespec"):
        replace_weights(large[0], tmp_path, tmp_path, Options(), lambda line: None)

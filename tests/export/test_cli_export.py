"""The verb `export`: options that go together, messages in one line, and a whole run through it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_run import TINY, write_run

from homespec.cli.export import export
from homespec.export import run as exporting
from homespec.export.agreement import Agreement
from homespec.train.torch_compile import obstacle

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def called(*words: str | Path) -> Result:
    return CliRunner().invoke(export, [str(word) for word in words])


def test_a_package_has_no_input_named_self(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 1, None, spec=TINY.replace("user_id", "self"))
    found = called(run, "-o", tmp_path / "out")
    assert found.exit_code == 2
    assert "cannot have an input named `self`" in found.output
    assert found.output.count("\n") == 1
    onnx = called(run, "-o", tmp_path / "out", "--format", "onnx")
    assert onnx.exit_code == 0, onnx.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Give --out, the folder to write."),
        (("--weights-only", "-o", "x"), "--weights-only and --into DIR go together."),
        (("--into", ".", "-o", "x"), "--weights-only and --into DIR go together."),
        (("--weights-only", "--into", ".", "--format", "onnx"), "--format is fixed by the folder"),
        (("--weights-only", "--into", ".", "--tasks", "click"), "--tasks is fixed by the folder"),
        (("--weights-only", "--into", ".", "--overwrite"), "--overwrite is only for exports"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together(
    runs: list[Path], words: tuple[str, ...], message: str
) -> None:
    found = called(runs[0], *words)
    assert found.exit_code == 2
    assert message in found.output


def test_mistakes_are_one_line(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    (tmp_path / "no_run").mkdir()
    out = tmp_path / "out"
    for words, message in {
        (runs[0], "-o", tmp_path / "taken"): "taken already exists: give --overwrite, or another",
        (runs[0], "-o", tmp_path / "taken", "--overwrite"): "taken has no manifest.json",
        (tmp_path / "no_run", "-o", out): "holds no run of homespec train",
        (runs[0], "-o", out, "--tasks", "clik"): "Did you mean `click`?",
        (runs[0], "-o", out, "--device", "cuda"): "--device cuda needs a GPU here",
        (runs[0], "-o", out, "--checkpoint", "last"): "has no checkpoint checkpoints/last",
    }.items():
        found = called(*words)
        assert found.exit_code == 2, words
        assert found.output.startswith("error: ")
        assert found.output.count("\n") == 1
        assert message in found.output
    assert not out.exists()


def test_without_a_compiler(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    found = called(runs[0], "-o", tmp_path / "out")
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert "model.pt2 cannot be compiled here (the C++ compiler `no-such" in found.output
    assert found.output.endswith("--format onnx needs none\n")


def test_a_full_disk(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(exporting, "export_onnx", full)
    found = called(runs[0], "-o", tmp_path / "out", "--format", "onnx")
    assert found.exit_code == 2
    assert found.output.endswith("error: [Errno 28] No space left on device: 'x'\n")
    assert [*tmp_path.iterdir()] == []


def test_onnx_alone_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    run, out = write_run(tmp_path / "run", 1, None, TINY), tmp_path / "out"
    found = called(run, "-o", out, "--format", "onnx", "--tasks", "like", "--output", "logits")
    assert found.exit_code == 0, found.output
    assert "model.onnx gives what the model gives, in batches of 1, 2, 7, 64, 1000" in found.output
    assert {path.name for path in out.iterdir()} == {
        "README.md", "manifest.json", "model.onnx", "sample_inputs.safetensors",
        "sample_outputs.safetensors", "spec.yaml", "triton",
    }  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["tasks"] == {"like": {"kind": "binary", "output": "logit", "given": "click"}}
    assert "model.pt2" not in (out / "README.md").read_text()
    assert [path.name for path in (out / "triton").iterdir()] == ["tiny_onnx"]


def test_an_export_is_replaced_if_asked(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the compiler, whose work does not matter here."""
    monkeypatch.setattr(exporting, "export_onnx", lambda _, new: (new / "model.onnx").touch())
    monkeypatch.setattr(exporting, "check_onnx", lambda *_: Agreement(0.0, 0, 1))
    out = tmp_path / "out"
    assert called(runs[1], "-o", out, "--format", "onnx", "--tasks", "like").exit_code == 0
    again = called(runs[2], "-o", out, "--format", "onnx")
    assert "out already exists: give --overwrite" in again.output
    assert called(runs[2], "-o", out, "--format", "onnx", "--overwrite").exit_code == 0
    assert "click" in json.loads((out / "manifest.json").read_text())["tasks"]
    (out / "mine").touch()
    again = called(runs[2], "-o", out, "--format", "onnx", "--overwrite")
    assert "holds mine, which homespec export did not write" in again.output


@pytest.mark.compiles
@pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine")
def test_an_export_of_both(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    there = {
        path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()
    }
    assert {*manifest["files"], "manifest.json"} == there
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in exported.rglob("*"))
    for line in ('aoti_load_package("model.pt2")', "outputs = score(**features)", "session.run("):
        assert line in (exported / "README.md").read_text()
    assert {path.name for path in (exported / "triton").iterdir()} == {
        "served", "served_aoti", "served_onnx",
    }  # fmt: skip
    weights = sum(part["size"] for part in manifest["package_weights"])
    assert (exported / "model.pt2").stat().st_size < weights + 10_000_000

"""The Python interface: load, validate, compile, build, and the one exception."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import homespec

GOOD = """\
homespec: 1
name: small
features: {asr: {dense: 32}}
groups: {watch: [click, finish], interaction: [like, follow]}
tasks: {click: {}, finish: {}, like: {}, follow: {}}
"""
BAD = GOOD.replace("[like, follow]", "[liek, follow]")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(GOOD)
    return path


def test_load_gives_the_spec_with_its_defaults(good: Path) -> None:
    spec = homespec.load(good)
    assert list(spec.tasks) == ["click", "finish", "like", "follow"]
    assert spec.tasks["like"].label == "like"
    assert spec.experts.width == 64
    assert spec.model_dump()["towers"]["hidden"] == (64,)


@pytest.mark.parametrize("call", [homespec.load, homespec.compile, homespec.build])
def test_a_wrong_spec_raises_spec_error_with_the_report(tmp_path: Path, call: object) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    assert callable(call)
    with pytest.raises(homespec.SpecError) as caught:
        call(path)
    codes = [d.rule.code for d in caught.value.report.diagnostics]
    assert codes[0] == "HS201"
    assert "did you mean `like`?" in str(caught.value)
    assert f"{path}:4:48" in str(caught.value)


def test_validate_never_raises(tmp_path: Path, good: Path) -> None:
    assert homespec.validate(good).diagnostics == ()
    assert homespec.validate(tmp_path / "nowhere.yaml").has_errors
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    assert homespec.validate(tmp_path / "binary.yaml").has_errors


def test_compile_takes_a_path_or_a_loaded_spec(good: Path) -> None:
    assert homespec.compile(good) == homespec.compile(homespec.load(good))
    assert homespec.compile(good, optimize=False) != homespec.compile(good)


def test_build_returns_a_module_that_predicts(good: Path) -> None:
    model = homespec.build(good, device="cpu", dtype=torch.float64)
    logits = model({"asr": torch.randn(8, 32, dtype=torch.float64)})
    assert list(logits) == ["click", "finish", "like", "follow"]
    assert all(logit.shape == (8,) for logit in logits.values())
    assert all(logit.dtype == torch.float64 for logit in logits.values())


def test_importing_and_validating_never_import_torch(good: Path) -> None:
    code = (
        "import sys, homespec; homespec.validate(sys.argv[1]); homespec.compile(sys.argv[1]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(good)]).returncode == 0


def test_unknown_attributes_are_named() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compiel'"):
        _ = homespec.compiel

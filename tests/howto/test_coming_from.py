"""Pages for those who come from other libraries: each spec means what the configuration does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from torch import Tensor, nn

import homespec

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
PAGES = sorted(HOWTO.glob("from-*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STATISTICS = ("running_mean", "running_var")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def spec_of(page: Path) -> homespec.api.LoadedSpec:
    (text,) = (text for text in blocks(page, "yaml") if text.startswith("homespec: 1\n"))
    return homespec.loads(text)


def parts(spec: homespec.api.LoadedSpec, kind: str) -> int:
    """Numbers that the experts, gates or towers of our model learn."""
    code, model = homespec.build_with_module(spec)
    state = code.logical_state(model)
    return sum(t.numel() for n, t in state.items() if n.startswith(kind) and not _counted(n))


def _counted(name: str) -> bool:
    return name.endswith(STATISTICS)


def numbers(*modules: nn.Module) -> int:
    tensors: Iterator[Tensor] = (p for module in modules for p in module.parameters())
    return sum(tensor.numel() for tensor in tensors)


def their_model(page: Path) -> nn.Module:
    """The model that the page's program builds."""
    (program,) = blocks(page, "python")
    names: dict[str, nn.Module] = {}
    exec(program, names)  # the text of our own page
    return names["model"]


def test_all_pages_have_a_spec() -> None:
    assert len(PAGES) == 4
    for page in PAGES:
        assert spec_of(page).family == "mmoe"


def test_torch_rechub_has_the_same_parts() -> None:
    pytest.importorskip("torch_rechub", reason="needs homespec[oracles]")
    page = HOWTO / "from-torch-rechub.md"
    spec, theirs = spec_of(page), their_model(page)
    biases = {"experts": 8 * 16, "towers": 2 * 8}  # before batch norm, which cancels them
    assert parts(spec, "experts.") == numbers(theirs.experts) - biases["experts"]
    assert parts(spec, "towers.") == numbers(theirs.towers) - biases["towers"]
    norms = [m for m in theirs.gates.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == len(spec.tasks)  # which the page says ours do not have
    assert parts(spec, "gates.") == numbers(theirs.gates) - numbers(*norms)


def test_deepctr_has_the_same_parts() -> None:
    pytest.importorskip("deepctr_torch")
    page = HOWTO / "from-deepctr.md"
    spec, theirs = spec_of(page), their_model(page)
    assert parts(spec, "experts.") == numbers(theirs.expert_dnn)
    assert parts(spec, "towers.") == numbers(
        theirs.tower_dnn, theirs.tower_dnn_final_layer, theirs.out
    )
    bias = 4 * len(spec.tasks)  # which the page says theirs does not have
    assert parts(spec, "gates.") == numbers(theirs.gate_dnn, theirs.gate_dnn_final_layer) + bias


def test_fuxictr_has_the_same_sizes() -> None:
    page = HOWTO / "from-fuxictr.md"
    (text,) = (text for text in blocks(page, "yaml") if not text.startswith("homespec: 1\n"))
    theirs, spec = yaml.safe_load(text), spec_of(page)
    data, model = theirs["tiny_mtl"], theirs["MMoE_test"]
    assert [each["name"] for each in data["label_col"]] == list(spec.tasks)
    names = [name for each in data["feature_cols"] for name in each["name"]]
    assert names == list(spec.features)
    assert model["expert_hidden_units"] == [*spec.experts.hidden, spec.experts.width]
    assert model["gate_hidden_units"] == list(spec.gates.mixture.hidden)
    assert model["tower_hidden_units"] == list(spec.towers.hidden)
    assert model["embedding_dim"] == spec.dim


def test_torcheasyrec_has_the_same_sizes() -> None:
    page = HOWTO / "from-torcheasyrec.md"
    (text,), spec = blocks(page, "text"), spec_of(page)
    units = [list(map(int, found.split(","))) for found in re.findall(r"units: \[(.+?)\]", text)]
    assert units == [[*spec.experts.hidden, spec.experts.width], *[list(spec.towers.hidden)] * 2]
    for name, label in re.findall(r'tower_name: "(\w+)"  label_name: "(\w+)"', text):
        assert str(spec.tasks[name].label) == label
    features = re.findall(r'feature_name: "(\w+)".*embedding_dim: (\d+)', text)
    assert features == [(n, str(f.dim or spec.dim)) for n, f in spec.features.items()]

"""Generated files offer what `runtime.GeneratedModule` declares, and nothing else is relied on."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import homespec
from homespec import api, runtime
from homespec.bench.random_batch import random_features, set_fitted
from homespec.runtime import EmbeddingTable, GeneratedModule, SeveralTables
from homespec.schema.fitted_columns import fitted_columns, scaled_columns, word_columns

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted((ROOT / "specs").rglob("*.yaml"))
EVENTS = """\
homespec: 1
name: events
family: mmoe
features:
  user: {id: {buckets: 37}, dim: 8}
  friend: {table: user}
  video: {id: {vocab: 11}, dim: 4}
  age: {bucketize: {quantiles: 5}, dim: 8}
  asr: {dense: 5, project: 6, missing: learned}
  price: {number: {scale: log}}
  seen:
    sequence:
      of: [video, age]
      with: {delay: {bucketize: [0.5, 2], dim: 4}}
      max_len: 6
      encoder: {twin: {top: 3, heads: 2, width: 8}}
tasks: {click: {}, like: {where: click}}
"""
"""Whatever gives a file parts that others lack."""


@pytest.fixture(params=[*SPECS, EVENTS], ids=lambda spec: getattr(spec, "stem", "events"))
def spec(request: pytest.FixtureRequest) -> api.LoadedSpec:
    given = request.param
    return homespec.load(given) if isinstance(given, Path) else homespec.loads(given)


def test_files_offer_what_is_declared(spec: api.LoadedSpec) -> None:
    code: Any = homespec.build_module(spec)
    for name in GeneratedModule.__annotations__:
        assert hasattr(code, name), name
    for name, declared in inspect.getmembers(GeneratedModule, inspect.isfunction):
        if name.startswith("_") or (name == "set_boundaries" and not fitted_columns(spec)):
            continue
        if name == "set_scaling" and not scaled_columns(spec):
            continue
        if name == "set_vocabularies" and not word_columns(spec):
            continue
        wanted = [
            name
            for name, parameter in list(inspect.signature(declared).parameters.items())[1:]  # self
            if parameter.kind is not parameter.VAR_POSITIONAL  # those of files with row weights
        ]
        if name == "Features" and not runtime.tables_of(code.Model()):
            wanted = []
        assert list(inspect.signature(getattr(code, name)).parameters) == wanted, name
    assert set(code.TASKS) == code.LABELS.keys() == code.WEIGHTS.keys() == spec.tasks.keys()


class Recorder(nn.Module):
    """In the place of a table: an embedding is the number of the row that was asked for."""

    def __init__(self, fields: runtime.Fields) -> None:
        super().__init__()
        self.fields = fields

    def forward(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.peek(name, rows[name]) for name in self.fields}

    def peek(self, name: str, rows: Tensor) -> Tensor:
        return rows.float().unsqueeze(-1).expand(*rows.shape, self.fields[name]["dim"])


@pytest.mark.parametrize("text", [EVENTS, EVENTS.split("  seen:")[0] + "tasks: {a: {}, b: {}}\n"])
def test_look_ups_can_be_made_by_others(text: str) -> None:
    """`Features` takes what makes tables, and asks it for the rows that `rows` gives."""
    spec = homespec.loads(text)
    code, model = api.build_with_module(spec)
    features = code.Features(Recorder)
    assert runtime.tables_of(model).keys() == {
        f"features.{name}" for name, child in features.named_modules() if type(child) is Recorder
    }
    for each in (model, holder := nn.ModuleDict({"features": features})):  # type: ignore[dict-item]
        set_fitted(code, each, spec)
    batch = random_features(spec, 16, "cpu")
    rows = holder["features"].rows(batch)
    v_BV = features(batch)
    assert torch.equal(v_BV[:, 0], rows["user"].float())
    assert torch.equal(v_BV[:, 8], rows["friend"].float())
    assert torch.equal(v_BV[:, 16], rows["video"].float())
    assert rows.keys() == {name for name in batch if name not in ("asr", "price")}


def test_tables_say_where_each_feature_begins(spec: api.LoadedSpec) -> None:
    code, model = api.build_with_module(spec)
    parts = {name: (tensor, index) for tensor, name, index in code.logical_names(model)}
    for path, table in runtime.tables_of(model).items():
        assert isinstance(table, EmbeddingTable)
        owned = [name for name, (tensor, _) in parts.items() if tensor == f"{path}.weight"]
        assert owned
        for logical in owned:
            name = logical.removeprefix("features.").removesuffix(".weight")
            if name in table.starts:
                assert table.starts[name] == parts[logical][1].start
            else:  # a table at a node
                assert isinstance(table, SeveralTables)
                rows = table.rows_of(name.rpartition(".")[0], torch.zeros(1, dtype=torch.long))
                assert parts[logical][1].start in rows.flatten().tolist()


def test_embeddings_are_the_same_in_plain_code(spec: api.LoadedSpec) -> None:
    def names(optimize: bool) -> set[str]:
        code, model = api.build_with_module(spec, optimize=optimize)
        weights = {id(weight) for weight in runtime.embeddings_of(model)}
        tensors = {n: p for n, p in model.named_parameters() if id(p) in weights}
        return set(code.logical_views(model, tensors))

    assert names(optimize=True) == names(optimize=False)


def test_module_and_model_come_of_one_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    generate = api.generate
    monkeypatch.setattr(api, "generate", lambda *args: texts.append(generate(*args)) or texts[-1])
    code, model = homespec.build_with_module(homespec.loads(EVENTS), optimize=False)
    assert len(texts) == 1
    assert runtime.module_of(model) is code
    assert runtime.module_of(model.get_submodule("trunk")) is code


def test_labels_are_hidden_only_where_the_file_says_so() -> None:
    labels = {"click": torch.tensor([0.0, 1.0]), "like": torch.tensor([0.0, 1.0])}
    code = homespec.build_module(homespec.loads(EVENTS))
    assert runtime.observed(code)(labels, {})["like"].isnan().tolist() == [True, False]
    plain = homespec.build_module(homespec.loads(EVENTS.replace("{where: click}", "{}")))
    assert torch.equal(runtime.observed(plain)(labels, {})["like"], labels["like"])


@pytest.mark.parametrize("folder", ["train", "bench", "sharding"])
def test_generated_modules_are_typed(folder: str) -> None:
    """Of a `ModuleType` mypy takes any attribute; of a `GeneratedModule` what is declared."""
    for file in (ROOT / "homespec" / folder).rglob("*.py"):
        text = file.read_text("utf-8")
        assert "ModuleType" not in text, file
        assert "getattr(code" not in text, file

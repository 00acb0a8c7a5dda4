"""What needs no second process: rows, the model before it is sharded, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from sharding_cases import TASKS, features, labels, spec
from single_process import Single
from torch import Tensor

import homespec

ROOT = Path(__file__).parents[2]


def unsharded(norm: str, folder: Path) -> tuple[Any, Any]:
    from homespec import sharding

    loaded = homespec.loads(spec(norm))
    model = sharding.build(loaded, tables="cpu")
    state = safetensors.torch.load_file(folder / f"{norm}.safetensors")
    sharding.load_logical_state(model, state)
    back = sharding.logical_state(model)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    return model, sharding.Rows(loaded)


def test_unsharded_it_computes_the_same(folder: Path) -> None:
    model, rows = unsharded("batch", folder)
    single = Single(folder, "batch")
    wanted = single.models[0].eval()(features(3))
    found = model.eval()(rows(features(3)))
    assert all(torch.equal(found[task], wanted[task]) for task in TASKS)


@pytest.mark.parametrize("name", ["industrial", "nested", "quickstart"])
def test_rows_of_our_own_specs(name: str) -> None:
    """The rows are those that the generated Features looks up, in its own tables."""
    from homespec import sharding

    loaded = homespec.load(ROOT / "specs" / f"{name}.yaml")
    model = homespec.build(loaded)
    code = homespec.build_module(loaded)
    batch = random_features(loaded, 64)
    inputs = sharding.Rows(loaded)(batch)
    tables = code.logical_state(model)
    parts = {
        key: tables[f"features.{key}.weight"][inputs.rows[key].values()]
        for key in inputs.rows.keys()  # noqa: SIM118  # no dict
    }
    widths = [feature.width for feature in loaded.features.values() if feature.kind == "dense"]
    dense = [key for key, feature in loaded.features.items() if feature.kind == "dense"]
    parts |= dict(zip(dense, inputs.dense.split(widths, dim=1), strict=True))
    v = torch.cat([parts[key] for key in loaded.features], dim=1)
    assert torch.equal(v, model.features(batch).detach())


def random_features(loaded: Any, rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, feature in loaded.features.items():
        if feature.kind == "id":
            found[name] = torch.randint(-2, 10**6, (rows,), generator=generator)
            found[name][::2] %= 7
        elif feature.kind == "bucketize":
            spread = max(map(abs, feature.bucketize)) * 1.2
            found[name] = torch.randn(rows, generator=generator) * spread
            found[name][0] = float("nan")
        else:
            found[name] = torch.randn(rows, feature.dense, generator=generator)
            found[name][0, 0] = float("nan")
    return found


def test_rows_check_features_like_the_model(folder: Path) -> None:
    _, rows = unsharded("batch", folder)
    batch = features(0)
    with pytest.raises(ValueError, match="features missing: user"):
        rows({name: tensor for name, tensor in batch.items() if name != "user"})
    with pytest.raises(ValueError, match="asr must be"):
        rows({**batch, "asr": batch["asr"][:, :3]})
    with pytest.raises(ValueError, match="at least 2 rows"):
        rows({name: tensor[:1] for name, tensor in batch.items()})
    rows.eval()
    assert rows({name: tensor[:1] for name, tensor in batch.items()}).dense.shape == (1, 7)


def test_inputs_move_whole(folder: Path) -> None:
    _, rows = unsharded("batch", folder)
    inputs = rows(features(0), labels(0))
    moved = inputs.to(torch.device("meta"))
    assert moved.dense.device.type == "meta"
    assert moved.rows.values().device.type == "meta"
    assert {label.device.type for label in moved.labels.values()} == {"meta"}
    assert moved.labels.keys() == set(TASKS)


# ---------------------------------------------------------------- what cannot be sharded

DENSE_ONLY = """\
homespec: 1
name: numbers
family: shared_bottom
features: {asr: {dense: 4}}
tasks: {click: {}}
"""


def test_a_spec_without_tables() -> None:
    from homespec import sharding

    with pytest.raises(sharding.UnshardableError, match="numbers has no embedding table"):
        sharding.build(homespec.loads(DENSE_ONLY))


def test_a_kind_that_cannot_be_sharded(monkeypatch: pytest.MonkeyPatch) -> None:
    from homespec import sharding
    from homespec.sharding import layout

    monkeypatch.setattr(layout, "KINDS", ("id", "dense"))
    message = "feature `duration` is of the kind `bucketize`; homespec.sharding shards id, dense"
    with pytest.raises(sharding.UnshardableError, match=message):
        sharding.build(homespec.loads(spec("layer")))


@pytest.fixture
def code() -> Iterator[Any]:
    """The generated module, whose list of logical names a test may change."""
    module = homespec.build_module(homespec.loads(spec("layer")))
    logical = module.LOGICAL
    yield module
    module.LOGICAL = logical


def test_a_table_that_features_share(code: Any) -> None:
    """A later language may merge tables: that must not be sharded as if they were apart."""
    from homespec import sharding

    code.LOGICAL = [
        (tensor, pattern, {name: rows for name, rows in axes[0].items() if name != "user"})
        if isinstance(axes[0], dict)
        else (tensor, pattern, *axes)
        for tensor, pattern, *axes in code.LOGICAL
    ]
    with pytest.raises(sharding.UnshardableError, match="feature `user` has no table of its own"):
        sharding.Rows(homespec.loads(spec("layer")))


def test_an_encoder_in_front_of_the_trunk(code: Any) -> None:
    from homespec import sharding

    code.LOGICAL = [*code.LOGICAL, ("features.asr.weight", "features.asr.projection.weight")]
    message = "feature `asr` learns `features.asr.projection.weight`"
    with pytest.raises(sharding.UnshardableError, match=message):
        sharding.Rows(homespec.loads(spec("layer")))


IMPORT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")

sys.meta_path.insert(0, Blocked())
import homespec.sharding
"""


@pytest.mark.parametrize("name", ["torchrec", "fbgemm_gpu"])
def test_what_is_not_installed(name: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", IMPORT.format(name=name)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert process.returncode == 1
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "homespec[torchrec]" in last or "kernels of TorchRec do not load" in last


def test_sharding_needs_a_process_group() -> None:
    from homespec import sharding

    with pytest.raises(RuntimeError, match="init_process_group"):
        sharding.shard(sharding.build(homespec.loads(spec("layer"))))

"""What needs no second process: rows, the model before it is sharded, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from sharding_cases import KINDS, TASKS, batch, features, load, spec
from single_process import Single
from torch import Tensor

import homespec
from homespec.installation import install_command

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
    return model, sharding.Preprocessor(loaded)


def test_unsharded_it_computes_the_same(folder: Path) -> None:
    model, rows = unsharded("batch", folder)
    single = Single(folder, "batch")
    wanted = single.models[0].eval()(features(3))
    logits = model.eval()(rows(features(3)))
    assert all(torch.equal(logits[task], wanted[task]) for task in TASKS)


@pytest.mark.parametrize("name", ["industrial", "nested", "quickstart"])
def test_rows_of_our_own_specs(name: str) -> None:
    """The rows are those that the generated Features looks up, in its own tables."""
    from homespec import sharding

    loaded = homespec.load(ROOT / "specs" / f"{name}.yaml")
    model = homespec.build(loaded)
    code = homespec.build_module(loaded)
    batch = random_features(loaded, 64)
    inputs = sharding.Preprocessor(loaded)(batch)
    tables = code.logical_state(model)
    parts = {
        key: tables[f"features.{key}.weight"][inputs.rows[key].values()]
        for key in inputs.rows.keys()  # noqa: SIM118  # no dict
    }
    parts |= {key: x.masked_fill(x.isnan(), 0.0) for key, x in inputs.features.items()}
    v = torch.cat([parts[key] for key in loaded.features], dim=1)
    assert torch.equal(v, model.features(batch).detach())


def random_features(loaded: Any, rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    columns = {}
    for name, feature in loaded.features.items():
        if feature.kind == "id":
            columns[name] = torch.randint(-2, 10**6, (rows,), generator=generator)
            columns[name][::2] %= 7
        elif feature.kind == "bucketize":
            spread = max(map(abs, feature.bucketize)) * 1.2
            columns[name] = torch.randn(rows, generator=generator) * spread
            columns[name][0] = float("nan")
        else:
            columns[name] = torch.randn(rows, feature.dense, generator=generator)
            columns[name][0, 0] = float("nan")
    return columns


def test_rows_check_features_like_the_model(folder: Path) -> None:
    _, rows = unsharded("batch", folder)
    good = features(0)
    with pytest.raises(ValueError, match="features missing: user"):
        rows({name: tensor for name, tensor in good.items() if name != "user"})
    with pytest.raises(ValueError, match="asr must be"):
        rows({**good, "asr": good["asr"][:, :3]})
    with pytest.raises(ValueError, match="at least 2 rows"):
        rows({name: tensor[:1] for name, tensor in good.items()})
    rows.eval()
    inputs = rows({name: tensor[:1] for name, tensor in good.items()})
    assert {name: tensor.shape for name, tensor in inputs.features.items()} == {
        "asr": (1, 5),
        "text": (1, 2),
    }


def test_inputs_move_whole() -> None:
    from homespec import sharding

    loaded = load("flagship")
    inputs = sharding.Preprocessor(loaded)(*batch(loaded, 0))
    moved = inputs.to(torch.device("meta"))
    for lists in (moved.rows, moved.of_events):
        assert lists is not None
        assert lists.values().device.type == "meta"
    for tensors in (moved.features, moved.labels):
        assert {tensor.device.type for tensor in tensors.values()} == {"meta"}
    assert moved.features.keys() == inputs.features.keys() > {"history.video_id", "video_id"}
    assert moved.labels.keys() == set(loaded.tasks)


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


def test_a_width_that_the_kernels_do_not_take() -> None:
    from homespec import sharding

    text = KINDS.replace("vocab: 2}, dim: 8", "vocab: 2}, dim: 6")
    message = r"the dim of `tag` \(6\), `near.long` \(6\) is not a multiple of 4, which TorchRec's"
    with pytest.raises(sharding.UnshardableError, match=message):
        sharding.Preprocessor(homespec.loads(text))


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
    assert install_command("torchrec") in last or "kernels of TorchRec do not load" in last


def test_sharding_needs_a_process_group() -> None:
    from homespec import sharding

    with pytest.raises(RuntimeError, match="init_process_group"):
        sharding.shard(sharding.build(homespec.loads(spec("layer"))))

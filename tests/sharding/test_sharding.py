"""Tables sharded by TorchRec over two processes = the single-process model.

The processes run once, `ranks.py`; here their results are compared with plain torch on one.
"""

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
from sharding_cases import DENSE_LR, EPS, TABLE_LR, TASKS, WORLD, features, labels, part, spec
from torch import Tensor, nn

import homespec

ROOT = Path(__file__).parents[2]
RANKS = Path(__file__).parent / "ranks.py"
TIMEOUT_S = 240
STEPS = 2
Results = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights that all start from."""
    path = tmp_path_factory.mktemp("sharding")
    for norm in ("layer", "batch"):
        torch.manual_seed(0)
        loaded = homespec.loads(spec(norm))
        state = homespec.build_module(loaded).logical_state(homespec.build(loaded))
        copies = {name: torch.randn(value.shape) * 0.3 for name, value in state.items()}
        for name, value in copies.items():
            if "norm" in name:
                value.abs_().add_(0.5)  # variances are positive
        safetensors.torch.save_file(copies, path / f"{norm}.safetensors")
    return path


@pytest.fixture(scope="module")
def results(folder: Path) -> list[Results]:
    """What each of the two processes found."""
    run([sys.executable, str(RANKS)], folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


def run(command: list[str], folder: Path) -> None:
    """Run the ranks; a failure of one shows what each of them said."""
    started = [
        subprocess.Popen(
            [*command, str(rank), str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for rank in range(WORLD)
    ]
    try:
        said = [process.communicate(timeout=TIMEOUT_S)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for rank, process in enumerate(started):
        assert process.returncode == 0, f"rank {rank}:\n{said[rank][-4000:]}"


# ---------------------------------------------------------------- the single-process model


class Single:
    """One process, plain torch: SGD for the trunk, row-wise Adagrad written out for the tables.

    With several `ranks` their copies differ in running statistics alone, as under DDP.
    """

    def __init__(self, folder: Path, norm: str, ranks: int = 1, columns: int = 0) -> None:
        loaded = homespec.loads(spec(norm))
        self.code = homespec.build_module(loaded)
        self.models = [homespec.build(loaded) for _ in range(ranks)]
        self.columns = {"features.video.weight": columns}
        state = safetensors.torch.load_file(folder / f"{norm}.safetensors")
        for model in self.models:
            self.code.load_logical_state(model, state)
        self.sums: dict[tuple[str, int], Tensor] = {}
        self.losses: list[list[Tensor]] = []
        self.grads: dict[str, Tensor] = {}

    def step(self, step: int) -> list[dict[str, Tensor]]:
        """One step of all ranks; their logits."""
        shares = [part(features(step), r) for r in range(WORLD)]
        targets = [part(labels(step), r) for r in range(WORLD)]
        if len(self.models) == 1:
            shares, targets = [features(step)], [labels(step)]
        logits = [model(share) for model, share in zip(self.models, shares, strict=True)]
        losses = [self.code.loss(*pair) for pair in zip(logits, targets, strict=True)]
        found = [
            torch.autograd.grad(loss, list(model.parameters()))
            for loss, model in zip(losses, self.models, strict=True)
        ]
        names = [name for name, _ in self.models[0].named_parameters()]
        means = [torch.stack(each).mean(0) for each in zip(*found, strict=True)]
        self.grads = dict(zip(names, means, strict=True))
        self.losses.append([loss.detach() for loss in losses])
        for model in self.models:
            self.update(model, self.code.logical_views(self.grads), last=model is self.models[-1])
        return logits

    def update(self, model: nn.Module, grads: dict[str, Tensor], last: bool) -> None:
        weights = self.code.logical_state(model)
        for name, grad in grads.items():
            if not name.startswith("features."):
                weights[name] -= DENSE_LR * grad
                continue
            width = self.columns.get(name) or grad.shape[1]
            for left in range(0, grad.shape[1], width):
                part_RC = grad[:, left : left + width]
                old = self.sums.get((name, left), torch.zeros(len(grad), 1))
                new = old + part_RC.square().mean(1, keepdim=True)
                weights[name][:, left : left + width] -= TABLE_LR * part_RC / (new.sqrt() + EPS)
                if last:
                    self.sums[name, left] = new

    def state(self) -> dict[str, Tensor]:
        """By logical name; running statistics are the ranks' mean."""
        states = [self.code.logical_state(model) for model in self.models]
        return {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}


def close(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=2e-6)


def together(results: list[Results], case: str, what: str) -> dict[str, Tensor]:
    """The ranks' rows one below the other, by task."""
    return {task: torch.cat([r[case][what][task] for r in results]) for task in TASKS}


@pytest.fixture(params=["tables", "columns"])
def case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def single(folder: Path, case: str) -> Single:
    return Single(folder, "layer", columns={"tables": 0, "columns": 4}[case])


# ---------------------------------------------------------------- equality


def test_tables_lie_on_both_ranks(results: list[Results], case: str) -> None:
    """Otherwise the comparisons below would prove nothing about sharding."""
    ranks = results[0][case]["ranks"]
    assert ranks.keys() == {"user", "tab", "duration", "video"}
    assert {rank for held in ranks.values() for rank in held} == {0, 1}
    assert ranks["video"] == ([0, 1] if case == "columns" else [ranks["video"][0]])


def test_outputs_and_loss(results: list[Results], case: str, single: Single) -> None:
    (logits,) = single.step(0)
    close(together(results, case, "logits"), {task: logits[task] for task in TASKS})
    (loss,) = single.losses[0]
    close(torch.stack([r[case]["losses"][0] for r in results]).mean(), loss)


def test_gradients_of_the_trunk(results: list[Results], case: str, single: Single) -> None:
    single.step(0)
    wanted = {name: grad for name, grad in single.grads.items() if name.startswith("trunk.")}
    for found in results:
        assert found[case]["dense"] == sorted(wanted)
        close(found[case]["grads"], wanted)


def test_steps_of_both_optimizers(results: list[Results], case: str, single: Single) -> None:
    before = {name: value.clone() for name, value in single.state().items()}
    for step in range(STEPS):
        single.step(step)
    close(results[0][case]["after"], single.state())
    moved = [n for n, value in single.state().items() if not torch.equal(value, before[n])]
    assert {"features.user.weight", "features.video.weight"} < set(moved)


def test_evaluation_after_training(results: list[Results], case: str, single: Single) -> None:
    for step in range(STEPS):
        single.step(step)
    model = single.models[0].eval()
    wanted = model(features(9))
    close(together(results, case, "evaluated"), {task: wanted[task].detach() for task in TASKS})


def test_batch_norm_takes_each_ranks_rows(folder: Path, results: list[Results]) -> None:
    """Two copies that see half of the rows each, with the mean of their gradients: DDP."""
    ranks, whole = Single(folder, "batch", ranks=WORLD), Single(folder, "batch")
    for step in range(STEPS):
        ranks.step(step)
        whole.step(step)
    found = results[0]["statistics"]["after"]
    close(found, ranks.state())
    name = "experts.meta.watch.0.norm.running_"
    near = {"rtol": 0.1, "atol": 0.01}  # 12 rows to normalise by are not quite 24
    for statistic in ("mean", "var"):
        one, other = found[f"{name}{statistic}"], whole.state()[f"{name}{statistic}"]
        torch.testing.assert_close(one, other, **near)
        assert not torch.allclose(one, other, rtol=1e-4)


def test_batch_norm_evaluates_alike_on_all_ranks(folder: Path, results: list[Results]) -> None:
    """Gathering the state gives all ranks the mean of their statistics."""
    single = Single(folder, "batch", ranks=WORLD)
    for step in range(STEPS):
        single.step(step)
    model = single.models[0].eval()
    single.code.load_logical_state(model, single.state())
    wanted = model(features(9))
    close(
        together(results, "statistics", "evaluated"),
        {task: wanted[task].detach() for task in TASKS},
    )


def test_the_pipeline_computes_the_same(results: list[Results]) -> None:
    close(results[0]["pipeline"]["after"], results[0]["columns"]["after"])
    assert results[0]["pipeline"]["modules"] == 1


# ---------------------------------------------------------------- states


def test_states_come_back_exactly(results: list[Results], case: str) -> None:
    assert results[0][case]["loaded"]
    assert results[0][case]["before"]


def test_only_rank_0_gets_a_state(results: list[Results], case: str) -> None:
    assert results[1][case]["after"] == {}


def test_a_sharded_state_loads_into_one_process(results: list[Results], folder: Path) -> None:
    loaded = homespec.loads(spec("batch"))
    model, code = homespec.build(loaded).eval(), homespec.build_module(loaded)
    code.load_logical_state(model, results[0]["statistics"]["after"])
    logits = model(features(9))
    close({t: logits[t].detach() for t in TASKS}, together(results, "statistics", "evaluated"))


def test_wrong_states_change_nothing(results: list[Results]) -> None:
    for found in (each["refusals"] for each in results):
        assert found["missing"] == "KeyError: \"missing ['features.user.weight'], unknown []\""
        assert found["shape"] == "ValueError: features.user.weight is (38, 8), not (37, 8)"
        assert found["unchanged"]


def test_constraints_need_a_table(results: list[Results]) -> None:
    message = "KeyError: 'no table of usr; the tables are user, tab, duration, video'"
    assert results[0]["refusals"]["constraint"] == message


def test_new_tables_start_as_generated_ones_do(results: list[Results]) -> None:
    initial = results[0]["initial"]["features.video.weight"]
    torch.manual_seed(0)
    loaded = homespec.loads(spec("layer"))
    state = homespec.build_module(loaded).logical_state(homespec.build(loaded))
    wanted = state["features.video.weight"].std()
    assert initial.std().item() == pytest.approx(wanted.item(), rel=0.1)
    assert abs(initial.mean().item()) < 0.01


# ---------------------------------------------------------------- in one process


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


@pytest.mark.parametrize("name", ["kuairand", "industrial", "nested", "quickstart"])
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

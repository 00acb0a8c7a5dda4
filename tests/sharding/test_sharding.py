"""Tables sharded by TorchRec over two processes = the single-process model.

The processes run once, `ranks.py`; here their results are compared with plain torch on one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from sharding_cases import WORLD, batch, load
from single_process import Single
from torch import Tensor

import homespec

ROOT = Path(__file__).parents[2]
RANKS = Path(__file__).parent / "ranks.py"
STEPS = 2
Results = dict[str, Any]


@pytest.fixture(scope="module")
def results(folder: Path) -> list[Results]:
    """What each of the two processes saved."""
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
        said = [process.communicate()[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for rank, process in enumerate(started):
        assert process.returncode == 0, f"rank {rank}:\n{said[rank][-4000:]}"


def close(values: Any, wanted: Any) -> None:
    torch.testing.assert_close(values, wanted, rtol=2e-5, atol=2e-6)


def together(results: list[Results], case: str, what: str) -> dict[str, Tensor]:
    """The ranks' rows one below the other, by task."""
    tasks = results[0][case][what]
    return {task: torch.cat([r[case][what][task] for r in results]) for task in tasks}


def detached(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    return {task: each.detach() for task, each in logits.items()}


SINGLE: dict[str, dict[str, Any]] = {
    "tables": {"case": "layer"},
    "columns": {"case": "layer", "columns": 4},
    "kinds": {"case": "kinds", "columns": 4},
    "flagship": {"case": "flagship", "ranks": WORLD},  # two copies: it is batch-normalised
    "flagship_by_row": {"case": "flagship_by_row"},
}


@pytest.fixture(params=SINGLE)
def case(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def single(folder: Path, case: str) -> Single:
    return Single(folder, **SINGLE[case])


# ---------------------------------------------------------------- equality


def test_tables_lie_on_both_ranks(results: list[Results], case: str) -> None:
    """Otherwise the comparisons below would prove nothing about sharding."""
    ranks = results[0][case]["ranks"]
    assert {rank for held in ranks.values() for rank in held} == {0, 1}
    if case in ("tables", "columns"):
        assert ranks.keys() == {"user", "tab", "duration", "video"}
    if "flagship" in case:
        assert {"user_id", "video_id", "author_id", "history/long_view"} < ranks.keys()
    else:
        assert ranks["video"] == ([ranks["video"][0]] if case == "tables" else [0, 1])


def test_outputs_and_loss(results: list[Results], case: str, single: Single) -> None:
    logits = single.step(0)
    close(
        together(results, case, "logits"),
        {task: torch.cat([each[task].detach() for each in logits]) for task in logits[0]},
    )
    loss = torch.stack(single.losses[0]).mean()
    close(torch.stack([r[case]["losses"][0] for r in results]).mean(), loss)


def test_gradients_of_all_but_tables(results: list[Results], case: str, single: Single) -> None:
    single.step(0)
    wanted = {f"dense.{name}": grad for name, grad in single.dense_grads.items()}
    for of_rank in results:
        assert of_rank[case]["dense"] == sorted(wanted)
        close(of_rank[case]["grads"], wanted)


def test_steps_of_both_optimizers(results: list[Results], case: str, single: Single) -> None:
    before = {name: value.clone() for name, value in single.state().items()}
    for step in range(STEPS):
        single.step(step)
    close(results[0][case]["after"], single.state())
    moved = [n for n, value in single.state().items() if not torch.equal(value, before[n])]
    still = {name for name in before if name.endswith(".boundaries")}
    assert set(moved) == before.keys() - still


def test_evaluation_after_training(results: list[Results], case: str, single: Single) -> None:
    for step in range(STEPS):
        single.step(step)
    model = single.models[0].eval()
    single.code.load_logical_state(model, single.state())  # the mean of statistics
    wanted = model(batch(single.loaded, 9)[0])
    close(together(results, case, "evaluated"), detached(wanted))


def test_batch_norm_takes_each_ranks_rows(folder: Path, results: list[Results]) -> None:
    """Two copies that see half of the rows each, with the mean of their gradients: DDP."""
    ranks, whole = Single(folder, "batch", ranks=WORLD), Single(folder, "batch")
    for step in range(STEPS):
        ranks.step(step)
        whole.step(step)
    after = results[0]["statistics"]["after"]
    close(after, ranks.state())
    name = "experts.meta.watch.0.norm.running_"
    near = {"rtol": 0.1, "atol": 0.01}  # 12 rows to normalise by are not quite 24
    for statistic in ("mean", "var"):
        one, other = after[f"{name}{statistic}"], whole.state()[f"{name}{statistic}"]
        torch.testing.assert_close(one, other, **near)
        assert not torch.allclose(one, other, rtol=1e-4)


def test_batch_norm_evaluates_alike_on_all_ranks(folder: Path, results: list[Results]) -> None:
    """Gathering the state gives all ranks the mean of their statistics."""
    single = Single(folder, "batch", ranks=WORLD)
    for step in range(STEPS):
        single.step(step)
    model = single.models[0].eval()
    single.code.load_logical_state(model, single.state())
    wanted = model(batch(single.loaded, 9)[0])
    close(together(results, "statistics", "evaluated"), detached(wanted))


@pytest.mark.parametrize(
    ("pipeline", "alike", "collections"),
    [("pipeline", "columns", 1), ("pipeline_of_kinds", "kinds", 4)],
)
def test_the_pipeline_computes_the_same(
    results: list[Results], pipeline: str, alike: str, collections: int
) -> None:
    close(results[0][pipeline]["after"], results[0][alike]["after"])
    assert results[0][pipeline]["modules"] == collections


# ---------------------------------------------------------------- states


def test_states_come_back_exactly(results: list[Results], case: str) -> None:
    assert results[0][case]["loaded"]
    assert results[0][case]["before"]


def test_only_rank_0_gets_a_state(results: list[Results], case: str) -> None:
    assert results[1][case]["after"] == {}


def test_a_sharded_state_loads_into_one_process(results: list[Results], folder: Path) -> None:
    for case, name in {"statistics": "batch", "flagship": "flagship", "kinds": "kinds"}.items():
        loaded = load(name)
        model, code = homespec.build(loaded).eval(), homespec.build_module(loaded)
        code.load_logical_state(model, results[0][case]["after"])
        logits = model(batch(loaded, 9)[0])
        close(detached(logits), together(results, case, "evaluated"))


def test_wrong_states_change_nothing(results: list[Results]) -> None:
    for refusals in (each["refusals"] for each in results):
        assert refusals["missing"] == "KeyError: \"missing ['features.user.weight'], unknown []\""
        assert refusals["shape"] == "ValueError: features.user.weight is (38, 8), not (37, 8)"
        assert refusals["unchanged"]


def test_constraints_need_a_table(results: list[Results]) -> None:
    message = "KeyError: 'no table of usr; the tables are user, tab, duration, video'"
    assert results[0]["refusals"]["constraint"] == message


def test_columns_of_several_widths_are_refused(results: list[Results]) -> None:
    message = results[0]["refusals"]["columns"]
    assert message.startswith(
        "ValueError: tables of the same width that events read are split by col"
    )
    assert "tag [4], age [8]. Give them the same min_partition" in message


def test_new_tables_start_as_generated_ones_do(results: list[Results]) -> None:
    initial = results[0]["initial"]["features.video.weight"]
    torch.manual_seed(0)
    loaded = load("layer")
    state = homespec.build_module(loaded).logical_state(homespec.build(loaded))
    wanted = state["features.video.weight"].std()
    assert initial.std().item() == pytest.approx(wanted.item(), rel=0.1)
    assert abs(initial.mean().item()) < 0.01

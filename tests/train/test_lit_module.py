"""Inside a run: which epoch is best, when it stops, what the optimisers get, how it compiles."""

from __future__ import annotations

import dataclasses
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import homespec
from homespec.api import LoadedSpec
from homespec.data.batches import Batch
from homespec.train import RunError, evaluate, report, run
from homespec.train.checkpoint_callback import History
from homespec.train.evaluate import Monitor
from homespec.train.losses import Losses, LossFile, means
from homespec.train.settings import Settings
from homespec.train.torch_compile import Compilations
from homespec.train.train_step import TrainStep

SHORT = Settings(epochs=9, batch_size=128, limit_rows=400, compile=False)


def test_the_best_epoch() -> None:
    up, down = (Monitor(name, name, {"t": 1.0}) for name in ("auc", "logloss"))
    for monitor, best in ((up, [1, 1, 3, 3, 3]), (down, [1, 2, 2, 2, 2])):
        history, found = History(), []
        for epoch, value in enumerate([0.5, 0.4, 0.6, 0.6, math.nan], start=1):
            history.add({"epoch": epoch, "monitor": value}, monitor)
            found.append(history.best)
        assert found == best
        assert history.waited == 5 - best[-1]
        assert history.over(5 - best[-1])
        assert not history.over(6 - best[-1])
        assert not history.over(None)
    history = History()
    for epoch, value in enumerate([math.nan, math.nan, 0.4], start=1):
        history.add({"epoch": epoch, "monitor": value}, up)
    assert history.best == 3


def test_the_monitor_weighs_tasks(small: LoadedSpec) -> None:
    heavy = homespec.loads(TASKS)
    measures = evaluate.Measures.of(heavy)
    measured = {"click": {"auc": 0.5}, "like": {"auc": 0.8}, "watch": {"mae": 2.0}}
    assert measures.monitor(Settings()).value(measured) == pytest.approx((0.5 + 3 * 0.8) / 4)
    assert measures.monitor(Settings(monitor="auc/click")).value(measured) == 0.5
    assert measures.monitor(Settings(monitor="mae")).value(measured) == 2
    weightless = dataclasses.replace(measures, weights={"click": 0.0, "like": 3.0, "watch": 1.0})
    assert weightless.monitor(Settings(monitor="auc/click")).value(measured) == 0.5
    assert not measures.monitor(Settings(monitor="mae")).better(3.0, 2.0)


TASKS = """\
homespec: 1
name: tasks
features: {user_id: {id: {buckets: 100}, dim: 8}, tab: {id: {vocab: 9}, dim: 8}}
groups: {g: [click, like, watch]}
tasks:
  click: {label: is_click}
  like: {label: is_like, weight: 3.0}
  watch: {label: play_time_ms, kind: regression, scale: 1000}
experts: {width: 8, meta: {shared: 1, group: 1}, task: {shared: 1, group: 0, task: 1}}
gates: {feature: false, self: false}
"""


def test_it_stops_early_and_keeps_the_best(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    values = iter([0.5, 0.7, 0.6, 0.65, 0.9])
    monkeypatch.setattr(Monitor, "value", lambda self, measured: next(values))
    place = run.Place([data], tmp_path)
    result = run.train(small, place, dataclasses.replace(SHORT, patience=2), print)
    assert [entry["monitor"] for entry in result.history.epochs] == [0.5, 0.7, 0.6, 0.65]
    assert result.history.best == 2
    second = result.history.epochs[1]["tasks"]
    assert result.tasks["click"].auc == second["click"]["auc"]
    best, last = (tmp_path / "checkpoints" / name / "model.safetensors" for name in BOTH)
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert all(value.equal(weights[k]) for k, value in safetensors.torch.load_file(best).items())
    assert best.read_bytes() != last.read_bytes()
    report.show(result, tmp_path, [data])
    assert (
        "Epoch 2 of 4 is the best by auc (0.7000); stopped, because 2 were not better:"
        in capsys.readouterr().out
    )
    again = dataclasses.replace(place, resume=True)
    patient = dataclasses.replace(SHORT, patience=3, epochs=5)
    assert run.train(small, again, patient, print).history.best == 5


BOTH = ("best", "last")


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    features = {"user_id": torch.arange(32), "tab": torch.arange(32) % 9}
    labels = {name: (torch.rand(32) < 0.5).float() for name in ("click", "like")}
    return Batch(features, labels | {"watch": torch.rand(32) * 5000})


class Learner(TrainStep):
    """A step as Lightning makes it."""

    def __init__(self, steps: float, done: int, *args: Any) -> None:
        super().__init__(*args)
        self.schedule_ = self.schedule(steps, done)

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def learn(self, batch: Batch) -> bool:
        losses_T = self.losses(batch)
        self.backward(self.weighting.loss(losses_T), losses_T)
        self.clip(self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule_.step()
        return True


def learner(steps: float = 8, done: int = 0, **changed: Any) -> Learner:
    torch.manual_seed(1)
    spec = homespec.loads(TASKS)
    kinds = {name: task.kind for name, task in spec.tasks.items()}
    model, code = homespec.build(spec), homespec.build_module(spec)
    return Learner(steps, done, model, code, kinds, Settings(**changed), False)


def test_warm_up(batch: Batch) -> None:
    """Adam's first step moves every weight that has a gradient by the learning rate."""
    one = learner(lr=0.1, warmup_steps=4, schedule="constant")
    bias = one.model.get_parameter("trunk.towers.2.bias")
    before = bias.detach().clone()
    one.learn(batch)
    assert (bias - before).abs().detach() == pytest.approx(0.1 / 4, rel=1e-3)
    rates = [one.rate for _ in range(5) if one.learn(batch)]
    assert rates == pytest.approx([0.075, 0.1, 0.1, 0.1, 0.1])
    other = learner(done=2, lr=0.2, warmup_steps=4)
    other.load(one.state())
    assert other.rate == pytest.approx(0.15)


def test_the_schedule_ends_with_the_run(batch: Batch) -> None:
    """The last of 6 steps, 2 of them warm-up, still moves; after it the rate would be 0."""
    one = learner(6, lr=0.1, warmup_steps=2, schedule="linear")
    rates = [one.rate for _ in range(6) if one.learn(batch)]
    assert rates == pytest.approx([0.1, 0.1, 0.075, 0.05, 0.025, 0.0])  # after each step
    with pytest.raises(RunError, match="6 steps and --warmup-steps 6"):
        learner(6, warmup_steps=6, schedule="cosine")


def test_by_default_the_rate_falls_where_there_is_an_end(batch: Batch) -> None:
    one = learner(4, lr=0.1)
    assert [one.rate for _ in range(4) if one.learn(batch)] == pytest.approx(
        [0.075, 0.05, 0.025, 0]
    )
    endless, short = learner(math.inf, lr=0.1), learner(3, lr=0.1, warmup_steps=3)
    for each in (endless, short):
        assert [each.rate for _ in range(3) if each.learn(batch)][-1] == 0.1


def test_clipping(batch: Batch) -> None:
    """What the optimiser gets has the norm asked for, of sparse tables, too."""
    for table_optimizer in ("adam", "adagrad"):
        one = learner(clip=1e-3, table_optimizer=table_optimizer)
        norms: list[float] = []
        one.optimizer.register_step_pre_hook(partial(noted, norms))
        one.learn(batch)
        assert len(norms) == 1
        assert sum(norms) == pytest.approx(1e-6, rel=0.3 if table_optimizer == "adagrad" else 1e-3)


def test_clipping_by_value(batch: Batch) -> None:
    for table_optimizer in ("adam", "adagrad"):
        one = learner(table_optimizer=table_optimizer)
        losses_T = one.losses(batch)
        one.backward(one.weighting.loss(losses_T), losses_T)
        one.clip(1e-4, by_value=True)
        grads = [p.grad for group in one.optimizer.param_groups for p in group["params"]]
        values = [g._values() if g.is_sparse else g for g in grads if g is not None]
        assert max(float(v.abs().max()) for v in values) == pytest.approx(1e-4)
        assert any(g is not None and g.is_sparse for g in grads) == (table_optimizer == "adagrad")


def noted(norms: list[float], optimizer: torch.optim.Optimizer, *_: object) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    grads = [p.grad.to_dense() for p in parameters if p.grad is not None]
    norms.append(sum(float(grad.square().sum()) for grad in grads))


def test_a_spec_without_tables_has_no_optimiser_for_them() -> None:
    spec = homespec.loads(
        "{homespec: 1, name: t, features: {x: {dense: 2}}, family: mmoe, tasks: {a: {}, b: {}}}"
    )
    model, code = homespec.build(spec), homespec.build_module(spec)
    settings = Settings(table_optimizer="adagrad")
    made = Learner(8, 0, model, code, dict.fromkeys("ab", "binary"), settings, False)
    made.learn(Batch({"x": torch.randn(8, 2)}, {name: torch.ones(8) for name in "ab"}))
    assert (made.tables, type(made.optimizer)) == (None, torch.optim.Adam)


def test_sparse_tables_are_stored_and_loaded(batch: Batch) -> None:
    settings = {"table_optimizer": "adagrad", "schedule": "constant"}
    one, other = (learner(**settings, seed=n) for n in (0, 1))
    for _ in range(3):
        one.learn(batch)
    stored = one.state()
    assert stored["sum/features.user_id.weight"].shape == (101,)
    other.load(stored)
    other.code.load_logical_state(other.model, one.code.logical_state(one.model))
    for each in (one, other):
        each.learn(batch)
    ours, theirs = (each.code.logical_state(each.model) for each in (one, other))
    assert all(ours[name].equal(theirs[name]) for name in ours)
    with pytest.raises(RunError, match="remove --no-optimize"):
        learner(table_optimizer="adagrad", optimize=False)


def test_recompilations_are_counted_with_their_reasons() -> None:
    said: list[str] = []
    compilations = Compilations(said.append)
    doubled = torch.compile(lambda x_B: x_B * 2, backend="eager", dynamic=False)
    doubled(torch.ones(3))
    assert (compilations.count, said) == (1, [])
    doubled(torch.ones(4))
    assert compilations.count == 2
    (line,) = said
    assert line.startswith("warning: the training step is compiled again: ")
    assert "size mismatch at index 0. expected 3, actual 4" in line
    compilations.close()
    doubled(torch.ones(5))
    assert len(said) == 1


def test_losses_go_on_where_they_were(tmp_path: Path) -> None:
    losses, file = Losses(("a", "b")), LossFile(("a", "b"), tmp_path / "losses.csv", 8)
    losses.file = file
    file.open(0)
    for step in range(1, 6):
        losses.add(torch.tensor([step, 0.5]), torch.tensor([8, 4]))
    assert losses.look() is not None
    assert losses.look() is None
    with file.path.open("a") as text:
        text.write("6,6.0")  # a line that was not finished
    file.open(3)
    losses.add(torch.tensor([9.0, 0.5]), torch.tensor([8, 4]))
    losses.look()
    assert file.path.read_text().splitlines() == [
        "step,a,b,rows/a,rows/b", "1,1,0.5,8,4", "2,2,0.5,8,4", "3,3,0.5,8,4", "4,9,0.5,8,4",
    ]  # fmt: skip
    assert means(file.path, 2, 4) == {"a": pytest.approx(14 / 3), "b": 0.5}
    assert math.isnan(means(file.path, 7, 9)["a"])


def test_losses_of_a_version_that_did_not_count_rows(tmp_path: Path) -> None:
    """A loss of exactly 0 is that of a step without a label."""
    losses = LossFile(("a", "b"), tmp_path / "losses.csv", 8)
    losses.path.write_text("step,a,b\r\n1,0.5,0\r\n2,0.7,0.25\r\n3,9,9\r\n", newline="")
    losses.check(2, None)
    losses.open(2)
    lines = losses.path.read_text().splitlines()
    assert lines == ["step,a,b,rows/a,rows/b", "1,0.5,0,8,0", "2,0.7,0.25,8,8"]
    assert means(losses.path, 1, 2) == {"a": pytest.approx(0.6), "b": 0.25}


def test_the_bar_counts_epochs_of_the_run(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for epochs, resume in ((1, False), (2, True)):
        settings = dataclasses.replace(SHORT, epochs=epochs)
        run.train(small, run.Place([data], tmp_path, resume=resume), settings, lambda line: None)
    printed = capsys.readouterr().out
    assert "epoch 1/1: 100%" in printed
    assert "epoch 2/2: 100%" in printed
    assert "loss=" in printed

"""Runs that start from the weights of another one, carried over to their own spec."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from warm_runs import FITTED, MORE, RENAMED, SETTINGS, WIDER, invoke, last, metrics, train

import homespec
from homespec.train import RunError
from homespec.train.lit_module import RankingModule


def test_a_task_more(yesterday: Path, data: Path, tmp_path: Path) -> None:
    """Before the first step the old tasks are what they were."""
    said: list[str] = []
    out = tmp_path / "more"
    start = {"init_from": str(yesterday), "new_choice": "closed", "new_input": "zero"}
    result = train(MORE, data, out, said.append, epochs=1, monitor="auc/follow", **start)
    before, after = metrics(yesterday)["history"][1], metrics(out)["history"][0]
    for task, measured in before["tasks"].items():
        assert after["tasks"][task] == pytest.approx(measured, rel=1e-5)
    assert "`follow`: new" in said
    assert any(
        "without the optimiser's moments: they belong to another spec" in line for line in said
    )
    assert any(
        line.startswith("  new      experts.task.follow.0.linears.0.weight") for line in said
    )
    assert result.init_from is not None
    assert not result.init_from["moments"]


def test_moments_are_carried_over_to_another_spec(
    yesterday: Path, data: Path, tmp_path: Path
) -> None:
    """By `migrate` or at once, with the same bits; towers that are kept have their moments."""
    new = tmp_path / "wider.yaml"
    new.write_text(WIDER)
    words = ["migrate", str(yesterday), "--to", str(new), "-o", str(tmp_path / "moved")]
    done = invoke(*words, "--moments", "--new-choice", "closed")
    assert done.exit_code == 0, done.output
    moved, old = load_file(tmp_path / "moved" / "optimizer.safetensors"), last(yesterday)
    for kind in ("exp_avg", "exp_avg_sq", "step"):
        for task in ("click", "finish", "like", "comment_stay"):
            key = f"{kind}/towers.{task}.linears.0.weight"
            assert torch.equal(moved[key], old.optimizer[key])
            assert moved[key].any()
    train(WIDER, data, tmp_path / "a", init_from=str(tmp_path / "moved"), init_moments=True)
    start = {"init_from": str(yesterday), "new_choice": "closed"}
    train(WIDER, data, tmp_path / "b", init_moments=True, **start)
    one, other = (last(tmp_path / name) for name in "ab")
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert one.optimizer["step/towers.click.linears.0.weight"] == 15


def test_the_first_steps_of_new_parts_are_no_longer_than_the_learning_rate(
    yesterday: Path, data: Path, tmp_path: Path
) -> None:
    """Though the others of their tensor have counted many steps."""
    start = {"init_from": str(yesterday), "new_choice": "mean", "init_moments": True}
    module = RankingModule(homespec.loads(WIDER), dataclasses.replace(SETTINGS, **start))
    state = module.code.logical_state(module.model)
    name = "experts.meta.shared.1.linears.0.weight"
    before = state[name].clone()
    for tensor in module.model.parameters():
        tensor.grad = torch.randn_like(tensor) * 1e-3
    module.train_step.optimizer.step()
    assert (state[name] - before).abs().max() < 10 * SETTINGS.lr


def test_weights_alone(yesterday: Path, data: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text(FITTED)
    start = {"init_from": str(yesterday / "model.safetensors"), "init_spec": str(old)}
    train(FITTED, data, tmp_path / "run", **start)
    assert len(metrics(tmp_path / "run")["history"]) == 2
    train(FITTED, data, tmp_path / "run", init_spec=str(old), overwrite=True, epochs=1)
    assert len(metrics(tmp_path / "run")["history"]) == 1


@pytest.mark.parametrize(
    ("text", "changed", "message"),
    [
        (WIDER, {}, "choose how its new parts start with --new-choice closed|mean|fresh"),
        (FITTED, {"init_from": "gone"}, "--init-from gone does not exist"),
        (
            FITTED,
            {"init_from": "FILE"},
            "does not say which spec it belongs to: name it with --init-spec",
        ),
        (FITTED, {"init_from": "EMPTY"}, "holds no run of homespec train"),
        (FITTED, {"out": "."}, "is in the folder of this run"),
        (
            FITTED,
            {"table_optimizer": "adagrad", "init_moments": True},
            "train with the --optimizer",
        ),
        (FITTED, {"init_spec": "MORE"}, "is a run of another spec"),
        (FITTED, {"freeze": ("towers.clack.*",)}, "--freeze towers.clack.* matches no weight"),
        (FITTED, {"freeze": ("*",)}, "leaves nothing to train"),
    ],
)
def test_what_cannot_start(
    text: str, changed: dict[str, Any], message: str, yesterday: Path, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "more.yaml").write_text(MORE)
    known = {
        "FILE": str(yesterday / "model.safetensors"), "EMPTY": str(tmp_path),
        "MORE": str(tmp_path / "more.yaml"),
    }  # fmt: skip
    changed = {k: known.get(v, v) if isinstance(v, str) else v for k, v in changed.items()}
    out = yesterday if changed.pop("out", "") else tmp_path / "run"
    with pytest.raises(RunError) as error:
        train(text, data, out, overwrite=True, **{"init_from": str(yesterday)} | changed)
    assert message in str(error.value)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("*.json"))


def test_on_the_command_line(yesterday: Path, data: Path, tmp_path: Path) -> None:
    spec = tmp_path / "wider.yaml"
    spec.write_text(WIDER)
    words = ["train", str(spec), "--data", str(data), "--out", str(tmp_path / "run")]
    words += ["--batch-size", "128", "--limit-rows", "700", "--no-compile"]
    words += ["--init-from", str(yesterday), "--freeze", "towers.*", "--freeze", "features.*"]
    refused = invoke(*words)
    assert refused.exit_code == 2
    assert "--new-choice closed|mean|fresh" in refused.stderr
    done = invoke(*words, "--new-choice", "closed")
    assert done.exit_code == 0, done.output
    assert "epoch 0 AUC" in done.stdout
    assert "frozen: " in done.stdout
    again = invoke(*words, "--new-choice", "closed", "--resume", "--epochs", "2")
    assert again.exit_code == 0, again.output
    assert "epoch 0 AUC" in again.stdout
    other = invoke(*words[:-2], "--new-choice", "closed", "--resume")
    assert other.exit_code == 2
    assert "was started with --freeze towers.* --freeze features.*" in other.stderr


def test_learned_weights_of_losses_need_the_same_tasks(data: Path, tmp_path: Path) -> None:
    """Whatever they are called. With fixed weights there is nothing to leave out."""
    one, lines = tmp_path / "one", []
    train(FITTED, data, one, weighting="uncertainty")
    for name, text in (("more", MORE), ("renamed", RENAMED)):
        new = tmp_path / f"{name}.yaml"
        new.write_text(text)
        words = ["migrate", str(one), "--to", str(new), "-o", str(tmp_path / name), "--moments"]
        done = invoke(*words, "--new-choice", "closed")
        assert done.exit_code == 0, done.output
        lines.append("learned weights of losses are not carried over" in done.stderr)
    assert lines == [True, False]
    said: list[str] = []
    train(FITTED, data, tmp_path / "fixed")
    start: dict[str, Any] = {"init_moments": True, "init_from": str(tmp_path / "fixed")}
    train(MORE, data, tmp_path / "two", said.append, new_choice="closed", **start)
    assert not any("weights of losses" in line for line in said)


def test_a_damaged_source_is_named(yesterday: Path, data: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(yesterday, tmp_path / "source"))
    weights = source / "checkpoints" / "last" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RunError, match=r"does not match its checksum.*start from other weights"):
        train(FITTED, data, tmp_path / "run", init_from=str(source))
    (source / "spec.yaml").unlink()
    with pytest.raises(
        RunError, match="does not say which spec it belongs to: name it with --init-spec"
    ):
        train(FITTED, data, tmp_path / "run", init_from=str(source))

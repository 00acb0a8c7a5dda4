"""`homespec migrate`: weights and moments of one spec for the model of another."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest
import safetensors
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file
from torch import Tensor

import homespec
from homespec.cli.main import cli
from homespec.diff.carry import plan
from homespec.migration.starts import Starts
from homespec.migration.weights import CLOSED, carried_moments, carried_state

torch.set_num_threads(1)

BASE = """\
homespec: 1
name: shorts
features:
  user: {id: {buckets: 100}, dim: 4}
  tab: {id: {vocab: 5}, dim: 4}
groups:
  watch: [click, finish]
  social: [like, follow]
tasks: {click: {}, finish: {}, like: {}, follow: {}}
experts: {width: 8}
"""
MORE = BASE.replace("width: 8", "width: 8, meta: {shared: 3}")
OLD, NEW, WEIGHTS, OUT = "old.yaml", "new.yaml", "weights.safetensors", "out.safetensors"


def migrate(*words: str, weights: str = WEIGHTS) -> Result:
    arguments = ["migrate", weights, "--from", OLD, "--to", NEW, *words]
    return CliRunner().invoke(cli, arguments, standalone_mode=False)


def state_of(text: str, seed: int = 1) -> dict[str, Tensor]:
    code = homespec.build_module(homespec.loads(text))
    torch.manual_seed(seed)
    state = code.logical_state(code.Model())
    return {name: torch.randn_like(tensor).contiguous() for name, tensor in state.items()}


class Files(NamedTuple):
    folder: Path
    weights: dict[str, Tensor]

    def write_new(self, text: str) -> None:
        (self.folder / NEW).write_text(text, "utf-8")

    def result(self) -> dict[str, Tensor]:
        return load_file(self.folder / OUT)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The old spec with weights, and as new spec one with an expert more."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / OLD).write_text(BASE, "utf-8")
    weights = state_of(BASE)
    save_file(weights, tmp_path / WEIGHTS)
    found = Files(tmp_path, weights)
    found.write_new(MORE)
    return found


def test_weights_are_written_by_the_names_of_the_new_spec(files: Files) -> None:
    result = migrate("-o", OUT, "--new-choice", "closed")
    assert result.return_value == 0, result.output
    made = files.result()
    assert made.keys() == state_of(MORE).keys()
    same = [name for name, tensor in files.weights.items() if torch.equal(made[name], tensor)]
    assert len(same) == len(files.weights) - 8  # two tensors of each of four gates
    with safetensors.safe_open(files.folder / OUT, "pt") as opened:
        assert json.loads(opened.metadata()["about"])["spec"] == "shorts"


@pytest.mark.parametrize("start", ["closed", "mean", "fresh"])
def test_a_gate_weighs_a_new_expert_as_it_is_asked_to(start: str, files: Files) -> None:
    assert migrate("-o", OUT, "--new-choice", start).return_value == 0
    name = "gates.meta.watch.linears.0"
    weight, bias = files.result()[f"{name}.weight"], files.result()[f"{name}.bias"]
    kept = [0, 1, 3, 4]  # the shared set has a third expert, and the group's follow
    old_weight, old_bias = files.weights[f"{name}.weight"], files.weights[f"{name}.bias"]
    assert torch.equal(weight[kept], old_weight)
    assert torch.equal(bias[kept], old_bias)
    if start == "closed":
        assert not weight[2].any()
        torch.testing.assert_close(bias[2], old_bias.min() + CLOSED)
    if start == "mean":
        torch.testing.assert_close(weight[2], old_weight.mean(0))
        torch.testing.assert_close(bias[2], old_bias.mean())
    if start == "fresh":
        assert 0 < weight[2].abs().max() < 1


def test_what_is_open_must_be_said(files: Files) -> None:
    files.write_new(
        MORE.replace("vocab: 5", "vocab: 7").replace("groups:", "  x: {dense: 2}\ngroups:")
    )
    result = migrate("-o", OUT)
    assert result.return_value == 2
    for option in (
        "--new-choice closed|mean|fresh",
        "--new-input zero|fresh",
        "--new-row fresh|mean",
    ):
        assert option in result.stderr
    assert not (files.folder / OUT).exists()


def test_rows_of_a_vocabulary_that_grows(files: Files) -> None:
    files.write_new(BASE.replace("vocab: 5", "vocab: 7"))
    assert migrate("-o", OUT, "--new-row", "mean").return_value == 0
    rows = files.result()["features.tab.weight"]
    assert torch.equal(rows[:6], files.weights["features.tab.weight"])
    torch.testing.assert_close(rows[6:], rows[:6].mean(0).expand(2, -1))


def test_buckets_of_a_hash_that_change_start_fresh(files: Files) -> None:
    files.write_new(BASE.replace("buckets: 100", "buckets: 101"))
    assert migrate("-o", OUT).return_value == 0
    assert files.result()["features.user.weight"].std() < 0.1  # old ones have 1


def test_a_dry_run_writes_nothing(files: Files) -> None:
    result = migrate("--dry-run", "--new-choice", "closed")
    assert result.return_value == 0
    assert "  new      experts.meta.shared.2.linears.0.weight [8, 8]  new.yaml:10" in result.stdout
    assert sorted(path.name for path in files.folder.iterdir()) == [NEW, OLD, WEIGHTS]


def test_the_seed_is_that_of_what_starts_fresh(files: Files) -> None:
    made = []
    for seed in ("1", "1", "2"):
        migrate("-o", OUT, "--new-choice", "closed", "--seed", seed)
        made.append(files.result()["experts.meta.shared.2.linears.0.weight"])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more.weight": torch.zeros(1)}, "0 missing, 1 unknown"),
        ({"features.tab.weight": torch.zeros(6, 4, dtype=torch.int32)}, "weights are floats"),
        ({"features.user.weight": torch.zeros(3, 4)}, "features.user.weight of shape [3, 4]"),
    ],
)
def test_weights_of_another_spec_are_refused(
    change: dict[str, Tensor], message: str, files: Files
) -> None:
    save_file(files.weights | change, files.folder / WEIGHTS)
    result = migrate("-o", OUT, "--new-choice", "closed")
    assert result.return_value == 1
    assert message in result.stderr


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_weights_are_looked_at_before_anything_is_printed(dry: list[str], files: Files) -> None:
    (files.folder / WEIGHTS).write_bytes(b"no weights")
    result = migrate("-o", OUT, *dry)
    assert (result.return_value, result.stdout) == (1, "")


def test_a_device_is_not_replaced(files: Files) -> None:
    """Renaming a file onto a device would take the device from the whole system."""
    os.mkfifo(files.folder / "pipe")
    result = migrate("-o", "pipe", "--new-choice", "closed")
    assert result.return_value == 1
    assert "pipe cannot be written (Not a regular file)" in result.stderr
    assert (files.folder / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("out", "said"),
    [
        (OLD, "old.yaml is not a safetensors file, so it is not replaced"),
        (NEW, "new.yaml is not a safetensors file, so it is not replaced"),
        (WEIGHTS, "weights.safetensors holds the old weights: write the new ones to another file"),
    ],
)
def test_what_is_read_is_not_replaced(out: str, said: str, files: Files) -> None:
    before = (files.folder / out).read_bytes()
    result = migrate("-o", out, "--new-choice", "closed")
    assert result.return_value == 1
    assert said in result.stderr
    assert (files.folder / out).read_bytes() == before


@pytest.mark.parametrize("out", ["run", "run/model.safetensors"])
def test_a_run_is_not_replaced(out: str, files: Files) -> None:
    (files.folder / "run" / "checkpoints").mkdir(parents=True)
    (files.folder / "run" / "model.safetensors").write_bytes((files.folder / WEIGHTS).read_bytes())
    result = migrate("-o", out, "--new-choice", "closed")
    assert result.return_value == 1
    assert "run is the folder of a run: write to another folder" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "options"),
    [
        ("width: 8", "width: 8, meta: {shared: 3}", ["--new-choice", "closed"]),
        ("follow]\ntasks: {", "follow, share]\ntasks: {share: {}, ", []),
        ("vocab: 5", "vocab: 9", ["--new-row", "mean"]),
        ("groups:", "  age: {dense: 1}\ngroups:", ["--new-input", "zero"]),
        ("watch: [click, finish]", "views: {was: watch, members: [click, finish]}", []),
    ],
    ids=["expert", "task", "vocabulary", "feature", "rename"],
)
def test_there_and_back_is_the_same_file(
    old: str, new: str, options: list[str], files: Files
) -> None:
    """Where nothing is dropped on the way there, all bytes are the same after the way back."""

    def written(weights: str, old: str, new: str, out: str, *options: str) -> bytes:
        words = [weights, "--from", old, "--to", new, "-o", out, *options]
        result = CliRunner().invoke(cli, ["migrate", *words], standalone_mode=False)
        assert result.return_value == 0, result.output
        return (files.folder / out).read_bytes()

    assert old in BASE
    files.write_new(BASE.replace(old, new))
    (files.folder / "back.yaml").write_text(
        BASE.replace("watch: [click, finish]", "watch: {was: views, members: [click, finish]}")
    )
    before = written(WEIGHTS, OLD, OLD, "before.safetensors")
    there = written("before.safetensors", OLD, NEW, OUT, *options)
    assert there != before
    assert written(OUT, NEW, "back.yaml", "after.safetensors") == before


def test_weights_of_an_earlier_migration_are_replaced(files: Files) -> None:
    for seed in ("1", "2"):
        result = migrate("-o", OUT, "--new-choice", "closed", "--seed", seed)
        assert result.return_value == 0, result.output


def test_what_is_no_safetensors_file_is_refused(files: Files) -> None:
    (files.folder / WEIGHTS).write_bytes(b"no weights")
    result = migrate("-o", OUT, "--new-choice", "closed")
    assert result.return_value == 1
    assert "is not a safetensors file" in result.stderr


def test_moments_follow_their_weights(files: Files) -> None:
    """A moment like its weight, one for each row, and a number of steps."""
    graphs = [homespec.loads(text).analysis.graph for text in (BASE, MORE)]
    carried = plan(*graphs)
    gate, table = "gates.meta.watch.linears.0.weight", "features.tab.weight"
    old = {
        f"exp_avg/{gate}": torch.randn(4, 8),
        f"step/{gate}": torch.tensor(7.0),
        f"sum/{table}": torch.rand(6),
        "loss_weight/learned": torch.rand(4),
    }
    made = carried_moments(carried, old)
    assert made.keys() == old.keys() - {"loss_weight/learned"}
    assert torch.equal(made[f"exp_avg/{gate}"][[0, 1, 3, 4]], old[f"exp_avg/{gate}"])
    assert not made[f"exp_avg/{gate}"][2].any()
    assert torch.equal(made[f"sum/{table}"], old[f"sum/{table}"])
    assert made[f"step/{gate}"] == 7


def test_neutral_starts_leave_logits_as_they_are(files: Files) -> None:
    old, new = homespec.loads(BASE), homespec.loads(MORE)
    carried = plan(old.analysis.graph, new.analysis.graph)
    features = {"user": torch.arange(6), "tab": torch.arange(6) % 5}
    logits = []
    for spec in (old, new):
        code = homespec.build_module(spec)
        model = code.Model().double().eval()
        state = {name: tensor.double() for name, tensor in files.weights.items()}
        for name in state:
            state[name] = state[name].abs() if name.endswith("var") else state[name]
        if spec is new:
            state = carried_state(carried, state, code.logical_state(model), Starts())
        code.load_logical_state(model, state)
        with torch.no_grad():
            logits.append(torch.stack(list(model(features).values())))
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-6, atol=1e-6)


def test_a_feature_that_a_gate_reads_twice_keeps_both_columns(files: Files) -> None:
    """Beside v, a list has its own columns, which take over those of v that the gate had."""
    text = BASE + "gates: {mixture: {input: own}}\n"
    old = state_of(text)
    graphs = [homespec.loads(t).analysis.graph for t in (text, text.replace("own}", "[tab, own]}"))]
    fresh = state_of(text.replace("own}", "[tab, own]}"), seed=2)
    made = carried_state(plan(*graphs), old, fresh, Starts())
    name = "gates.meta.watch.linears.0.weight"
    was, now = old[name], made[name]
    assert now.shape[1] == was.shape[1] + 4
    assert torch.equal(now[:, :4] + now[:, 8:], was[:, 4:])
    assert torch.equal(now[:, 4:8], was[:, :4])

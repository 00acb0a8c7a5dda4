"""`homespec.migrate`: the verb as a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from test_migrate import BASE, MORE, NEW, OLD, OUT, WEIGHTS, Files, files, migrate

import homespec
from homespec.cli.main import cli
from homespec.train import RunError
from homespec.train.migrate import OpenChoiceError

__all__ = ["files"]


def test_it_gives_what_the_verb_writes(files: Files) -> None:
    made = homespec.migrate(WEIGHTS, NEW, "mine.safetensors", old=OLD, new_choice="mean", seed=3)
    assert migrate("-o", OUT, "--new-choice", "mean", "--seed", "3").return_value == 0
    written = files.result()
    assert made.weights.keys() == written.keys()
    assert all(torch.equal(made.weights[name], written[name]) for name in written)
    assert (files.folder / "mine.safetensors").read_bytes() == (files.folder / OUT).read_bytes()
    assert not made.moments
    resized = {one.tensor.node.name for one in made.comparison.plan.of("resized")}
    assert resized == {
        *(f"gates.meta.{place}" for place in ("shared", "watch", "social")),
        "self_gates.meta.shared",
    }
    code, model = homespec.build_with_module(NEW)
    code.load_logical_state(model, made.weights)


def test_specs_may_be_objects_and_nothing_need_be_written(files: Files) -> None:
    old, new = homespec.loads(BASE), homespec.loads(MORE)
    made = homespec.migrate(files.folder / WEIGHTS, new, old=old, new_choice="closed")
    assert made.spec.spec.name == "shorts"
    assert sorted(path.name for path in files.folder.iterdir()) == [NEW, OLD, WEIGHTS]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"new_choice": None}, OpenChoiceError, "--new-choice closed|mean|fresh"),
        ({"new_choice": "shut"}, ValueError, "new_choice is 'shut', not closed or mean or fresh"),
        ({"old": None}, RunError, "does not say which spec it belongs to: name it with old="),
        ({"moments": True}, RunError, "moments are in the folder of a run"),
        ({"source": "gone"}, RunError, "gone holds no run of homespec train"),
        ({"out": "old.yaml/x"}, RunError, "cannot be written"),
    ],
)
def test_mistakes(
    change: dict[str, Any], error: type[Exception], message: str, files: Files
) -> None:
    given = {"source": WEIGHTS, "new": NEW, "old": OLD, "new_choice": "closed"} | change
    with pytest.raises(error, match=message.replace("|", r"\|")):
        homespec.migrate(**given)


@pytest.mark.parametrize("option", ["new_choice", "new_input", "new_row"])
def test_an_empty_choice_is_unknown(option: str, files: Files) -> None:
    given: Any = {"old": OLD, "new_choice": "closed", option: ""}
    with pytest.raises(ValueError, match=f"{option} is '', not "):
        homespec.migrate(WEIGHTS, NEW, **given)


def test_memory_that_runs_out_is_no_mistake_of_ours(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("homespec.train.migrate.carried_state", short)
    result = migrate("-o", OUT, "--new-choice", "closed")
    assert result.return_value == 2
    assert result.stderr.splitlines()[-1].startswith(
        "error: memory ran out while building `shorts`"
    )
    assert not (files.folder / OUT).exists()


def test_a_disk_that_is_full_is_named(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors has an error of its own for it."""

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr("homespec.train.migrate.safetensors.torch.save_file", full)
    result = migrate("-o", OUT, "--new-choice", "closed")
    assert result.return_value == 1
    assert result.stderr.endswith(f"error: {OUT} cannot be written (No space left on device)\n")
    assert not (files.folder / OUT).exists()


def test_a_width_that_changes_is_warned_of_with_its_line(files: Files) -> None:
    files.write_new(BASE.replace("width: 8", "width: 12"))
    for words in (("-o", OUT), ("--dry-run",)):
        result = migrate(*words)
        assert result.return_value == 0, result.output
        assert (
            "warning: new.yaml:10: experts.meta.shared.0.linears.0.weight is [12, 8], was [8, 8],"
            " and starts fresh, and so do "
        ) in result.stderr
    homespec.migrate(WEIGHTS, NEW, OUT, old=OLD)


def test_equal_shapes_are_no_reason_to_start_fresh(files: Files) -> None:
    """Experts that read the states of other nodes than before have the shape of before."""
    files.write_new(BASE.replace("name: shorts", "name: shorts\nfamily: ple"))
    result = migrate("-o", OUT, "--new-choice", "closed")
    assert result.return_value == 0, result.output
    assert (
        "keeps its shape [8, 8], but its parts belong to other things, and starts" in result.stderr
    )


def test_weights_alone_need_the_spec_that_they_are_of(files: Files) -> None:
    result = CliRunner().invoke(cli, ["migrate", WEIGHTS, "--to", NEW, "-o", OUT])
    assert result.exit_code == 2
    assert "Give --from" in result.stderr


def test_moments_of_new_parts_are_not_smaller_than_those_of_others(files: Files) -> None:
    """With a mean of squares of 0 and a large count of steps a first step would be several times
    the learning rate."""
    folder = files.folder / "kept"
    folder.mkdir()
    save_file(files.weights, folder / "model.safetensors")
    gate = "gates.meta.watch.linears.0.weight"
    moments = {f"exp_avg_sq/{gate}": torch.full((4, 8), 0.25), f"exp_avg/{gate}": torch.ones(4, 8)}
    save_file(moments, folder / "optimizer.safetensors")
    made = homespec.migrate(folder, NEW, "made", old=OLD, moments=True, new_choice="closed")
    assert made.moments[f"exp_avg_sq/{gate}"].eq(0.25).all()
    assert made.moments[f"exp_avg/{gate}"].sum() == 4 * 8
    assert {path.name for path in Path("made").iterdir()} == {
        "model.safetensors", "optimizer.safetensors", "spec.yaml",
    }  # fmt: skip
    again = homespec.migrate("made", files.folder / NEW, moments=True)
    assert again.moments.keys() == load_file("made/optimizer.safetensors").keys()

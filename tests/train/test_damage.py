"""A damaged file of a run is refused by name, or makes no difference to what comes of the run."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import homespec
from homespec.data import DataError
from homespec.train import RunError, checkpoint, run
from homespec.train.checkpoint_checks import DamagedError, check_signed, check_sums, signed, sums
from homespec.train.evaluate import Monitor
from homespec.train.run_dir import stored_settings
from homespec.train.settings import Settings

TINY = """\
homespec: 1
name: tiny
features: {user_id: {id: {buckets: 20}, dim: 4}, duration_ms: {bucketize: {quantiles: 4}, dim: 4}}
tasks: {click: {label: is_click}, like: {label: is_like}}
family: mmoe
experts: {hidden: [], width: 4, task: {shared: 2}}
towers: {hidden: []}
"""
SPEC = homespec.loads(TINY)
SETTINGS = Settings(
    epochs=2, batch_size=128, lr=1e-2, limit_rows=600, compile=False, weighting="uncertainty",
    table_optimizer="adagrad", checkpoint_every=2,
)  # fmt: skip
LAST, BEST = "checkpoints/last/", "checkpoints/best/"


def resume(data: Path, out: Path) -> list[str]:
    """Train one epoch more, by the settings that the folder has."""
    said: list[str] = []
    stored = stored_settings(out)
    assert stored is not None
    settings = dataclasses.replace(stored, epochs=stored.epochs + 1)
    run.train(SPEC, run.Place([data], out, resume=True), settings, said.append)
    return said


def refusal(data: Path, out: Path) -> str:
    with pytest.raises(RunError) as refused:
        resume(data, out)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture(scope="module")
def begun(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs, of which the first one is the best."""
    out = tmp_path_factory.mktemp("begun")
    values = iter([0.9, 0.5])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Monitor, "value", lambda self, measured: next(values))
        assert run.train(SPEC, run.Place([data], out), SETTINGS, print).history.best == 1
    return out


@pytest.fixture
def copied(begun: Path, tmp_path: Path) -> Path:
    return shutil.copytree(begun, tmp_path / "run")


def outcome(out: Path) -> dict[str, Any]:
    """What came of a run: weights, moments, losses, metrics."""
    files = [f"{LAST}model.safetensors", f"{LAST}optimizer.safetensors", "model.safetensors"]
    found: dict[str, Any] = {name: (out / name).read_bytes() for name in (*files, "losses.csv")}
    measured = json.loads((out / "metrics.json").read_text())
    kept = ("settings", "tasks", "history", "best_epoch", "monitor")
    return found | {key: measured[key] for key in kept}


# ---------------------------------------------------------------- random damage


def test_a_flipped_bit_is_refused_by_name_or_changes_nothing(
    begun: Path, data: Path, tmp_path: Path
) -> None:
    whole = shutil.copytree(begun, tmp_path / "whole")
    resume(data, whole)
    wanted = outcome(whole)
    files = sorted(p for p in begun.rglob("*") if p.is_file() and "tensorboard" not in p.parts)
    assert len(files) == 12
    rng, refused = random.Random(0), []
    for file in files:
        name = str(file.relative_to(begun))
        for _ in range(3):
            out = shutil.copytree(begun, tmp_path / "run")
            content = bytearray(file.read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            (out / name).write_bytes(content)
            message = None
            try:
                resume(data, out)
            except (RunError, DataError) as error:
                message = str(error)
            if message is None:
                assert outcome(out) == wanted, name
            else:
                assert str(out / Path(name).parts[0]) in message
                refused.append(name)
            shutil.rmtree(out)
    for name in (f"{LAST}state.json", f"{BEST}state.json", "settings.json", "losses.csv"):
        assert refused.count(name) >= 2  # one may hit the name of the checksum, as if it had none


TENSORS = {
    "a": torch.arange(12.0).view(3, 4), "b": torch.tensor(2.0), "c": torch.tensor([True, False]),
    "d": torch.arange(5, dtype=torch.int64), "e": torch.ones(3, dtype=torch.bfloat16),
    "f": torch.empty(0, 3),
}  # fmt: skip


@given(st.integers(0, 100_000), st.integers(0, 7))
def test_every_bit_of_a_file_of_tensors_counts(at: int, bit: int) -> None:
    """It cannot be read, or is refused, or it holds the same tensors."""
    content = bytearray(safetensors.torch.save(TENSORS))
    content[at % len(content)] ^= 1 << bit
    try:
        found = safetensors.torch.load(bytes(content))
        check_sums(found, sums(TENSORS), "file")
    except (safetensors.SafetensorError, ValueError, DamagedError):
        return
    assert found.keys() == TENSORS.keys()
    assert all(found[k].dtype == t.dtype and found[k].equal(t) for k, t in TENSORS.items())


LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = LEAF | st.lists(LEAF) | st.dictionaries(st.text(), LEAF | st.lists(LEAF))


@given(st.dictionaries(st.text(), JSON, min_size=1), st.integers(0), st.integers(0, 7))
def test_every_bit_of_a_signed_file_counts(content: dict[str, Any], at: int, bit: int) -> None:
    text = json.dumps(signed(signed(content)), indent=1)
    assert check_signed(json.loads(text), "file")
    flipped = bytearray(text.encode())
    flipped[at % len(flipped)] ^= 1 << bit
    try:
        found = json.loads(flipped.decode())
        known = check_signed(found, "file")
    except (ValueError, DamagedError):
        return
    assert found == json.loads(text) or not known


# ---------------------------------------------------------------- what is said


def test_the_tensor_is_named_with_what_is_left(copied: Path, data: Path) -> None:
    path = copied / LAST / "optimizer.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["exp_avg/towers.click.linears.0.weight"][0, 0] += 1
    safetensors.torch.save_file(tensors, path)
    message = refusal(data, copied)
    assert message.startswith(
        f"the checkpoint {copied}/checkpoints/last is damaged: tensor"
        " `exp_avg/towers.click.linears.0.weight` of optimizer.safetensors does not match its"
        " checksum. Restore it from a copy, or start again with --overwrite"
    )
    assert f"The weights of epoch 1 in {copied}/checkpoints/best are intact" in message


def test_damage_does_not_keep_one_from_overwriting(copied: Path, data: Path) -> None:
    for name in ("state.json", "model.safetensors"):
        (copied / LAST / name).write_text("garbage")
    with pytest.raises(RunError, match="holds a run whose checkpoint is damaged: --resume"):
        run.train(SPEC, run.Place([data], copied), SETTINGS, print)
    run.train(SPEC, run.Place([data], copied, overwrite=True), SETTINGS, print)


def test_a_checkpoint_put_aside_takes_the_place_of_a_damaged_one(copied: Path, data: Path) -> None:
    """As after a loss of power between two steps of writing."""
    checkpoints = copied / "checkpoints"
    shutil.copytree(checkpoints / "last", checkpoints / ".last.old")
    whole = shutil.copytree(copied, copied.with_name("whole"))
    resume(data, whole)
    (checkpoints / "last" / "model.safetensors").write_bytes(b"")
    said = resume(data, copied)
    assert "was damaged, so the previous one replaces it" in said[0]
    assert outcome(copied) == outcome(whole)


def test_the_best_epoch_is_looked_at_before_training(copied: Path, data: Path) -> None:
    shutil.copy(copied / LAST / "model.safetensors", copied / BEST)
    assert f"{copied}/checkpoints/best is damaged: tensors `" in refusal(data, copied)
    shutil.copytree(copied / LAST, copied / BEST, dirs_exist_ok=True)
    assert "checkpoints/best is damaged: it is of epoch 2, not 1" in refusal(data, copied)
    shutil.rmtree(copied / BEST)
    assert "checkpoints/best is damaged: it is missing" in refusal(data, copied)


def test_losses(copied: Path, data: Path) -> None:
    path = copied / "losses.csv"
    text = path.read_bytes()
    for broken in (text[:-40], b"", b"\xff\xfe", b"hello\n" + text, text.replace(b"\n", b"\n\n")):
        path.write_bytes(broken)
        assert f"{path} is damaged (" in refusal(data, copied)
    path.write_bytes(text + b"9,garbage that a crash left\n")
    resume(data, copied)
    path.unlink()
    assert f"{path} is missing, so the losses of steps 1 to 12 are not known" in resume(
        data, copied
    )


def test_settings_that_are_gone_are_those_of_the_checkpoint(copied: Path) -> None:
    path = copied / "settings.json"
    before = stored_settings(copied)
    assert before is not None
    assert before.lr == 1e-2
    for broken in ("", "[]", "{}", '{"settings": 3}', '{"settings": {"epochs": "two"}}',
                   '{"settings": {"epochs": 0}}', '{"settings": {"lr": NaN}}',
                   '{"settings": {"schedule": "cos"}}', '{"settings": {"optimize": 1}}',
                   path.read_text().replace("128", "64")):  # fmt: skip
        path.write_text(broken)
        with pytest.raises(
            RunError, match=r"settings.json is damaged \(.*\): remove it to continue"
        ):
            stored_settings(copied)
    path.unlink()
    assert stored_settings(copied) == before


def test_a_file_that_cannot_be_read(copied: Path, data: Path) -> None:
    for name in ("state.json", "model.safetensors"):
        path = copied / LAST / name
        path.rename(path.with_suffix(".aside"))
        path.mkdir()
        assert f"{copied}/checkpoints/last cannot be read (" in refusal(data, copied)
        path.rmdir()
        assert f"{copied}/checkpoints/last cannot be read (" in refusal(data, copied)
        path.with_suffix(".aside").rename(path)


# ---------------------------------------------------------------- without checksums


def unsigned(out: Path, change: Callable[[dict[str, Any]], Any] = lambda state: None) -> None:
    """Make the checkpoints what an older homespec wrote, with a change of the last one's state."""
    for name in (LAST, BEST):
        path = out / name / "state.json"
        state = json.loads(path.read_text())
        for key in ("sha256", "checksums", "losses_sha256"):
            del state[key]
        if name == LAST:
            change(state)
        path.write_text(json.dumps(state))


def test_a_checkpoint_of_an_older_version_goes_on(copied: Path, data: Path) -> None:
    whole = shutil.copytree(copied, copied.with_name("whole"))
    resume(data, whole)
    unsigned(copied)
    assert (
        "the checkpoint has no checksums, because an older homespec wrote it, so it was not"
        " verified" in resume(data, copied)
    )
    assert outcome(copied) == outcome(whole)
    assert checkpoint.read(copied / LAST).verified


def test_a_coarser_type_of_an_older_version_goes_on(copied: Path, data: Path) -> None:
    name = "features.duration_ms.boundaries"
    changed("model", name, lambda t: t.bfloat16())(copied)
    (copied / "boundaries.json").unlink()
    unsigned(copied)
    resume(data, copied)
    state = safetensors.torch.load_file(copied / LAST / "model.safetensors")
    assert state[name].dtype != torch.bfloat16


STATES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "lacks `at`": lambda s: s.pop("at"),
    "`at` of state.json is not an object": lambda s: s.update(at=3),
    "`at.step` of state.json is not a whole number": lambda s: s["at"].update(step="4"),
    "`at.batch` of state.json is not a whole number": lambda s: s["at"].update(batch=-1),
    "`at.epoch` of state.json is not a whole number": lambda s: s["at"].update(epoch=True),
    "lacks `history.best`": lambda s: s["history"].pop("best"),
    "`history` of state.json is not that of 2 epochs": lambda s: s["history"]["epochs"].pop(),
    "`history.epochs[0]` of state.json is not an obj": lambda s: s["history"].update(epochs=[1, 2]),
    "lacks `history.epochs[1].tasks`": lambda s: s["history"]["epochs"][1].pop("tasks"),
    "lacks `model`": lambda s: s.pop("model"),
    "`model` of state.json is not an object": lambda s: s.update(model=[]),
    "`settings` of state.json cannot be used: lr is 'x'": lambda s: s["settings"].update(lr="x"),
    "`data.train[0]` of state.json is not the mark": lambda s: s["data"].update(train=["x"]),
    "lacks `data.valid`": lambda s: s["data"].pop("valid"),
    "`processes` of state.json is not a whole": lambda s: s.update(processes="two"),
    "was written by another version": lambda s: s.update(version=2),
}


@pytest.mark.parametrize("wanted", STATES)
def test_odd_states(copied: Path, data: Path, wanted: str) -> None:
    unsigned(copied, STATES[wanted])
    assert wanted in refusal(data, copied)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value inside of a value."""
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield (*path, key)
        yield from paths(value[key], (*path, key))


ODD = (None, "x", -1, 10**30, 0.5, True, [], {}, [[]], {"x": 1})
TRIES = int(os.environ.get("HOMESPEC_ODD_STATES", "40"))


def test_odd_values_anywhere(copied: Path, data: Path) -> None:
    """Each is refused by name, or the run goes on."""
    unsigned(copied)
    state = json.loads((copied / LAST / "state.json").read_text())
    rng, all_paths = random.Random(1), list(paths(state))
    for _ in range(TRIES):
        *way, last = rng.choice(all_paths)
        odd = copy.deepcopy(state)
        inner = odd
        for key in way:
            inner = inner[key]
        if rng.random() < 0.2:
            del inner[last]
        else:
            inner[last] = rng.choice(ODD)
        out = shutil.copytree(copied, copied.with_name("odd"))
        (out / LAST / "state.json").write_text(json.dumps(odd))
        with contextlib.suppress(RunError, DataError):
            resume(data, out)
        shutil.rmtree(out)


@pytest.mark.parametrize("text", ["", "null", "[]", "{", "7", "[" * 100_000, "\0", '"x"'])
def test_what_is_no_state(copied: Path, data: Path, text: str) -> None:
    (copied / LAST / "state.json").write_text(text)
    cut = text in ("", "{", "\0")
    found = (
        r"is damaged: state\.json is not JSON"
        if cut
        else "is damaged|was written by another version"
    )
    assert re.search(found, refusal(data, copied))


def changed(
    file: str, name: str, change: Callable[[Tensor], Tensor | None]
) -> Callable[[Path], None]:
    """A change of a tensor in one of the files; None removes it."""

    def act(out: Path) -> None:
        path = out / LAST / f"{file}.safetensors"
        tensors = safetensors.torch.load_file(path)
        value = change(tensors.pop(name, torch.zeros(1)))
        found = tensors if value is None else tensors | {name: value.contiguous()}
        safetensors.torch.save_file(found, path)

    return act


WEIGHT, MOMENT = "towers.click.linears.0.weight", "exp_avg/towers.click.linears.0.weight"
CHANGES: dict[str, Callable[[Path], None]] = {
    f"model.safetensors lacks tensor `{WEIGHT}`": changed("model", WEIGHT, lambda t: None),
    "model.safetensors has tensor `x`": changed("model", "x", lambda t: t),
    f"`{WEIGHT}` of model.safetensors is float32 [4, 1]": changed("model", WEIGHT, lambda t: t.T),
    f"`{WEIGHT}` of model.safetensors is float64": changed("model", WEIGHT, Tensor.double),
    f"optimizer.safetensors lacks tensor `{MOMENT}`": changed("optimizer", MOMENT, lambda t: None),
    f"`{MOMENT}` of optimizer.safetensors is float32 [4]": changed(
        "optimizer", MOMENT, lambda t: t[0]
    ),
    f"`{MOMENT}` of optimizer.safetensors is int32": changed("optimizer", MOMENT, Tensor.int),
    "has tensor `exp_avg/x`": changed("optimizer", "exp_avg/x", lambda t: t),
    "lacks tensor `sum/features.user_id.weight`": changed(
        "optimizer", "sum/features.user_id.weight", lambda t: None
    ),
    "lacks tensor `weighting/log_variance_T`": changed(
        "optimizer", "weighting/log_variance_T", lambda t: None
    ),
    "`weighting/last_T` of optimizer.safetensors is float32 [1]": changed(
        "optimizer", "weighting/last_T", lambda t: t[:1]
    ),
    "lacks tensor `random/cpu`": changed("optimizer", "random/cpu", lambda t: None),
    "`random/cpu` of optimizer.safetensors is uint8 [9]": changed(
        "optimizer", "random/cpu", lambda t: t[:9]
    ),
}  # fmt: skip


@pytest.mark.parametrize("wanted", CHANGES)
@pytest.mark.parametrize("old", [False, True])
def test_odd_tensors(copied: Path, data: Path, wanted: str, old: bool) -> None:
    CHANGES[wanted](copied)
    if old:
        unsigned(copied)
    message = refusal(data, copied)
    assert "checkpoints/last is damaged: " in message
    assert not old or wanted in message


@pytest.mark.parametrize("size", [0, 7, 100])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_files_cut_short(copied: Path, data: Path, name: str, size: int) -> None:
    os.truncate(copied / LAST / name, size)
    assert "checkpoints/last is damaged: " in refusal(data, copied)

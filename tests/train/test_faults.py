"""What goes wrong in a run is one clear error, and the last checkpoint is intact."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from small_spec import SMALL

import homespec
from homespec import memory, runtime
from homespec.api import LoadedSpec
from homespec.data import DataError
from homespec.train import (
    RunError,
    checkpoint,
    datamodule,
    lit_module,
    run,
    run_dir,
)
from homespec.train.checkpoint_callback import Checkpointer
from homespec.train.settings import Settings

SETTINGS = Settings(
    epochs=2,
    batch_size=128,
    lr=1e-2,
    limit_rows=1500,
    compile=False,
    checkpoint_every=4,
    schedule="constant",
)


def go(
    spec: LoadedSpec, data: Path, out: Path, say: Callable[[str], None] = print, **changed: Any
) -> run.Result:
    """Train; words that are no settings are about the place."""
    about = {k: changed.pop(k) for k in ("resume", "overwrite", "valid") if k in changed}
    place = run.Place([data], out, **about)
    return run.train(spec, place, dataclasses.replace(SETTINGS, **changed), say)


@pytest.fixture(scope="module")
def begun(small: LoadedSpec, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch."""
    out = tmp_path_factory.mktemp("begun")
    go(small, data, out, epochs=1)
    return out


@pytest.fixture
def copied(begun: Path, tmp_path: Path) -> Path:
    return shutil.copytree(begun, tmp_path / "run")


def content(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def step_of_last(out: Path) -> int:
    state = checkpoint.read(out / "checkpoints" / "last").state
    return int(state["at"]["step"])


# ---------------------------------------------------------------- what may go on


def test_a_run_is_not_overwritten_by_chance(small: LoadedSpec, data: Path, copied: Path) -> None:
    before = content(copied)
    with pytest.raises(RunError, match=r"holds a run, at step 11, after epoch 1 of 1: --resume"):
        go(small, data, copied)
    assert content(copied) == before
    (copied / "notes.txt").write_text("mine")
    go(small, data, copied, overwrite=True, epochs=1, limit_rows=300)
    assert step_of_last(copied) == 2
    assert (copied / "notes.txt").read_text() == "mine"


def test_another_spec_is_refused_with_what_differs(data: Path, copied: Path) -> None:
    before = content(copied)
    texts = {
        "features.user_id.id.buckets` is 2000, was 1000": SMALL.replace("1000}", "2000}", 1),
        "task `like` was removed; task `love` is new": SMALL.replace("like", "love"),
        "`init` is torch, was auto": SMALL.replace("name: small", "init: torch\nname: small"),
        "feature `tag` was removed": SMALL.replace("  tag: {id: {buckets: 1000}, dim: 8}\n", ""),
        "`layers.meta.experts.shared.count` is 2, was 1": SMALL.replace(
            "meta: {shared: 1,", "meta: {shared: 2,"
        ),
        "; and 4 more differences": SMALL.replace("width: 16", "width: 24"),
        "`features`: the entries are in another order": SMALL.replace("  tag: {", "  tagg: {")
        .replace("  video_id: {", "  tag: {")
        .replace("  tagg: {", "  video_id: {"),
    }
    for difference, text in texts.items():
        with pytest.raises(RunError, match=r"belongs to another spec: .* another --out") as refused:
            go(homespec.loads(text), data, copied, resume=True)
        assert difference in str(refused.value)
    assert content(copied) == before


def test_other_words_for_the_same_spec_are_no_difference(data: Path, copied: Path) -> None:
    described = SMALL.replace("name: small\n", "name: small\nfamily: home\ndescription: mine\n")
    explicit = homespec.loads(described.replace("width: 16", "norm: batch, width: 16"))
    assert go(explicit, data, copied, resume=True).history.best == 2


@pytest.mark.parametrize(
    ("name", "value", "was"),
    [("batch_size", 64, "--batch-size 128"), ("seed", 3, "--seed 0"),
     ("limit_rows", None, "--limit-rows 1500"), ("shuffle_rows", 0, "--shuffle-rows 262144"),
     ("optimizer", "adamw", "--optimizer adam"), ("gauc_by", "user_id", "no --gauc-by")],
)  # fmt: skip
def test_settings_that_may_not_change(
    small: LoadedSpec, data: Path, begun: Path, name: str, value: object, was: str
) -> None:
    with pytest.raises(RunError, match=f"was started with {was}, not .*: resume it with the same"):
        go(small, data, begun, resume=True, **{name: value})


def test_settings_that_may_change(small: LoadedSpec, data: Path, copied: Path) -> None:
    said: list[str] = []
    result = go(small, data, copied, said.append, resume=True, lr=1e-3, clip=1.0)
    assert said[:3] == [
        "resumed with --epochs 2 instead of --epochs 1",
        "resumed with --lr 0.001 instead of --lr 0.01",
        "resumed with --clip 1.0 instead of no --clip",
    ]
    assert "resumed at step 11, after epoch 1 of 1" in said
    assert [entry["step"] for entry in result.history.epochs] == [11, 22]
    assert json.loads((copied / "settings.json").read_text())["settings"]["lr"] == 1e-3


def test_other_data_is_refused(small: LoadedSpec, data: Path, copied: Path, tmp_path: Path) -> None:
    table = pq.read_table(data / "train.parquet")
    (tmp_path / "other").mkdir()
    shutil.copy(data / "valid.parquet", tmp_path / "other")
    pq.write_table(table.slice(1), tmp_path / "other" / "train.parquet", compression="zstd")
    with pytest.raises(RunError, match=r"trained on other data: train.parquet has another content"):
        go(small, tmp_path / "other", copied, resume=True)
    pq.write_table(table.slice(0, 1000), tmp_path / "other" / "train.parquet")
    with pytest.raises(RunError, match=r"train.parquet has 1000 rows, and had 1500"):
        go(small, tmp_path / "other", copied, resume=True)
    shutil.copy(data / "train.parquet", tmp_path / "other" / "train.parquet")  # a copy will do
    assert go(small, tmp_path / "other", copied, resume=True).history.epochs


def test_unknown_monitor(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told before the rows are read, which may take a while."""
    monkeypatch.setattr(datamodule, "load_rows", lambda *_: pytest.fail("rows were read"))
    for name in ("speed", "mae", "auc/nothing"):
        with pytest.raises(
            RunError, match=f"--monitor {name} is not a metric of this spec: give one"
        ):
            go(small, data, tmp_path, monitor=name)

    with pytest.raises(
        RunError, match=r"auc/clik is not a metric of this spec: did you mean auc/click\?"
    ):
        go(small, data, tmp_path, monitor="auc/clik")

    with pytest.raises(RunError, match="--monitor gauc needs the column of users: give --gauc-by"):
        go(small, data, tmp_path, monitor="gauc")


def test_resuming_where_nothing_is(small: LoadedSpec, data: Path, copied: Path) -> None:
    said: list[str] = []
    go(small, data, copied / "new", said.append, resume=True, epochs=1)
    assert said[0].endswith("new holds no checkpoint to resume from: training from the start")
    shutil.rmtree(copied / "checkpoints")
    before = content(copied)
    with pytest.raises(RunError, match="the weights of a run, but no checkpoint to resume from"):
        go(small, data, copied, resume=True)
    assert content(copied) == before


# ---------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_not_finite(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sixth batch of an epoch meets a weight that makes a loss NaN: no look at each step."""
    original = lit_module.RankingModule.training_step

    def training_step(self: lit_module.RankingModule, batch: Any, batch_idx: int) -> Any:
        if self.position.batch == 5:
            self.code.logical_state(self.model)["towers.like.linears.1.bias"].fill_(torch.nan)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(lit_module.RankingModule, "training_step", training_step)
    with pytest.raises(RunError) as stopped:
        go(small, data, tmp_path)
    message = str(stopped.value)
    assert message.startswith("the loss of like is not finite from epoch 1, batch 6 (step 6) on: ")
    assert "The checkpoint at step 4, in epoch 1 of 2 is intact: --resume continues" in message
    assert step_of_last(tmp_path) == 4
    with (tmp_path / "bad_batch.csv").open() as file:
        listed = [int(row["row"]) for row in csv.DictReader(file)]
    assert len(set(listed)) == 128
    stream = datamodule.Rows.open(small, [data], [], SETTINGS).training(0, 5)
    batch = next(iter(stream))
    users = pq.read_table(data / "train.parquet")["user_id"].to_pylist()
    assert sorted(batch.features["user_id"].tolist()) == sorted(users[row] for row in listed)


def test_weights_that_are_not_finite_at_the_end(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(self: Checkpointer, training: lit_module.RankingModule, best: bool = False) -> None:
        with torch.no_grad():
            next(training.model.parameters()).fill_(torch.nan)
        save(self, training, best)

    save = Checkpointer.save
    monkeypatch.setattr(Checkpointer, "save", spoiled)
    with pytest.raises(RunError, match="are not finite at step 11, after epoch 1 of 1: "):
        go(small, data, tmp_path, epochs=1, checkpoint_every=0)


def test_a_run_that_is_done_says_so(small: LoadedSpec, data: Path, copied: Path) -> None:
    said: list[str] = []
    go(small, data, copied, said.append, epochs=1, resume=True)
    assert "all epochs are done; --epochs 2 would train one more" in said


def test_weights_that_are_not_finite_are_not_kept(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(self: Checkpointer, training: lit_module.RankingModule, best: bool = False) -> None:
        if training.position.step == 8:
            with torch.no_grad():
                next(training.model.parameters()).fill_(torch.nan)
        save(self, training, best)

    save = Checkpointer.save
    monkeypatch.setattr(Checkpointer, "save", spoiled)
    with pytest.raises(RunError, match=r"not finite at step 8, in epoch 1 of 2: .*--lr"):
        go(small, data, tmp_path)
    assert step_of_last(tmp_path) == 4


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "losses.csv"])
def test_a_full_disk(
    small: LoadedSpec, data: Path, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From step 8 on nothing can be written to one of the files."""
    limits = {"model.safetensors": 100_000, "state.json": 5_000, "losses.csv": 200}
    original = {"losses.csv": lit_module.Losses.look}.get(file, checkpoint.write)
    calls = 0

    def limited(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < 2:
            return original(*args)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits[file], hard))
        try:
            return original(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    if file == "losses.csv":
        monkeypatch.setattr(lit_module.Losses, "look", limited)
    else:
        monkeypatch.setattr(checkpoint, "write", limited)
    with pytest.raises(RunError, match=r"cannot be written \(File too large.*\)\. The checkpoint at"
                       " step 4, in epoch 1 of 2 is intact: --resume continues"):  # fmt: skip
        go(small, data, tmp_path)
    assert step_of_last(tmp_path) == 4
    monkeypatch.undo()
    go(small, data, tmp_path, resume=True)
    assert step_of_last(tmp_path) == 22


def test_a_folder_that_cannot_be_written(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_dir, "write_texts", full)
    with pytest.raises(RunError, match=r"cannot be written \(No space left on device"):
        go(small, data, tmp_path)


@pytest.fixture
def streamed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data that does not fit into memory, in small row groups."""
    monkeypatch.setattr(datamodule, "CACHE_BYTES", 0)
    folder = tmp_path / "streamed"
    folder.mkdir()
    table = pq.read_table(data / "train.parquet").slice(0, 1500)
    pq.write_table(table, folder / "train.parquet", row_group_size=128, write_page_checksum=True)
    pq.write_table(pq.read_table(data / "valid.parquet"), folder / "valid.parquet")
    return folder


def test_from_files_as_from_memory(
    small: LoadedSpec, streamed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    go(small, streamed, tmp_path / "files", said.append)
    assert "training rows (read from the files each epoch)" in said[0]
    monkeypatch.undo()
    go(small, streamed, tmp_path / "memory")
    one, other = (tmp_path / name / "model.safetensors" for name in ("files", "memory"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_while_it_is_read(
    small: LoadedSpec, streamed: Path, tmp_path: Path, workers: int
) -> None:
    """A part that comes tenth is garbage; the footer is not."""
    path = streamed / "train.parquet"
    good = path.read_bytes()
    settings = dataclasses.replace(SETTINGS, shuffle_rows=256)
    tenth = int(datamodule.Rows.open(small, [streamed], [], settings).training(0).sampler.chunks[9])
    group = pq.read_metadata(path).row_group(tenth).column(0)
    begin = group.dictionary_page_offset or group.data_page_offset
    path.write_bytes(good[:begin] + bytes(200) + good[begin + 200 :])
    out = tmp_path / "run"
    with pytest.raises(DataError) as stopped:
        go(small, streamed, out, shuffle_rows=256, workers=workers)
    message = str(stopped.value)
    assert message.startswith(f"{path} is broken (")
    assert ", in epoch 1 of 2 is intact: --resume continues from it" in message
    assert "\n" not in message
    assert step_of_last(out) in (4, 8)
    path.write_bytes(good)
    go(small, streamed, out, shuffle_rows=256, workers=workers, resume=True)
    go(small, streamed, tmp_path / "other", shuffle_rows=256)
    one, other = (p / "model.safetensors" for p in (out, tmp_path / "other"))
    assert one.read_bytes() == other.read_bytes()


def test_files_that_are_not_read_are_named(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for part in ("train", "valid"):
        (folder / part).mkdir(parents=True)
        (folder / part / "a.parquet").symlink_to(data / f"{part}.parquet")
    (folder / "train" / "_b.parquet").symlink_to(data / "train.parquet")
    said: list[str] = []
    settings = Settings(compile=False, batch_size=256, limit_rows=512)
    run.train(small, run.Place([folder], tmp_path / "out"), settings, said.append)
    left_out = folder / "train" / "_b.parquet"
    assert said[1] == f"not read, because their names begin with `.` or `_`: {left_out}"


def test_ctrl_c(data: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    command = [
        sys.executable, "-m", "homespec", "train", tmp_path / "small.yaml", "--data", data,
        "--out", tmp_path / "run", "--epochs", "1000", "--batch-size", "128", "--no-compile",
        "--limit-rows", "1500",
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        # what is started in the background ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("epoch 3/1000"):
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.count("\n") == 1
    assert err.startswith("interrupted. The checkpoint at step ")
    assert err.endswith("of 1000 is intact: --resume continues from it\n")
    assert step_of_last(tmp_path / "run") >= 22


# ---------------------------------------------------------------- memory


def short_of_memory(*_: Any, **__: Any) -> Any:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")


@pytest.mark.parametrize("where", ["build", "step"])
def test_memory_that_runs_out_is_told_by_feature_rows_and_bytes(
    data: Path, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that do not fit, and moments, which come with the first step."""
    spec = homespec.loads(SMALL)
    if where == "build":
        monkeypatch.setattr(runtime, "instantiate", short_of_memory)
    else:
        monkeypatch.setattr(torch.optim.Adam, "step", short_of_memory)
    with pytest.raises(RunError) as told:
        go(spec, data, tmp_path)
    message = str(told.value)
    doing = {"build": "building", "step": "training"}[where]
    assert message.startswith(f"memory ran out while {doing} `small`: its weights are ")
    assert "feature `user_id` has 1,001 rows of 8, 32,032 bytes" in message
    assert message.endswith("No checkpoint exists yet") == (where == "step")
    assert "\n" not in message


@pytest.mark.timeout(600)
def test_a_table_that_does_not_fit(data: Path, tmp_path: Path) -> None:
    """The real error of torch, on the command line: one line, and no mistake of ours."""
    text = SMALL.replace("{id: {buckets: 1000}, dim: 8}", "{id: {buckets: 50000000}, dim: 64}", 1)
    (tmp_path / "large.yaml").write_text(text)
    code = (
        "import resource, sys; from homespec.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30)); main()"
    )
    command = [sys.executable, "-c", code, "train", "large.yaml", "--data", data, "--no-compile"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 2
    assert done.stderr.startswith("error: memory ran out while building `small`: its weights are ")
    assert "feature `user_id` has 50,000,001 rows of 64, 12,800,000,256 bytes" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_other_errors_are_left_alone(small: LoadedSpec) -> None:
    with pytest.raises(RuntimeError, match="shape"), memory.explained(small.analysis, "building"):
        raise RuntimeError("shape '[2]' is invalid")

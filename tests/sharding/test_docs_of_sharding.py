"""The example and the code in docs/sharding.md train under torchrun, on two processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

import homespec

ROOT = Path(__file__).parents[2]
SPEC = """\
homespec: 1
name: small
features:
  user: {id: {buckets: 50}, dim: 8}
  video: {id: {vocab: 30}, dim: 8}
  history: {sequence: {of: [video], max_len: 3, encoder: din}}
tasks: {click: {label: is_click}, like: {label: is_like}}
family: mmoe
experts: {hidden: [8], width: 8}
"""
MY_DATA = """
import torch

def batches(rank):
    generator = torch.Generator().manual_seed(rank)
    for _ in range(3):
        ids = {name: torch.randint(0, 30, (16,), generator=generator) for name in ("user", "video")}
        ids["history.video"] = torch.randint(-1, 30, (16, 3), generator=generator)
        yield ids, {task: (ids["user"] % 2).float() for task in ("click", "like")}
"""
AGE = """\
homespec: 1
extends: model.yaml
features:
  age: {bucketize: {quantiles: 4}, dim: 4}
"""
SAVE = """
if state:
    import safetensors.torch
    safetensors.torch.save_file(state, "trained.safetensors")
"""


def torchrun(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    run = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    run += ["--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    return subprocess.run(
        [sys.executable, *run, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spec, and data in which even users click and odd ones like."""
    (tmp_path / "model.yaml").write_text(SPEC)
    (tmp_path / "with_age.yaml").write_text(AGE)
    generator = torch.Generator().manual_seed(0)
    user, video = torch.randint(0, 30, (2, 6400), generator=generator)
    columns = {"user": user, "video": video, "is_click": (user + 1) % 2, "is_like": user % 2}
    columns["age"] = torch.arange(6400) / 100
    table = pa.table({name: column.numpy() for name, column in columns.items()})
    past = [[int(v)] * int(v % 5) for v in video]
    table = table.append_column("history_video", pa.array(past, pa.list_(pa.int64())))
    pq.write_table(table, tmp_path / "train.parquet")
    return tmp_path


def logits(folder: Path, file: str, spec: str = "model.yaml") -> dict[str, torch.Tensor]:
    """Those of users 0 and 1, by the single-process model with the weights of a file."""
    loaded = homespec.load(folder / spec)
    model = homespec.build(loaded).eval()
    state = safetensors.torch.load_file(folder / file)
    homespec.build_module(loaded).load_logical_state(model, state)
    with torch.no_grad():
        ids = {"user": torch.tensor([0, 1]), "video": torch.tensor([3, 3])}
        more = {"history.video": torch.tensor([[3, 4, -1]] * 2), "age": torch.tensor([9.0, 9.0])}
        of_tasks: dict[str, torch.Tensor] = model(ids | more)
    return of_tasks


EXAMPLE = str(ROOT / "examples" / "sharding" / "train.py")
OPTIONS = ("--data", ".", "--out", "m.safetensors", "--batch-size", "64")


def test_the_example_learns(folder: Path) -> None:
    done = torchrun(folder, EXAMPLE, "with_age.yaml", *OPTIONS)
    assert done.returncode == 0, done.stderr[-4000:]
    losses = [float(loss) for loss in re.findall(r"^step \d+: loss (\S+)$", done.stdout, re.M)]
    assert len(losses) == 2  # of rank 0 alone
    assert losses[1] < losses[0] / 2
    assert done.stdout.count("wrote m.safetensors") == 1
    state = safetensors.torch.load_file(folder / "m.safetensors")
    assert state["features.age.boundaries"].tolist() == [16.0, 32.0, 48.0]
    found_logits = logits(folder, "m.safetensors", "with_age.yaml")
    assert found_logits["click"][0] > 0 > found_logits["click"][1]
    assert found_logits["like"][0] < 0 < found_logits["like"][1]


def test_the_example_refuses_batches_that_do_not_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from examples.sharding import train as example

    answers = {"init_process_group": None, "destroy_process_group": None}
    for name, answer in {**answers, "get_backend": "gloo", "get_world_size": 2}.items():
        monkeypatch.setattr(example.dist, name, lambda *_, answer=answer: answer)
    out = folder / "m.safetensors"
    words = [str(folder / "model.yaml"), "--data", str(folder), "--out", str(out)]
    done = CliRunner().invoke(example.main, [*words, "--batch-size", "63"])
    assert done.exit_code == 2
    assert "--batch-size must be a multiple of the number of processes" in done.output
    assert not out.exists()


def test_the_code_in_the_docs_runs(folder: Path) -> None:
    text = (ROOT / "docs" / "sharding.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    (folder / "my_data.py").write_text(MY_DATA)
    (folder / "own_loop.py").write_text(code + SAVE)
    done = torchrun(folder, "own_loop.py")
    assert done.returncode == 0, done.stderr[-4000:]
    assert logits(folder, "trained.safetensors")["click"].isfinite().all()

"""`export --user-features`: folders whose requests are one user with many candidates."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from small_run import SPEC, TINY, write_run
from test_triton import parsed, tensors

import homespec
from homespec.cli.export import export
from homespec.export import ExportError, Weights, triton
from homespec.export.aotinductor import Package
from homespec.export.graph_identity import graph_sha256
from homespec.export.inputs import inputs_of
from homespec.export.onnx_file import Session
from homespec.export.run import check_same_user, export_run, replace_weights
from homespec.export.samples import as_rows
from homespec.export.subject import Options, Subject
from homespec.schema.input_tensors import input_tensors
from homespec.train.torch_compile import obstacle

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
compiles = [
    pytest.mark.compiles,
    pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine"),
]
PAGES = Path(__file__).parents[2] / "examples" / "serving"
FEED = """\
homespec: 1
name: feed
family: mmoe
features:
  user_id: {id: {buckets: 50}, dim: 4}
  asr: {dense: 3}
  video_id: {id: {buckets: 50}, dim: 4}
  history: {sequence: {of: [video_id], max_len: 5, encoder: {din: {hidden: [4], activation: relu}}}}
tasks: {click: {}, like: {where: click}}
experts: {width: 4, hidden: []}
"""
USER = ("user_id", "history")
OPTIONS = Options(user_features=("history", "user_id"))


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of two days."""
    folder = tmp_path_factory.mktemp("feeds")
    return [write_run(folder / f"day{seed}", seed, None, FEED) for seed in (1, 2)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, feeds: list[Path], worker_id: str) -> Path:
    """The first one, exported in both formats; never changed. Compiled once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    out = shared / "feed"
    with (shared / "feed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            export_run(feeds[0], out, "both", OPTIONS, overwrite=False, say=lambda line: None)
    return out


# ---------------------------------------------------------------- what a folder says


def test_samples_and_agreement_are_of_requests(feeds: list[Path]) -> None:
    """The user's tensors have one row; what is expected is that of rows that repeat them."""
    subject = Subject(feeds[0], OPTIONS)
    assert subject.user_features == USER
    assert subject.of_user == ("user_id", "history.video_id")
    for rows, features in subject.batches.items():
        shapes = {name: len(tensor) for name, tensor in features.items()}
        assert shapes == {"user_id": 1, "asr": rows, "video_id": rows, "history.video_id": 1}
        whole = as_rows(subject.inputs, features)
        expected = Subject(feeds[0], Options()).expected(whole)
        torch.testing.assert_close(subject.expected(features), expected, rtol=0, atol=0)
        with torch.no_grad():
            found = subject.served(features)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weights", ["bf16", "int8"])
def test_smaller_tables(feeds: list[Path], weights: Weights) -> None:
    """Rows are made float32 for the user's one row too."""
    subject = Subject(feeds[0], dataclasses.replace(OPTIONS, weights=weights))
    features = subject.features(7)
    with torch.no_grad():
        found = subject.served(features)
    torch.testing.assert_close(found, subject.expected(features), rtol=1e-5, atol=1e-6)


def test_code_is_another_for_other_users_features() -> None:
    spec = homespec.loads(FEED)
    tasks = tuple(spec.tasks)
    hashes = {
        graph_sha256(spec, tasks, "logits", user_features=user)
        for user in ((), ("user_id",), USER, ("history", "video_id"))
    }
    assert len(hashes) == 4
    assert graph_sha256(spec, tasks, "logits") in hashes


def test_triton_gets_one_row_of_the_user_and_no_batches() -> None:
    spec = homespec.loads(SPEC)
    names = [tensor.name for tensor in input_tensors(spec)]
    numbers = dict.fromkeys(names, "float32")
    inputs = inputs_of(spec, names, numbers, ("user_id", "history"))
    texts = triton.aoti_configs("served", inputs, ["click"], "cpu")
    texts |= triton.onnx_configs("served", inputs, ["click"])
    for text in texts.values():
        config = parsed(text)
        assert "requests cannot be batched" in text
        assert config.max_batch_size == 0
        for one, (_, _, dims) in zip(inputs, tensors(config.input), strict=True):
            assert dims == [1 if one.name.startswith(("user_id", "history")) else -1, *one.row]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("user", "--user-features: there is no feature `user`. Did you mean `user_id`?"),
        ("history.video_id", "--user-features: `history.video_id` is a tensor of `history`."),
        ("user_id,asr,video_id,history", "--user-features: all features are the user's"),
        (",", "no user feature is given"),
    ],
)
def test_mistakes_are_one_line(feeds: list[Path], words: str, message: str, tmp_path: Path) -> None:
    command = [str(feeds[0]), "-o", str(tmp_path / "out"), "--user-features", words]
    done = CliRunner().invoke(export, [*command, "--format", "onnx"])
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "out").exists()


def test_a_cross_is_left_out(tmp_path: Path) -> None:
    pair = "  pair: {cross: {of: [user_id, video_id], buckets: 20}, dim: 4}\ntasks:"
    run = write_run(tmp_path / "run", 1, None, FEED.replace("tasks:", pair))
    command = [str(run), "-o", str(tmp_path / "out"), "--user-features", "user_id,pair"]
    done = CliRunner().invoke(export, [*command, "--format", "onnx"])
    assert done.exit_code == 2
    assert "--user-features: `pair` is a cross, which the model computes." in done.output


def test_a_folder_keeps_its_user_features() -> None:
    before = {"user_features": ["user_id", "history"]}
    check_same_user(Options(), before, Path("out"))
    check_same_user(OPTIONS, before, Path("out"))
    other = Options(user_features=("user_id",))
    with pytest.raises(ExportError, match="out is compiled for the user features user_id, history"):
        check_same_user(other, before, Path("out"))
    with pytest.raises(ExportError, match="--user-features user_id: out is compiled for no user"):
        check_same_user(other, {}, Path("out"))


# ---------------------------------------------------------------- files that are compiled


class TestCompiled:
    pytestmark = compiles

    def test_the_manifest_says_who_has_one_row(self, made: Path) -> None:
        about = json.loads((made / "manifest.json").read_text())
        assert about["user_features"] == [*USER]
        shapes = {name: each["shape"] for name, each in about["inputs"].items()}
        assert shapes == {
            "user_id": [1], "asr": ["batch", 3], "video_id": ["batch"], "history.video_id": [1, 5],
        }  # fmt: skip
        assert about["checked"]["batches"] == [1, 2, 7, 64, 1000]
        assert Package(made / "model.pt2").metadata["user_inputs"] == "user_id,history.video_id"
        assert "`user_id`, `history`" in (made / "README.md").read_text()
        samples = load_file(made / "sample_inputs.safetensors")
        assert {n: len(t) for n, t in samples.items()}["user_id"] == 1
        assert len(load_file(made / "sample_outputs.safetensors")["click"]) == 64

    def test_any_number_of_candidates(self, made: Path, feeds: list[Path]) -> None:
        subject = Subject(feeds[0], OPTIONS)
        scores = (Package(made / "model.pt2"), Session(made / "model.onnx"))
        for rows in (1, 3, 500):
            features = subject.features(rows)
            for score in scores:
                expected = subject.expected(features)
                torch.testing.assert_close(score(features), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("name", "rows", "message"),
        [
            ("user_id", 4, r"the input `user_id` must be \[1\], not \[4\]"),
            ("history.video_id", 4, r"`history.video_id` must be \[1, 5\], not \[4, 5\]"),
            ("video_id", 3, "the input `video_id` has 3 rows, and `asr` has 4"),
            ("video_id", 1, "the input `video_id` has 1 rows, and `asr` has 4"),
        ],
    )
    def test_other_rows_are_refused(
        self, made: Path, feeds: list[Path], name: str, rows: int, message: str
    ) -> None:
        features = Subject(feeds[0], OPTIONS).features(4)
        wrong = features[name].expand(4, *features[name].shape[1:])[:rows].contiguous()
        with pytest.raises(RuntimeError, match=message):
            Package(made / "model.pt2")(features | {name: wrong})
        with pytest.raises(Exception, match=name):
            Session(made / "model.onnx")(features | {name: wrong})

    def test_weights_of_the_next_day(self, made: Path, feeds: list[Path], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(made, tmp_path / "served"))
        replace_weights(feeds[1], folder, folder, OPTIONS, lambda line: None)
        features = (today := Subject(feeds[1], OPTIONS)).features(64)
        expected = today.expected(features)
        for score in (Package(folder / "model.pt2"), Session(folder / "model.onnx")):
            torch.testing.assert_close(score(features), expected, rtol=1e-4, atol=1e-5)
        assert json.loads((folder / "manifest.json").read_text())["user_features"] == [*USER]

    @pytest.mark.parametrize("change", ["user_id", "asr"])
    def test_weights_of_a_spec_without_a_feature(
        self, made: Path, change: str, tmp_path: Path
    ) -> None:
        lines = [line for line in FEED.splitlines() if not line.startswith(f"  {change}:")]
        run = write_run(tmp_path / "run", 1, None, "\n".join(lines) + "\n")
        folder = Path(shutil.copytree(made, tmp_path / "served"))
        with pytest.raises(ExportError, match=f"feature `{change}` was removed"):
            replace_weights(run, folder, folder, Options(), lambda line: None)
        only = write_run(tmp_path / "only", 1, None, TINY)
        with pytest.raises(ExportError, match="do not fit the model"):
            replace_weights(only, folder, folder, Options(), lambda line: None)

    @pytest.mark.parametrize("page", ["score_torch.py", "score_onnx.py"])
    def test_pages_score_the_sample(self, made: Path, page: str) -> None:
        command = [sys.executable, str(PAGES / page), str(made)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("64 rows are as the trained model scores them\n")

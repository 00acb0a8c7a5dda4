"""What an export says of its inputs and outputs, and the rows that it is tried with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from small_run import SPEC, write_data, write_run

import homespec
from homespec.export import ExportError, manifest
from homespec.export.graph_identity import differences, graph_sha256
from homespec.export.number_types import number_types
from homespec.export.subject import Options, Subject
from homespec.train.tensor_bytes import digest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def subject(runs: list[Path]) -> Subject:
    return Subject(runs[1], Options())


def test_samples_hold_every_kind_of_value(subject: Subject) -> None:
    """Known, unknown and missing values, boundaries themselves, histories of every length."""
    rows = subject.features(1000)
    assert {name: tensor.dtype for name, tensor in rows.items()} == {
        each.name: each.torch_dtype for each in subject.inputs
    }
    assert set(rows["tab"].tolist()) == {-1, 0, 1, 2, 3, 4, 5, 6, 7}
    assert rows["user_id"].max() > 2**50
    assert (rows["user_id"] == -1).sum() < 1000
    for boundary in (0.35, 1, 2.5):
        assert (rows["duration"] == boundary).sum() > 10
        assert ((rows["duration"] - boundary).abs() < 0.2).sum() > 50
    assert (rows["days"] == torch.tensor(31.5)).sum() > 10  # of the run, not of the spec
    assert rows["days"].isnan().any()
    events = (rows["history.video_id"] != -1).sum(1)
    assert set(events.tolist()) >= {0, 1, 2, 3, 4, 5, 6}
    assert (rows["history.video_id"] == rows["video_id"][:, None]).sum() > 50
    vectors = rows["asr"].isnan()
    assert vectors.all(1).any()
    assert (vectors.any(1) & ~vectors.all(1)).any()


def test_samples_are_the_same_each_time(subject: Subject) -> None:
    for name, tensor in subject.features(7).items():
        torch.testing.assert_close(
            tensor, subject.features(7)[name], rtol=0, atol=0, equal_nan=True
        )


def test_outputs_are_what_tasks_mean(subject: Subject, runs: list[Path]) -> None:
    features = subject.features(64)
    meant = subject.expected(features)
    logits = Subject(runs[1], Options(output="logits")).expected(features)
    torch.testing.assert_close(meant["minutes"], 60 * logits["minutes"])
    for task in ("click", "like", "follow", "click_and_like"):
        torch.testing.assert_close(meant[task], logits[task].sigmoid())
    torch.testing.assert_close(meant["click_and_like"], meant["click"] * meant["like"])
    about = manifest.about_tasks(subject.spec, subject.tasks, "probabilities")
    assert about["click_and_like"]["product"] == ["click", "like"]
    assert about["like"]["given"] == "click"
    assert (about["minutes"]["output"], about["minutes"]["unit"]) == ("estimate", 1.0)
    about = manifest.about_tasks(subject.spec, subject.tasks, "logits")
    assert (about["click"]["output"], about["minutes"]["unit"]) == ("logit", 60.0)


@pytest.mark.parametrize(
    ("encoder", "searches"),
    [("din", False), ("{twin: {top: 3}}", True), ("{sim: {top: 3}}", True)],
)
def test_what_searches_by_scores(encoder: str, searches: bool, tmp_path: Path, data: Path) -> None:
    spec = SPEC.replace("{sim: {search: hard, by: video_id, top: 3}}", encoder)
    run = write_run(tmp_path / "run", 1, data, spec)
    assert Subject(run, Options()).searches is searches


def test_tasks_can_be_chosen(runs: list[Path]) -> None:
    chosen = Subject(runs[1], Options(tasks=("click_and_like", "minutes")))
    assert chosen.tasks == ("minutes", "click_and_like")
    features = chosen.features(7)
    for task, wanted in Subject(runs[1], Options()).expected(features).items():
        if task in chosen.tasks:
            torch.testing.assert_close(chosen.served(features)[task], wanted)
    with pytest.raises(
        ExportError, match=r"--tasks: there is no task `clik`. Did you mean `click`"
    ):
        Subject(runs[1], Options(tasks=("clik",))).features(1)


def test_vectors_of_text_ids_are_those_of_the_docs() -> None:
    page = (DOCS / "ids.md").read_text()
    table = {
        text: int(found) for text, found in re.findall(r"^\| `\"(.*)\"` \| `(-?\d+)` ", page, re.M)
    }
    vectors = manifest.about_text_ids()["vectors"]
    assert len(vectors) >= 10
    for vector in vectors:
        assert table.get(vector["text"], vector["id"]) == vector["id"], vector


def test_weights_have_one_hash_in_runs_and_exports(runs: list[Path]) -> None:
    """A run that starts from them keeps it in metrics.json, a server in the package."""
    weights = safetensors.torch.load_file(runs[1] / "model.safetensors")
    assert Subject(runs[1], Options()).weights_sha256 == digest(weights)


def test_types_of_numbers_without_the_data(runs: list[Path], tmp_path: Path) -> None:
    spec = homespec.loads(SPEC)
    lost = write_run(tmp_path / "runs" / "lost", 1, tmp_path / "gone")
    with pytest.raises(ExportError, match=r"the numbers of `duration`, `days`, .* say --numbers"):
        number_types(spec, lost, None)
    assert set(number_types(spec, lost, "float64").values()) == {"float64"}
    (lost / "settings.json").write_text("[" * 100_000)
    with pytest.raises(ExportError, match="RecursionError"):
        number_types(spec, lost, None)
    other = write_data(tmp_path / "other")
    (other / "train.parquet").rename(other / "train.csv")
    with pytest.raises(ExportError, match="cannot be read"):
        number_types(spec, write_run(tmp_path / "runs" / "other", 1, other), None)


def test_the_graph_is_the_same_in_other_words() -> None:
    before = homespec.loads(SPEC)
    tasks = tuple(before.tasks)
    same = homespec.loads(SPEC.replace("name: served", "name: other\n# a comment"))
    trained_otherwise = homespec.loads(SPEC.replace("where: click", "where: click, weight: 3.0"))
    promising = homespec.loads(f"{SPEC}expect: {{budget: {{experts: 64}}}}")
    for now in (same, trained_otherwise, promising):
        assert graph_sha256(before, tasks, "logits") == graph_sha256(now, tasks, "logits")
        assert differences(before, now) == ""
    assert differences(promising, before) == ""
    assert graph_sha256(before, tasks, "probabilities") != graph_sha256(before, tasks, "logits")
    assert graph_sha256(before, tasks[:1], "logits") != graph_sha256(before, tasks, "logits")
    kind = homespec.loads(SPEC.replace("follow: {}", "follow: {kind: regression}"))
    assert graph_sha256(before, tasks, "logits") != graph_sha256(kind, tasks, "logits")
    assert "follow" in differences(before, kind)

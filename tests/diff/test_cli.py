"""`homespec diff`: formats, exit codes, folders, stdin and commits."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from homespec.cli.main import cli
from homespec.diagnostics.render import FORMATS

HERE = Path(__file__).parent
OLD, NEW = "shorts.yaml", "shorts.new.yaml"


def diff(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(cli, ["diff", *words], input=stdin, standalone_mode=False)


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The spec of the README, and the same with a task more and more experts."""
    monkeypatch.chdir(tmp_path)
    text = (HERE / OLD).read_text("utf-8")
    (tmp_path / OLD).write_text(text, "utf-8")
    text = text.replace("[like, follow]", "[like, follow, share]")
    text = text.replace("tasks:", "experts: {meta: {shared: 3}}\ntasks:") + "  share: {}\n"
    (tmp_path / NEW).write_text(text, "utf-8")
    return tmp_path


@pytest.mark.parametrize("output_format", [*FORMATS, "markdown"])
def test_formats(output_format: str, specs: Path, golden: Callable[[Path, str], None]) -> None:
    result = diff(OLD, NEW, "--format", output_format)
    assert result.return_value == 0
    golden(HERE / f"{output_format}.out", result.stdout)


@pytest.mark.parametrize("output_format", [*FORMATS, "markdown"])
def test_every_format_names_both_places(output_format: str, specs: Path) -> None:
    changes = diff(OLD, NEW, "--format", output_format).stdout.split('"specs"')[0]
    assert changes.count(NEW) >= 2, "one for each change"
    assert changes.count(OLD) >= 2


def test_a_task_more_leaves_others_as_they_are(specs: Path) -> None:
    """The README's numbers, counted by hand."""
    text = (specs / NEW).read_text("utf-8").replace("experts: {meta: {shared: 3}}\n", "")
    (specs / NEW).write_text(text, "utf-8")
    (spec,) = json.loads(diff(OLD, NEW, "--format", "json").stdout)["specs"]
    same = [task for task, one in spec["tasks"].items() if one["logits"] == "same"]
    assert same == ["click", "finish", "like", "follow"]
    assert spec["weights"] == {"kept": 208, "reordered": 0, "resized": 0, "new": 24, "dropped": 0}
    assert spec["parameters"]["after"] - spec["parameters"]["before"] == 17_803


@pytest.mark.parametrize(
    ("classes", "code"),
    [("", 0), ("interface", 0), ("checkpoint", 1), ("interface, checkpoint", 1), ("cosmetic", 0)],
)
def test_fail_on(classes: str, code: int, specs: Path) -> None:
    result = diff(OLD, NEW, "--fail-on", classes, "--format", "concise")
    assert result.return_value == code
    assert ("error[HS601]" in result.stdout) == bool(code)


@pytest.mark.parametrize(("version", "code"), [("1.9.0", 1), ("2.0.0", 0), ("2.0.0-rc.1", 0)])
def test_a_major_version_approves_what_breaks(version: str, code: int, specs: Path) -> None:
    for file, said in ((OLD, "1.4.2"), (NEW, version)):
        text = (specs / file).read_text("utf-8")
        (specs / file).write_text(text.replace("name:", f"version: {said}\nname:", 1), "utf-8")
    result = diff(OLD, NEW, "--fail-on", "checkpoint", "--format", "full")
    assert result.return_value == code
    assert (f"version {version} approves breaking changes" in result.stdout) == (code == 0)


def test_was_says_what_is_the_same(specs: Path) -> None:
    text = (specs / OLD).read_text("utf-8")
    text = text.replace("like, follow]", "like, pursue]").replace(
        "follow: {", "pursue: {was: follow, "
    )
    (specs / NEW).write_text(text, "utf-8")
    result = diff(OLD, NEW, "--format", "json")
    (spec,) = json.loads(result.stdout)["specs"]
    assert {change["name"] for change in json.loads(result.stdout)["changes"]} == {"task-renamed"}
    assert (spec["weights"]["kept"], spec["weights"]["new"]) == (208, 0)
    assert {one["logits"] for one in spec["tasks"].values()} == {"same"}


def test_a_class_that_is_not_there_is_refused(specs: Path) -> None:
    assert "`shape` is not one of interface, checkpoint" in str(
        diff(OLD, NEW, "--fail-on", "shape").exception
    )


def test_equal_specs(specs: Path) -> None:
    result = diff(OLD, OLD)
    assert (result.return_value, result.stdout) == (0, "")
    assert result.stderr == "1 spec compared, no change\n"


def test_stdin_is_a_spec(specs: Path) -> None:
    result = diff(OLD, "-", "--format", "concise", stdin=(specs / NEW).read_text("utf-8"))
    assert result.stdout.startswith("<stdin>:")
    assert "HS601" in result.stdout


def test_errors_of_a_spec_are_reported_as_validate_does(specs: Path) -> None:
    (specs / NEW).write_text("homespec: 1\nname: x\n", "utf-8")
    result = diff(OLD, NEW)
    assert (result.return_value, result.stdout) == (1, "")
    assert "missing-key" in result.stderr


def test_errors_are_in_the_format_that_is_asked_for(specs: Path) -> None:
    (specs / NEW).write_text("homespec: 1\nname: x\n", "utf-8")
    assert diff(OLD, NEW, "--format", "concise").stderr.startswith("shorts.new.yaml:")


def test_folders_are_compared_by_name(specs: Path) -> None:
    for folder, names in {"a": ["both", "gone"], "b": ["both", "added"]}.items():
        (specs / folder).mkdir()
        for name in names:
            text = (specs / OLD).read_text("utf-8")
            (specs / folder / f"{name}.yaml").write_text(text, "utf-8")
    result = diff("a", "b", "--format", "concise")
    assert result.stdout.splitlines() == [
        "b/added.yaml:2:1: note[HS698] spec-added: this spec is new (cosmetic)",
        "a/gone.yaml:2:1: note[HS699] spec-removed: this spec was removed (interface)",
    ]
    assert diff("a", "b", "--fail-on", "interface").return_value == 1


# ---------------------------------------------------------------- commits


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@x.invalid"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(specs: Path) -> Path:
    """A repository with a spec that extends another one, both changed after the commit `old`."""
    base = (specs / OLD).read_text("utf-8")
    folder = specs / "repo" / "models"
    folder.mkdir(parents=True)
    (folder / "_base.yaml").write_text(base, "utf-8")
    (folder / "model.yaml").write_text("homespec: 1\nextends: _base.yaml\nname: model\n", "utf-8")
    (folder / "gone.yaml").write_text(base, "utf-8")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "old")
    git(folder, "tag", "old")
    (folder / "_base.yaml").write_text((specs / NEW).read_text("utf-8"), "utf-8")
    (folder / "gone.yaml").unlink()
    return folder


def test_a_commit_is_read_with_its_bases(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    result = diff("model.yaml", "--against", "old", "--format", "full")
    assert "task-added: task `share` is new (checkpoint)" in result.stdout
    assert "::: _base.yaml@old:" in result.stdout
    assert "weights: 200 kept, 8 resized, 29 new" in result.stdout


def test_a_folder_against_a_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.parent)
    result = diff("models", "--against", "old", "--format", "json")
    changes = json.loads(result.stdout)
    removed = [c["span"]["file"] for c in changes["changes"] if c["name"] == "spec-removed"]
    assert removed == ["models/gone.yaml"]
    assert [spec["new"] for spec in changes["specs"]] == ["models/model.yaml"]


def test_a_spec_that_had_errors_is_not_compared(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    Path("bad.yaml").write_text("homespec: 1\nname: x\n", "utf-8")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "bad")
    shutil.copy("_base.yaml", "bad.yaml")
    result = diff(".", "--against", "HEAD", "--format", "concise")
    assert result.return_value == 0
    assert "HS697" in result.stdout


def test_a_file_that_is_gone_against_a_commit(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    result = diff("gone.yaml", "--against", "HEAD", "--fail-on", "interface")
    assert result.return_value == 1
    assert "spec-removed" in result.stdout


def test_what_is_never_checked_is_not_gone(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden folders, and links to specs that are checked by their own names."""
    monkeypatch.chdir(repository)
    Path(".drafts").mkdir()
    shutil.copy("_base.yaml", ".drafts/draft.yaml")
    shutil.copy("_base.yaml", "plain.yaml")
    Path("link.yaml").symlink_to("plain.yaml")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "more")
    result = diff(".", "--against", "HEAD")
    assert (result.return_value, result.stdout) == (0, "")
    assert result.stderr == "2 specs compared, no change\n"
    Path("link.yaml").unlink()
    shutil.rmtree(".drafts")
    assert diff(".", "--against", "HEAD").stdout == ""
    assert "spec-removed" in diff(".drafts", "--against", "HEAD", "--format", "json").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["model.yaml", "--against", "nowhere"],
            "the repository does not have the commit `nowhere`",
        ),
        (
            ["model.yaml", "--against", "--output=x"],
            "the repository does not have the commit `--output=x`",
        ),
        (["model.yaml", "model.yaml", "--against", "old"], "give one spec or one folder"),
        (["model.yaml"], "Give two specs or folders, or one with --against"),
        (["-", "--against", "old"], "give one spec or one folder"),
        (["typo.yaml", "--against", "old"], "is neither in the working tree nor in commit old"),
        ([".", "model.yaml"], "two specs or two folders"),
        (["-", "-"], "stdin holds one spec"),
    ],
)
def test_wrong_usage(
    words: list[str], message: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    assert message in str(diff(*words).exception)


def test_without_a_repository(specs: Path) -> None:
    assert "is not in a git repository" in str(diff(OLD, "--against", "HEAD").exception)


def test_a_link_in_a_commit_is_not_followed(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its target would be text of the commit, or a file of the machine."""
    monkeypatch.chdir(repository)
    Path("model.yaml").unlink()
    Path("model.yaml").symlink_to("/etc/hostname")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "link")
    Path("model.yaml").unlink()
    Path("model.yaml").write_text((repository / "_base.yaml").read_text("utf-8"), "utf-8")
    result = diff("model.yaml", "--against", "HEAD")
    assert result.return_value == 0
    assert "spec-mended" in result.stdout
    assert "::: " not in result.stdout

"""Folders as arguments: every spec below is checked, and what is not is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from homespec.cli.main import cli
from homespec.diagnostics.render import FORMATS

GOOD = """\
homespec: 1
name: good
features: {user_id: {id: {buckets: 100}, dim: 8}, asr: {dense: 128}}
groups: {watch: [click, finish], social: [like, follow]}
tasks: {click: {}, finish: {}, like: {}, follow: {}}
"""
BAD = "bad: 1\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "specs").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "specs/a.yaml").write_text(GOOD)
    monkeypatch.chdir(root)
    return root


def run(*args: str) -> tuple[int, Result]:
    result = CliRunner().invoke(cli, args, standalone_mode=False)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.return_value, result


def left_out(*paths: str) -> dict[str, str]:
    """What a run names as not checked, and why."""
    _, result = run("validate", "--format", "json", *paths)
    return {one["file"]: one["reason"] for one in json.loads(result.stdout)["skipped"]}


def fill(project: Path) -> None:
    """One of everything that a folder may hide."""
    specs = project / "specs"
    (project.parent / "outside.yaml").write_text(BAD)
    (project / "inside").mkdir()
    (specs / ".hidden").mkdir()
    (specs / ".hidden/x.yaml").write_text(BAD)
    (specs / "_bad.yaml").write_text(BAD)
    (specs / "notes.txt").write_text("no spec")
    (specs / "notes").symlink_to("notes.txt")
    (specs / "out.yaml").symlink_to("../../outside.yaml")
    (specs / "nowhere.yaml").symlink_to("../../missing.yaml")
    (specs / "gone.yaml").symlink_to("missing.yaml")
    (specs / "folder").symlink_to("../inside")
    (specs / "folder.d").symlink_to("../../..")


SKIPPED = {
    "specs/.hidden": "a hidden folder",
    "specs/_bad.yaml": "a base, which no spec here extends",
    "specs/folder": "a link to a folder",
    "specs/folder.d": "a link that leads out of the project",
    "specs/gone.yaml": "a link to nothing",
    "specs/nowhere.yaml": "a link that leads out of the project",
    "specs/out.yaml": "a link that leads out of the project",
}


def test_what_is_left_out_is_counted_and_named(project: Path) -> None:
    fill(project)
    code, result = run("validate", "--strict", "specs")
    names = "".join(f"  {file}: {reason}\n" for file, reason in SKIPPED.items())
    assert (code, result.stdout) == (0, "")
    assert result.stderr == f"1 file checked, nothing found\n7 not checked:\n{names}"
    assert run("validate", "-q", "specs")[1].stderr == f"7 not checked:\n{names}"
    assert left_out("specs") == SKIPPED
    for output_format in FORMATS:
        _, result = run("validate", "--format", output_format, "specs")
        assert result.stderr.endswith(names)


def test_the_same_for_compile(project: Path) -> None:
    fill(project)
    for options in ([], ["--check"], ["--diff"]):
        code, result = run("compile", *options, "specs")
        assert code == 0
        assert "7 not checked:\n  specs/.hidden: a hidden folder\n" in result.stderr
    assert [path.name for path in (project / "generated").iterdir()] == ["a.py"]


@pytest.mark.parametrize("name", ["BAD.YAML", "bad.YML", "bad.Yaml", ".bad.yaml"])
def test_suffixes_in_capitals_are_those_of_specs(project: Path, name: str) -> None:
    (project / "specs" / name).write_text(BAD)
    code, result = run("validate", "--format", "concise", "specs")
    assert code == 1
    assert result.stdout.startswith(f"specs/{name}:1:1: error[")


def test_a_spec_in_capitals_is_compiled_and_has_no_orphan(project: Path) -> None:
    (project / "specs/UP.YAML").write_text(GOOD)
    assert run("compile", "specs")[1].stdout == "wrote generated/UP.py\nwrote generated/a.py\n"
    assert run("compile", "--check", "specs")[0] == 0


@pytest.mark.parametrize("place", ["specs/other.yaml", "bases/other.yaml", "specs/_other.yaml"])
def test_links_to_specs_of_the_project_are_checked_once(project: Path, place: str) -> None:
    (project / "bases").mkdir()
    (project / place).write_text(BAD)
    for name in ("link.yaml", "more.yaml"):
        (project / "specs" / name).symlink_to(f"../{place}")
    code, result = run("validate", "--format", "concise", "specs")
    own = place == "specs/other.yaml"
    assert code == 1
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        place if own else "specs/link.yaml"
    ]


def test_bases_that_are_extended_are_checked(project: Path) -> None:
    (project / "specs/_base.yaml").write_text(GOOD)
    (project / "specs/b.yaml").write_text("homespec: 1\nextends: _base.yaml\nname: b\n")
    assert left_out("specs") == {}
    (project / "specs/_other.yaml").write_text(GOOD)
    assert list(left_out("specs")) == ["specs/_other.yaml"]


def test_a_pipe_among_specs_is_an_error_at_once(project: Path) -> None:
    os.mkfifo(project / "specs/pipe.yaml")
    (project / "specs/link.yaml").symlink_to("pipe.yaml")
    code, result = run("validate", "--format", "concise", "specs")
    assert code == 1
    assert "specs/pipe.yaml:1:1: error[HS001]" in result.stdout
    assert "it is a pipe" in result.stdout


def test_a_folder_of_what_is_left_out_alone(project: Path) -> None:
    (project / "specs/a.yaml").rename(project / "specs/_a.yaml")
    with pytest.raises(click.UsageError, match=r"no \*.yaml .*not checked: specs/_a.yaml: a base"):
        run("validate", "specs")


def test_a_folder_that_is_a_link_out_of_the_repository(project: Path) -> None:
    (project.parent / "outside").mkdir()
    (project.parent / "outside/secret.yaml").write_text("token: SECRET\n")
    (project / "more").symlink_to("../outside")
    code, result = run("validate", "more", "specs")
    assert code == 1
    assert "error[HS024] link-outside" in result.stdout
    assert "SECRET" not in result.output


def test_given_folders_may_be_extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no repository."""
    monkeypatch.chdir(tmp_path)
    for folder in ("configs/deep", "bases"):
        Path(folder).mkdir(parents=True)
    Path("configs/_base.yaml").write_text(GOOD)
    Path("bases/_base.yaml").write_text(GOOD)
    Path("configs/deep/x.yaml").write_text("homespec: 1\nextends: ../_base.yaml\nname: x\n")
    Path("configs/deep/y.yaml").write_text(
        "homespec: 1\nextends: ../../bases/_base.yaml\nname: y\n"
    )
    assert "HS023" in run("validate", "configs/deep/x.yaml")[1].stdout
    both = run("validate", "configs/deep/x.yaml", "configs")[1].stdout
    assert both.count("error[HS023]") == 1
    assert "--> configs/deep/y.yaml:2" in both
    assert run("validate", "configs")[0] == 1
    Path("bases/z.yaml").write_text(GOOD)
    assert run("validate", "configs", "bases")[0] == 0


def test_many_are_counted_and_some_named(project: Path) -> None:
    for i in range(25):
        (project / f"specs/_{i:02}.yaml").write_text(GOOD)
    lines = run("validate", "specs")[1].stderr.splitlines()
    assert lines[1] == "25 not checked:"
    assert lines[-1] == "  and 5 more"
    assert len(left_out("specs")) == 25


@pytest.mark.parametrize("argument", ["specs", "./specs/", "specs/../specs", "."])
def test_names_are_as_short_as_may_be(project: Path, argument: str) -> None:
    (project / "specs/bad.yaml").write_text(BAD)
    assert run("validate", "--format", "concise", argument)[1].stdout.startswith("specs/bad.yaml:")

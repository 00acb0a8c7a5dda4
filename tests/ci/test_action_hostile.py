"""The GitHub Action on inputs and pull requests that try to be commands."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from action_runner import Runner
from repositories import TASK_GONE, changed, commit
from test_action import merged

from homespec.diagnostics.render.terminal import printable

Machine = Callable[..., Runner]

FOLDERS = (
    "two words",
    "$(touch made)",
    "`touch made`",
    "; touch made; #",
    "-x",
    "--set=name=other",
    "*",
    "' && touch made '",
    '" && touch made "',
)


def test_paths_are_only_paths(runner: Machine, team: Path) -> None:
    """Each line is one, with all its signs."""
    for folder in FOLDERS:
        shutil.copytree(team / "specs", team / folder)
    commit(team)
    before = sorted(path.name for path in team.iterdir())
    outcome = runner(team).run(paths="\n\n".join(FOLDERS), base="HEAD", compile_check="false")
    assert not outcome.failed, outcome.log
    assert f"{len(FOLDERS)} files checked, nothing found" in outcome.log
    assert outcome.log.count("1 spec compared, no change") == len(FOLDERS)
    assert outcome.summary.count("No spec changes.") == 1
    assert outcome.commands == []
    assert sorted(path.name for path in team.iterdir()) == before


def test_stale_files_below_such_a_path(runner: Machine, team: Path) -> None:
    (team / "specs").rename(team / "-x $(touch made)")
    outcome = runner(team).run(paths="-x $(touch made)")
    assert outcome.steps["compile"] == "failure"
    (error,) = outcome.annotations()
    assert "-x $(touch made)/generated/shorts.py is missing" in error.text
    assert not (team / "made").exists()


@pytest.mark.parametrize(
    "paths", ["specs\nnowhere", "$(echo specs)", "nowhere\ntouch made", "-", "--help"]
)
def test_paths_that_are_not_there(paths: str, runner: Machine, team: Path) -> None:
    outcome = runner(team).run(paths=paths)
    assert outcome.steps["validate"] == "failure"
    assert not (team / "made").exists()


@pytest.mark.parametrize(
    "base",
    ["$(touch made)", "--upload-pack=touch made", "-x", "x\n::add-mask::y", "a b", "HEAD; x"],
)  # fmt: skip
def test_a_base_is_only_a_name(base: str, runner: Machine, team: Path) -> None:
    outcome = runner(team).run(base=base)
    assert outcome.steps["base"] == "failure"
    assert [command.name for command in outcome.commands] == ["error"]
    assert f"commit to compare with, {base}, and" in outcome.commands[0].text
    assert not (team / "made").exists()


@pytest.mark.parametrize("fail_on", ["$(touch made)", "--help", "interface; touch made"])
def test_classes_are_only_names(fail_on: str, runner: Machine, team: Path) -> None:
    outcome = runner(team, **merged(team, TASK_GONE)).run(fail_on=fail_on)
    assert outcome.steps["diff"] == "failure"
    assert "is not one of interface, checkpoint" in outcome.log
    assert not (team / "made").exists()


def test_a_working_directory_with_blanks(runner: Machine, team: Path) -> None:
    models = team / "all models"
    models.mkdir()
    for name in ("specs", "generated"):
        (team / name).rename(models / name)
    commit(team)
    machine = runner(team)
    outcome = machine.run(working_directory="all models", base="HEAD")
    assert not outcome.failed, outcome.log
    assert "1 spec compared, no change" in outcome.log
    changed(models / "specs" / "shorts.yaml", {"rate: 0.02": "rates: 0.02"})
    outcome = machine.run(working_directory="all models")
    (error,) = outcome.annotations()
    assert error.properties["file"] == "all models/specs/shorts.yaml"  # from the workspace's root


COMMANDS = ("::add-mask::x", "::error::forged", "##[add-mask]x", "x ##[error]forged", "::debug::")


def test_names_of_a_pull_request_steer_nothing(runner: Machine, team: Path) -> None:
    """Its hidden folders and files that are not fresh are named in the log."""
    for command in COMMANDS:
        shutil.copytree(team / "specs", team / command / "specs")
        shutil.copytree(team / "specs", team / f".{command}")
    base = commit(team)
    outcome = runner(team).run(paths="\n".join([".", *COMMANDS]), base=base)
    for command in map(printable, COMMANDS):
        assert f".{command}: a hidden folder" in outcome.log
        assert f"{command}/generated/shorts.py is missing" in outcome.log
    assert [one.name for one in outcome.commands] == ["error"]
    assert outcome.commands[0].properties == {"title": "homespec compile --check"}


def test_texts_of_a_spec_steer_nothing(runner: Machine, team: Path) -> None:
    spec = team / "specs" / "shorts.yaml"
    keys = "".join(f'"{command}": 1\n' for command in COMMANDS)
    spec.write_text(spec.read_text("utf-8") + keys, "utf-8")
    outcome = runner(team).run()
    assert [one.name for one in outcome.commands] == ["error"] * len(COMMANDS)
    assert {one.properties["title"] for one in outcome.commands} == {"HS101 unknown-key"}

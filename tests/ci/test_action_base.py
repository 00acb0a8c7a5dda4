"""Which commit the GitHub Action compares with, in whole and in shallow clones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from action_runner import Outcome, Runner
from repositories import MORE_EXPERTS, TASK_GONE, changed, commit, git
from test_action import merged, pull_request

Machine = Callable[..., Runner]


def clone(team: Path, *options: str, ref: str) -> Path:
    """A checkout of one commit of the team's repository, as actions/checkout makes it."""
    folder = team.parent / "clone"
    git(team, "tag", "-f", "checked-out", ref)
    git(team.parent, "clone", "-q", *options, "--branch", "checked-out", team.as_uri(), str(folder))
    return folder


def run(runner: Runner, **inputs: str) -> Outcome:
    return runner.run(compile_check="false", **inputs)


def test_github_s_merge_commit_in_a_shallow_clone(runner: Machine, team: Path) -> None:
    """Its first parent is fetched; the base in the event may be older than that."""
    older = git(team, "rev-parse", "main")
    changed(team / "specs" / "shorts.yaml", MORE_EXPERTS)
    newer = commit(team, "another pull request")
    merged(team, TASK_GONE)
    shallow = clone(team, "--depth=1", ref="HEAD")
    outcome = run(runner(shallow, **pull_request(older)))
    assert not outcome.failed, outcome.log
    assert outcome.outputs["base"]["sha"] == newer
    assert "HS602" in outcome.log
    assert "HS601" not in outcome.log
    assert "experts" not in outcome.summary


def test_a_base_that_cannot_be_fetched(runner: Machine, team: Path) -> None:
    request = merged(team, TASK_GONE)
    shallow = clone(team, "--depth=1", ref="HEAD")
    git(shallow, "remote", "remove", "origin")
    outcome = run(runner(shallow, **request))
    assert outcome.steps["base"] == "failure"
    assert outcome.steps["diff"] == "skipped"
    (error,) = outcome.annotations()
    sha = request["event"]["pull_request"]["base"]["sha"]
    assert error.text == (
        f"This clone does not have the commit to compare with, {sha}, and cannot fetch it. Check "
        "out with `fetch-depth: 0`, or fetch it in a step before: "
        f"git fetch --depth=1 origin {sha}"
    )
    assert "| changes are allowed | **failed** |" in outcome.summary


def branch_behind_main(team: Path) -> tuple[dict[str, Any], str]:
    """A pull request whose branch left `main` before its last commit, and where it left."""
    left = git(team, "rev-parse", "main")
    git(team, "checkout", "-q", "-b", "branch")
    changed(team / "specs" / "shorts.yaml", TASK_GONE)
    commit(team)
    git(team, "checkout", "-q", "main")
    changed(team / "specs" / "shorts.yaml", MORE_EXPERTS)
    return pull_request(commit(team)), left


@pytest.mark.parametrize("event_name", ["pull_request", "pull_request_target"])
def test_the_branch_itself_in_a_whole_clone(event_name: str, runner: Machine, team: Path) -> None:
    """What has changed on `main` since is no change of the branch."""
    request, left = branch_behind_main(team)
    whole = clone(team, ref="branch")
    machine = runner(whole, **(request | {"event_name": event_name, "sha": "merge"}))
    outcome = run(machine)
    assert not outcome.failed, outcome.log
    assert outcome.outputs["base"]["sha"] == left
    assert "experts" not in outcome.summary


def test_the_branch_itself_in_a_shallow_clone(runner: Machine, team: Path) -> None:
    request, _ = branch_behind_main(team)
    shallow = clone(team, "--depth=1", ref="branch")
    outcome = run(runner(shallow, **(request | {"sha": "merge"})))
    assert not outcome.failed, outcome.log
    base = request["event"]["pull_request"]["base"]["sha"]
    assert outcome.outputs["base"]["sha"] == base
    (warning,) = outcome.annotations("warning")
    assert f"does not say where the branch left {base}" in warning.text


def test_a_branch_s_last_commit_that_is_a_merge(runner: Machine, team: Path) -> None:
    """Its first parent is of the branch; only GitHub's own merge commit is merged into `main`."""
    request, _ = branch_behind_main(team)
    git(team, "checkout", "-q", "branch")
    git(team, "merge", "-q", "-m", "update", "main")
    outcome = run(runner(clone(team, ref="branch"), **(request | {"sha": "merge"})))
    assert outcome.outputs["base"]["sha"] == request["event"]["pull_request"]["base"]["sha"]


def test_a_merge_queue(runner: Machine, team: Path) -> None:
    merged(team, TASK_GONE)
    base = git(team, "rev-parse", "main")
    shallow = clone(team, "--depth=1", ref="HEAD")
    event = {"merge_group": {"base_sha": base}}
    outcome = run(runner(shallow, event_name="merge_group", event=event))
    assert outcome.outputs["base"]["sha"] == base
    assert "HS602" in outcome.log


@pytest.mark.parametrize("base", ["released", "main"])
def test_a_tag_or_branch_that_is_asked_for(base: str, runner: Machine, team: Path) -> None:
    git(team, "tag", "-a", "-m", "x", "released", "main")
    sha = git(team, "rev-parse", "main")
    request = merged(team, TASK_GONE)
    shallow = clone(team, "--depth=1", "--no-tags", ref="HEAD")
    outcome = run(runner(shallow, **request), base=base)
    assert not outcome.failed, outcome.log
    assert outcome.outputs["base"]["sha"] == sha


def test_a_push_is_compared_with_nothing(runner: Machine, team: Path) -> None:
    outcome = run(runner(team, event_name="push", event={"before": "0" * 40}))
    assert (outcome.steps["base"], outcome.steps["diff"]) == ("success", "skipped")
    assert "this is not a pull request, and the input base is empty" in outcome.log

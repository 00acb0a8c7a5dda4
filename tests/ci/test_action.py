"""The GitHub Action on sound and broken specs; its steps are run by bash, as on a runner."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from action_runner import REPOSITORY, Runner
from repositories import MORE_EXPERTS, ROOT, TASK_GONE, WARNED, changed, commit, copy_own_specs, git

Machine = Callable[..., Runner]
MANIFEST = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS: list[dict[str, Any]] = MANIFEST["runs"]["steps"]


def pull_request(base: str, fork: bool = False) -> dict[str, Any]:
    head = {"repo": {"full_name": "stranger/models" if fork else REPOSITORY}}
    event = {"pull_request": {"base": {"sha": base}, "head": head}}
    return {"event_name": "pull_request", "event": event}


def merged(team: Path, changes: dict[str, str]) -> dict[str, Any]:
    """A pull request that changes the spec, checked out as GitHub does: merged into `main`."""
    base = git(team, "rev-parse", "main")
    git(team, "checkout", "-q", "-b", "branch")
    changed(team / "specs" / "shorts.yaml", changes)
    commit(team, "change")
    git(team, "checkout", "-q", "--detach", "main")
    git(team, "merge", "-q", "--no-ff", "-m", "merge", "branch")
    return pull_request(base)


# ---------------------------------------------------------------- what is written


def test_the_manifest_is_one_of_github() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions"]
    subprocess.run([*check, str(ROOT / "action.yml")], check=True)


def test_nothing_is_pasted_into_scripts() -> None:
    """Text in place of an expression would be code."""
    scripts = [step["run"] for step in STEPS if "run" in step]
    assert len(scripts) >= 6
    assert not [script for script in scripts if "${{" in script]
    assert all(step["shell"] == "bash" for step in STEPS if "run" in step)


def test_all_inputs_are_used_and_all_that_is_used_is_declared() -> None:
    text = (ROOT / "action.yml").read_text("utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(MANIFEST["inputs"])
    ids = {step["id"] for step in STEPS if "id" in step}
    assert set(re.findall(r"steps\.([\w-]+)\.", text)) <= ids


def test_others_actions_are_pinned_by_commit() -> None:
    used = re.findall(r"uses: (.*)", (ROOT / "action.yml").read_text("utf-8"))
    assert len(used) == 2
    for one in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)


# ---------------------------------------------------------------- runs


def test_it_installs_homespec_without_torch_and_without_code_of_the_workspace(
    installed: Path,
) -> None:
    packages = installed / "homespec" / "lib"
    names = {path.name for path in packages.glob("python*/site-packages/*")}
    assert "homespec" in names
    assert not names & {"torch", "numpy", "pyarrow", "lightning"}
    assert "code of a pull request ran" not in (installed / "log").read_text("utf-8")


def test_sound_specs(runner: Machine, team: Path) -> None:
    outcome = runner(team).run()
    assert not outcome.failed, outcome.log
    assert outcome.commands == []
    assert (outcome.steps["compile"], outcome.steps["diff"]) == ("success", "skipped")
    assert "| specs are valid | passed |" in outcome.summary
    assert "| changes are allowed | not run |" in outcome.summary
    assert outcome.given == {}
    assert Path(outcome.outputs["summary"]["file"]).read_text("utf-8") == outcome.summary


def test_the_specs_of_this_project(runner: Machine, tmp_path: Path) -> None:
    """As a pull request that changes none of them."""
    workspace = tmp_path / "project"
    copy_own_specs(workspace)
    git(workspace, "init", "-q")
    outcome = runner(workspace, **pull_request(commit(workspace))).run()
    assert not outcome.failed, outcome.log
    assert outcome.annotations() == outcome.annotations("warning") == []
    assert outcome.summary.endswith("\nNo spec changes.\n")


def test_a_broken_spec(runner: Machine, team: Path) -> None:
    changed(team / "specs" / "shorts.yaml", {"rate: 0.02": "rates: 0.02"})
    outcome = runner(team).run()
    steps = {name: outcome.steps[name] for name in ("validate", "compile", "base", "diff")}
    assert steps == {"validate": "failure", "compile": "skipped", "base": "skipped",
                     "diff": "skipped"}  # fmt: skip
    (error,) = outcome.annotations()
    assert error.properties["file"] == "specs/shorts.yaml"
    assert (error.properties["line"], error.properties["title"]) == ("15", "HS101 unknown-key")
    assert "| specs are valid | **failed** |" in outcome.summary


@pytest.mark.parametrize(("strict", "result"), [("true", "failure"), ("false", "success")])
def test_warnings_fail_by_choice_and_never_hide_the_rest(
    strict: str, result: str, runner: Machine, team: Path
) -> None:
    outcome = runner(team, **merged(team, WARNED)).run(strict=strict)
    assert outcome.steps["validate"] == result
    assert len(outcome.annotations("warning")) == 1  # the other steps do not repeat it
    assert (outcome.steps["compile"], outcome.steps["diff"]) == ("failure", "success")
    assert "### specs/shorts.yaml" in outcome.summary


def test_stale_files(runner: Machine, team: Path) -> None:
    changed(team / "specs" / "shorts.yaml", MORE_EXPERTS)
    outcome = runner(team).run()
    assert (outcome.steps["validate"], outcome.steps["compile"]) == ("success", "failure")
    (error,) = outcome.annotations()
    assert error.text.startswith("generated/shorts.py is stale: the spec has changed since\n")
    assert "run `homespec compile specs/shorts.yaml`" in error.text
    assert "| generated files are fresh | **failed** |" in outcome.summary
    assert runner_again(runner, team).run(compile_check="false").steps["compile"] == "skipped"


def runner_again(runner: Machine, team: Path) -> Runner:
    """Another job."""
    shutil.rmtree(team.parent / "temp")
    return runner(team)


@pytest.mark.parametrize(
    ("fail_on", "failed"), [("", False), ("numerics", False), ("interface, checkpoint", True)]
)
def test_a_pull_request_that_breaks_an_interface(
    fail_on: str, failed: bool, runner: Machine, team: Path
) -> None:
    request = merged(team, TASK_GONE)
    outcome = runner(team, **request).run(fail_on=fail_on, compile_check="false")
    assert outcome.failed is failed
    assert outcome.steps["diff"] == ("failure" if failed else "success")
    titles = {c.properties["title"] for c in outcome.annotations("error" if failed else "notice")}
    assert "HS602 task-removed" in titles
    assert "### specs/shorts.yaml" in outcome.summary
    assert ("**interface" in outcome.summary) is failed
    assert ("| changes are allowed | **failed** |" in outcome.summary) is failed
    assert "`click`, `finish`, `like` and `follow`: the same logits" in outcome.summary


def test_a_major_version_approves(runner: Machine, team: Path) -> None:
    changed(team / "specs" / "shorts.yaml", {"name: shorts\n": "name: shorts\nversion: 1.4.2\n"})
    commit(team)
    request = merged(team, TASK_GONE | {"1.4.2": "2.0.0"})
    outcome = runner(team, **request).run(fail_on="interface,checkpoint", compile_check="false")
    assert not outcome.failed
    assert "version 2.0.0 approves breaking changes" in outcome.summary


# ---------------------------------------------------------------- code scanning


@pytest.mark.parametrize(
    ("event", "uploads"),
    [({"event_name": "push"}, True), (pull_request("HEAD"), True),
     (pull_request("HEAD", fork=True), False)],
)  # fmt: skip
def test_sarif(event: dict[str, Any], uploads: bool, runner: Machine, team: Path) -> None:
    changed(team / "specs" / "shorts.yaml", {"rate: 0.02": "rates: 0.02"})
    commit(team)
    outcome = runner(team, **event).run(sarif="true")
    assert outcome.failed
    upload = outcome.given.get("github/codeql-action/upload-sarif")
    assert (upload is not None) is uploads
    file = outcome.outputs["validate"]["sarif"]
    (run,) = json.loads(Path(file).read_text("utf-8"))["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["HS101"]
    if upload:
        assert upload == {"sarif_file": file, "category": "homespec"}


def test_no_sarif_unless_asked_for(runner: Machine, team: Path) -> None:
    outcome = runner(team).run()
    assert outcome.outputs["validate"] == {"sound": "true"}


# ---------------------------------------------------------------- inputs


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"strict": "yes"}, "The input STRICT is neither true nor false."),
        ({"compile_check": ""}, "The input COMPILE_CHECK is neither true nor false."),
        ({"paths": " \n"}, "The input PATHS names no spec and no folder."),
    ],
)
def test_wrong_inputs(inputs: dict[str, str], said: str, runner: Machine, team: Path) -> None:
    outcome = runner(team).run(**inputs)
    assert [error.text for error in outcome.annotations()] == [said]
    assert outcome.steps["validate"] == "skipped"


def test_a_class_that_is_not_there(runner: Machine, team: Path) -> None:
    outcome = runner(team, **merged(team, TASK_GONE)).run(fail_on="shape")
    assert outcome.steps["diff"] == "failure"
    assert "`shape` is not one of interface, checkpoint" in outcome.log

"""docs/ci.md: its files are of their schemas, and its commands do what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from action_runner import KEPT, Runner
from repositories import MORE_EXPERTS, ROOT, TASK_GONE, changed, commit, git
from test_action import MANIFEST, merged

from homespec.schema.field_types import MAX_ENTRIES
from homespec.source import composer, extends, reader, yaml_rules

PAGE = (ROOT / "docs" / "ci.md").read_text("utf-8")
FILES = dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
WORKFLOWS = [name for name in FILES if name.startswith(".github/")]
GITLAB = yaml.safe_load(FILES[".gitlab-ci.yml"])["specs"]
CLASSES = "interface,checkpoint,promise"


def steps(name: str) -> list[dict[str, Any]]:
    (job,) = yaml.safe_load(FILES[name])["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def action_steps() -> Iterator[dict[str, Any]]:
    for name in WORKFLOWS:
        yield from (s for s in steps(name) if s.get("uses", "").startswith("OWNER/homespec@"))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table with this first heading."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.split("|")[1:-1]] for row in table]


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("name", "schema"),
    [*((name, "github-workflows") for name in WORKFLOWS), (".gitlab-ci.yml", "gitlab-ci")],
)
def test_files_are_of_their_schemas(name: str, schema: str, tmp_path: Path) -> None:
    file = tmp_path / "file.yml"
    file.write_text(FILES[name], "utf-8")
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    subprocess.run([*check, str(file)], check=True)


def test_hooks_are_configured(tmp_path: Path) -> None:
    """tests/ci/test_hooks.py runs this configuration."""
    file = tmp_path / "config.yaml"
    file.write_text(FILES[".pre-commit-config.yaml"], "utf-8")
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", str(file)], check=True)


def test_workflows_use_the_action_as_it_is() -> None:
    found = list(action_steps())
    assert len(found) == 3
    assert all(step.get("with", {}).keys() <= MANIFEST["inputs"].keys() for step in found)
    used = re.findall(r"steps\.homespec\.outputs\.([\w-]+)", PAGE)
    assert used
    assert set(used) <= MANIFEST["outputs"].keys()


def test_tables_of_the_action() -> None:
    inputs = {name: one.get("default", "") for name, one in MANIFEST["inputs"].items()}
    assert {name: default for name, default, _ in rows("input")} == inputs
    assert [name for name, _ in rows("output")] == list(MANIFEST["outputs"])


def test_table_of_the_hooks() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    names = {"yaml": "YAML", "json": "JSON", "python": "Python"}
    expected = []
    for hook in hooks:
        types = [names[t] for t in hook.get("types") or hook["types_or"]]
        expected.append([hook["id"], f"[{', '.join(hook.get('args', []))}]", " or ".join(types)])
    said = [[name, args.partition("`")[0], types] for name, args, types in rows("hook")]
    assert said == expected


def test_limits_are_those_of_the_code() -> None:
    said = PAGE.split("**Work is bounded.**")[1].split("\n*")[0].replace("\n ", "")
    assert reader.MAX_BYTES == 2**20
    assert f"1 MiB, {composer.MAX_VALUES:,} values and {yaml_rules.MAX_DEPTH} levels" in said
    assert f"bases {extends.MAX_CHAIN} files" in said
    assert f"section {MAX_ENTRIES:,} entries" in said


# ---------------------------------------------------------------- commands


@pytest.fixture
def shell(installed: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a line as CI does, with homespec installed."""
    kept = {key: value for key, value in os.environ.items() if KEPT.fullmatch(key)}
    path = f"{installed / 'homespec' / 'bin'}{os.pathsep}{kept['PATH']}"
    summary = tmp_path / "summary.md"

    def run(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", line],
            cwd=folder,
            env={**kept, "PATH": path, "GITHUB_STEP_SUMMARY": str(summary), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    return run


Shell = Callable[..., subprocess.CompletedProcess[str]]


def failing(lines: list[str], shell: Shell, folder: Path, **variables: str) -> list[str]:
    """The commands that fail, by their verbs; the lines that install homespec are left out."""
    lines = [line for line in lines if not line.startswith("pip install ")]
    assert len(lines) > 3
    failed = []
    for line in lines:
        done = shell(line, folder, **variables)
        assert done.returncode in (0, 1), done.stderr
        if done.returncode:
            failed.append(line.split()[1])
    return failed


@pytest.mark.parametrize(("changes", "expected"), [({}, []), (MORE_EXPERTS, ["compile", "diff"])])
def test_own_steps(
    changes: dict[str, str], expected: list[str], shell: Shell, team: Path, tmp_path: Path
) -> None:
    merged(team, changes)
    lines = [step["run"] for step in steps(".github/workflows/own.yaml") if "run" in step]
    assert failing(lines, shell, team, GITHUB_ACTIONS="true") == expected
    summary = (tmp_path / "summary.md").read_text("utf-8")
    assert ("### specs/shorts.yaml" if changes else "No spec changes.") in summary


@pytest.mark.parametrize(
    ("changes", "expected", "codes"),
    [
        ({}, [], []),
        (TASK_GONE, ["compile", "diff"], []),
        ({"rate: 0.02": "rates: 0.02"}, ["validate", "compile", "diff", "diff"], ["HS101"]),
    ],
)
def test_gitlab(
    changes: dict[str, str], expected: list[str], codes: list[str], shell: Shell, team: Path
) -> None:
    base = git(team, "rev-parse", "HEAD")
    changed(team / "specs" / "shorts.yaml", changes)
    commit(team)
    variables = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": base, "CI_PROJECT_DIR": str(team)}
    assert failing(GITLAB["script"], shell, team, **variables) == expected
    report = json.loads((team / GITLAB["artifacts"]["reports"]["codequality"]).read_text("utf-8"))
    assert [issue["check_name"].split()[0] for issue in report] == codes
    assert {issue["location"]["path"] for issue in report} <= {"specs/shorts.yaml"}
    assert all((team / path).exists() for path in GITLAB["artifacts"]["paths"])


def test_all_pages_fail_on_the_same_classes() -> None:
    assert (
        re.findall(r"(?:--fail-on|fail-on:) ([\w,]+,[\w,]+)$", PAGE, re.MULTILINE) == [CLASSES] * 3
    )


def test_a_promise_that_breaks_and_one_that_is_weakened(
    runner: Callable[..., Runner], team: Path
) -> None:
    """The policies of the page, with its spec."""
    (text,) = re.findall(r"^```yaml\n(homespec: 1\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    spec = team / "specs" / "feed.yaml"
    spec.write_text(text, "utf-8")
    commit(team)
    machine = runner(team)
    options = {"paths": "specs/feed.yaml", "base": "HEAD", "compile_check": "false"}
    assert not machine.run(**options, fail_on=CLASSES).failed

    spec.write_text(text.replace("expect:", "gates: {mixture: {sees: all}}\nexpect:"), "utf-8")
    broken = machine.run(**options, fail_on=CLASSES)
    assert broken.steps["validate"] == "failure"
    assert {c.properties["title"][:5] for c in broken.annotations()} >= {"HS312"}

    spec.write_text(text.replace("parameters: 10M", "parameters: 20M"), "utf-8")
    weaker = machine.run(**options, fail_on=CLASSES)
    assert (weaker.steps["validate"], weaker.steps["diff"]) == ("success", "failure")
    assert "promise" in weaker.summary

    approved = text.replace("parameters: 10M", "parameters: 20M").replace("1.4.2", "2.0.0")
    spec.write_text(approved, "utf-8")
    assert not machine.run(**options, fail_on=CLASSES).failed

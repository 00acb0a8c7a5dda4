"""The hooks, run by pre-commit in a team's repository as docs/ci.md says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from repositories import ROOT, changed, commit, copy_own_specs, git, skip_offline

PRE_COMMIT = (sys.executable, "-m", "pre_commit")
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
IDS = ("homespec-validate", "homespec-compile-check", "homespec-schema-check")

Hooks = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(product: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the specs of this project, and the hooks in its configuration."""
    folder = tmp_path_factory.mktemp("hooked")
    copy_own_specs(folder)
    (folder / "notes.md").write_text("Notes.\n", "utf-8")
    page = (ROOT / "docs" / "ci.md").read_text("utf-8")
    config = page.split("```yaml\n# .pre-commit-config.yaml\n")[1].split("```")[0]
    config = config.replace("https://github.com/OWNER/homespec", str(product))
    config = config.replace("rev: v0.1.0", f"rev: {git(product, 'rev-parse', 'HEAD')}")
    (folder / ".pre-commit-config.yaml").write_text(config, "utf-8")
    git(folder, "init", "-q")
    commit(folder)
    return folder


@pytest.fixture(scope="module")
def hooks(project: Path, shared: Path) -> Hooks:
    """Runs pre-commit in the project; the first call here installs homespec for its hooks."""
    home = shared / "pre-commit"  # locked by pre-commit while it installs
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PRE_COMMIT_HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PRE_COMMIT, *words],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )

    made = run("install-hooks")
    if made.returncode:
        skip_offline(made.stdout)
    assert made.returncode == 0, made.stdout
    names = {path.name for path in home.glob("repo*/py_env-*/lib/python*/site-packages/*")}
    assert "homespec" in names
    assert "torch" not in names
    return run


@pytest.fixture(autouse=True)
def as_committed(project: Path) -> None:
    git(project, "reset", "-q", "--hard")
    git(project, "clean", "-q", "-f", "-d")


def results(output: str) -> dict[str, str]:
    """What pre-commit says of each hook, by its name."""
    said = re.findall(r"^(.+?)\.\.+(?:\(.*\))?(Passed|Failed|Skipped)$", output, re.MULTILINE)
    names = {hook["name"]: hook["id"] for hook in HOOKS}
    return {names[name].removeprefix("homespec-"): result for name, result in said}


def test_the_manifest() -> None:
    manifest = str(ROOT / ".pre-commit-hooks.yaml")
    subprocess.run([*PRE_COMMIT, "validate-manifest", manifest], check=True)
    assert [hook["id"] for hook in HOOKS] == list(IDS)


def test_the_specs_of_this_project_pass(hooks: Hooks) -> None:
    done = hooks("run", "--all-files")
    assert done.returncode == 0, done.stdout
    assert results(done.stdout) == dict.fromkeys(
        ("validate", "compile-check", "schema-check"), "Passed"
    )


def test_a_broken_spec(hooks: Hooks, project: Path) -> None:
    changed(project / "specs" / "quickstart.yaml", {"homespec: 1\n": "homespec: 1\ntask: {}\n"})
    git(project, "add", "-A")
    done = hooks("run")
    assert done.returncode == 1
    assert results(done.stdout)["validate"] == "Failed"
    assert "error[HS101] unknown-key: `task` is not a key of a spec" in done.stdout
    assert "--> specs/quickstart.yaml:" in done.stdout


def test_a_base_concerns_the_specs_that_extend_it(hooks: Hooks, project: Path) -> None:
    """These are not in the commit."""
    (project / "specs" / "_base.yaml").write_text(
        (project / "specs" / "quickstart.yaml").read_text("utf-8"), "utf-8"
    )
    (project / "specs" / "on_it.yaml").write_text(
        "homespec: 1\nextends: _base.yaml\nname: on_it\n", "utf-8"
    )
    commit(project)
    try:
        assert results(hooks("run", "homespec-validate", "--all-files").stdout) == {
            "validate": "Passed"
        }
        changed(project / "specs" / "_base.yaml", {"homespec: 1\n": "homespec: 1\ntask: {}\n"})
        git(project, "add", "-A")
        done = hooks("run", "homespec-validate")
        assert done.returncode == 1
        assert "`task` is not a key of a spec" in done.stdout
    finally:
        git(project, "reset", "-q", "--hard", "HEAD~1")


@pytest.mark.parametrize("file", ["specs/quickstart.yaml", "generated/quickstart.py"])
def test_files_that_are_not_fresh(file: str, hooks: Hooks, project: Path) -> None:
    path = project / file
    path.write_text(path.read_text("utf-8") + "# more\n", "utf-8")
    git(project, "add", "-A")
    done = hooks("run")
    assert done.returncode == 1
    assert results(done.stdout)["compile-check"] == "Failed"
    assert "generated/quickstart.py " in done.stdout
    assert "run `homespec compile specs/quickstart.yaml`" in done.stdout


def test_a_schema_of_another_version(hooks: Hooks, project: Path) -> None:
    changed(project / "schemas" / "homespec-v1.schema.json", {'"title"': '"titel"'})
    git(project, "add", "-A")
    done = hooks("run")
    assert done.returncode == 1
    said = results(done.stdout)
    assert (said["validate"], said["schema-check"]) == ("Skipped", "Failed")
    assert "run `homespec schema -o schemas/homespec-v1.schema.json`" in done.stdout


def test_other_files_run_no_hook(hooks: Hooks, project: Path) -> None:
    changed(project / "notes.md", {"Notes": "More notes"})
    git(project, "add", "-A")
    done = hooks("run")
    assert done.returncode == 0
    assert set(results(done.stdout).values()) == {"Skipped"}


def test_arguments_name_other_folders(hooks: Hooks, project: Path) -> None:
    """They are all that a team says: no pattern of files must agree with them."""
    changed(project / ".pre-commit-config.yaml", {"--strict, specs": "--strict, all models"})
    git(project, "mv", "specs", "all models")
    changed(
        project / "all models" / "quickstart.yaml",
        {"[like, comment]": "[like]", "  watch: [": "  alone: [comment]\n  watch: ["},
    )
    git(project, "add", "-A")
    done = hooks("run", "homespec-validate")
    assert results(done.stdout) == {"validate": "Failed"}
    assert "one-task-group" in done.stdout
    assert "all models/quickstart.yaml" in done.stdout


def test_this_project_s_own_configuration() -> None:
    """The hooks of the same names run the program of the working tree."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    own = {hook["id"]: hook for repo in config["repos"] for hook in repo["hooks"]}
    for hook in HOOKS:
        mine = own[hook["id"]]
        assert mine["entry"] == f".venv/bin/{hook['entry']}"
        assert mine["language"] == "system"
        assert mine["pass_filenames"] is hook["pass_filenames"] is False

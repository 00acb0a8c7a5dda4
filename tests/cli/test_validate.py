"""`homespec validate`: what it reads, what it prints where, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from homespec.cli.main import cli

GOOD = """\
homespec: 1
name: good
features: {user_id: {id: {buckets: 100}, dim: 8}, asr: {dense: 128}}
groups: {watch: [click, finish], social: [like, follow]}
tasks: {click: {}, finish: {}, like: {}, follow: {}}
"""
BAD = GOOD.replace("[like, follow]", "[like, folow]")
WARNED = GOOD + "experts: {task: {shared: 0}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("good", GOOD), ("bad", BAD), ("warned", WARNED)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def validate(*args: str, text: str | bytes | None = None) -> tuple[int, Result]:
    result = CliRunner().invoke(cli, ["validate", *args], input=text, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result


def test_clean() -> None:
    code, result = validate("good.yaml")
    assert (code, result.stdout, result.stderr) == (0, "", "1 file checked, nothing found\n")
    assert validate("good.yaml", "--quiet", "--strict")[1].output == ""


def test_errors() -> None:
    code, result = validate("bad.yaml")
    assert code == 1
    assert "error[HS201] unknown-member" in result.stdout
    assert "--> bad.yaml:4:49" in result.stdout
    assert "did you mean `follow`?" in result.stdout
    assert result.stdout.endswith("in 1 file\n")
    assert result.stderr == ""


def test_warnings_count_under_strict() -> None:
    code, result = validate("warned.yaml")
    assert (code, "warning[" in result.stdout, "error[" in result.stdout) == (0, True, False)
    assert validate("warned.yaml", "--strict")[0] == 1


def test_stdin() -> None:
    assert validate("-", text=GOOD)[0] == 0
    code, result = validate("-", text=BAD)
    assert (code, "--> <stdin>:4:49" in result.stdout) == (1, True)
    assert "not-text" in validate("-", text=b"\xff")[1].stdout


def test_folder(here: Path) -> None:
    (here / "specs" / "deep").mkdir(parents=True)
    (here / "specs" / ".git").mkdir()
    for name in ("specs/b.yaml", "specs/a.yml", "specs/deep/c.yaml", "specs/.git/d.yaml"):
        (here / name).write_text(BAD)
    (here / "specs" / "notes.txt").write_text("no spec")
    (here / "specs" / "link.yaml").symlink_to("/etc/passwd")
    code, result = validate("specs", "--format", "concise")
    files = dict.fromkeys(line.split(":")[0] for line in result.stdout.splitlines())
    assert (code, list(files)) == (1, ["specs/a.yml", "specs/b.yaml", "specs/deep/c.yaml"])


def test_current_folder() -> None:
    assert "--> bad.yaml:" in validate(".")[1].stdout


def test_each_file_once() -> None:
    once = validate("bad.yaml")[1].stdout
    assert validate("bad.yaml", "bad.yaml")[1].stdout == once


def test_file_of_any_suffix(here: Path) -> None:
    (here / "spec.txt").write_text(GOOD)
    assert validate("spec.txt")[0] == 0


def test_missing_file_is_a_finding() -> None:
    code, result = validate("god.yaml", "good.yaml")
    assert code == 1
    assert "cannot read the file: No such file" in result.stdout
    assert "did you mean `good.yaml`?" in result.stdout


def test_ignored_warnings(here: Path) -> None:
    found = json.loads(validate("warned.yaml", "--format", "json")[1].stdout)["diagnostics"]
    names = ", ".join({d["name"] for d in found})
    lines = {d["span"]["start"]["line"] for d in found}
    assert lines == {6}
    (here / "quiet.yaml").write_text(
        WARNED.rstrip() + f"  # homespec: ignore[{names}] on purpose\n"
    )
    assert validate("quiet.yaml", "--strict")[0] == 0


def test_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(validate("bad.yaml", "--format", "json")[1].stdout)["summary"]["errors"] == 1
    assert json.loads(validate("bad.yaml", "--format", "sarif")[1].stdout)["version"] == "2.1.0"
    assert json.loads(validate("good.yaml", "--format", "gitlab")[1].stdout) == []
    assert validate("bad.yaml", "--format", "github")[1].stdout.startswith("::error file=bad.yaml,")
    assert validate("bad.yaml", "--format", "concise")[1].stdout.startswith("bad.yaml:4:49: error[")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert validate("bad.yaml")[1].stdout.startswith("::error file=bad.yaml,")
    assert validate("bad.yaml", "--format", "full")[1].stdout.startswith("error[HS")


NOTED = GOOD + "family: mmoe\n"


def test_notes_are_listed_and_never_fail(here: Path) -> None:
    (here / "noted.yaml").write_text(NOTED)
    code, result = validate("noted.yaml", "--strict")
    assert code == 0
    assert result.stdout.startswith("note[HS415] published-experts: ")
    assert result.stdout.endswith("\n1 note in 1 file\n")
    assert result.stderr == ""
    code, result = validate("noted.yaml", "warned.yaml", "--strict")
    assert (code, result.stdout.splitlines()[-1]) == (1, "1 warning, 1 note in 2 files")


def test_notes_are_not_repeated_by_other_verbs(here: Path) -> None:
    (here / "noted.yaml").write_text(NOTED)
    result = CliRunner().invoke(cli, ["show", "noted.yaml"])
    assert (result.exit_code, result.stderr) == (0, "")
    result = CliRunner().invoke(cli, ["compile", "noted.yaml", "--stdout"])
    assert "HS415" not in result.output

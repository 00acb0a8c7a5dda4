"""`homespec compile`: where files go, all or nothing, and every way of not being fresh."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from homespec.cli.compile import compile as compile_command
from homespec.cli.main import cli

SPEC = """\
homespec: 1
name: small
features: {asr: {dense: 64}}
groups: {watch: [click, finish], interaction: [like, follow]}
tasks: {click: {}, finish: {}, like: {}, follow: {}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "small.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(compile_command, args, standalone_mode=False)


def code(result: Result) -> int:
    if isinstance(result.exception, Exception):
        raise result.exception
    return int(result.return_value)


def test_writes_beside_specs_and_says_so(project: Path) -> None:
    assert run("specs/small.yaml").output == "wrote generated/small.py\n"
    assert run("specs/small.yaml").output == "fresh generated/small.py\n"
    assert code(run("--check", "specs")) == 0


def test_bytes_do_not_depend_on_the_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("specs/small.yaml")
    first = (project / "generated/small.py").read_bytes()
    monkeypatch.chdir(project / "specs")
    assert run("small.yaml").output.startswith("fresh ")
    assert (project / "generated/small.py").read_bytes() == first


def test_a_fresh_file_is_not_touched(project: Path) -> None:
    run("specs")
    before = (project / "generated/small.py").stat().st_mtime_ns
    run("specs")
    assert (project / "generated/small.py").stat().st_mtime_ns == before


def test_nothing_is_written_if_one_spec_is_wrong(project: Path) -> None:
    (project / "specs/wrong.yaml").write_text(SPEC.replace("like,", "liek,"))
    result = run("specs")
    assert code(result) == 1
    assert "unknown-member" in result.stderr
    assert not (project / "generated").exists()


def test_a_file_as_output_is_refused(project: Path) -> None:
    error = run("specs", "-o", "out/model.py").exception
    assert isinstance(error, click.UsageError)
    assert error.message == "-o takes a folder, not a file: give `-o out`."
    assert not (project / "out").exists()


def test_check_finds_what_is_missing(project: Path) -> None:
    result = run("--check", "specs")
    assert code(result) == 1
    assert result.output == (
        "generated/small.py is missing\n  help: run `homespec compile specs/small.yaml`\n"
    )
    assert not (project / "generated").exists()


def test_check_finds_a_stale_file(project: Path) -> None:
    run("specs")
    (project / "specs/small.yaml").write_text(SPEC + "description: new\n")
    result = run("--check", "specs")
    assert code(result) == 1
    assert "generated/small.py is stale: the spec has changed since" in result.output


def test_check_finds_a_hand_edited_file(project: Path) -> None:
    run("specs")
    file = project / "generated/small.py"
    file.write_text(file.read_text() + "# quick fix\n")
    result = run("--check", "specs")
    assert code(result) == 1
    assert "was edited by hand" in result.output
    assert "put the change into the spec" in result.output


def test_check_finds_another_version(project: Path) -> None:
    run("specs")
    file = project / "generated/small.py"
    file.write_text(file.read_text().replace("by homespec 0", "by homespec 99"))
    assert "made by another version of homespec" in run("--check", "specs").output


def test_check_finds_an_orphan(project: Path) -> None:
    (project / "specs/other.yaml").write_text(SPEC)
    run("specs")
    (project / "specs/other.yaml").unlink()
    result = run("--check", "specs")
    assert code(result) == 1
    assert result.output.startswith("generated/other.py has lost its spec\n")


def test_a_foreign_file_is_not_overwritten(project: Path) -> None:
    (project / "generated").mkdir()
    (project / "generated/small.py").write_text("precious = True\n")
    with pytest.raises(Exception, match="overwrites only its own files"):
        code(run("specs"))
    assert (project / "generated/small.py").read_text() == "precious = True\n"


def test_diff_shows_the_change_and_writes_nothing(project: Path) -> None:
    run("specs")
    assert code(run("--diff", "specs")) == 0
    (project / "specs/small.yaml").write_text(SPEC + "experts: {width: 32}\n")
    before = (project / "generated/small.py").read_text()
    result = run("--diff", "specs")
    assert code(result) == 1
    assert "--- generated/small.py (now)" in result.output
    assert "+            MLPs(experts, 64, 32, last_bias=False)," in result.output
    assert (project / "generated/small.py").read_text() == before


def test_the_plain_twin_lies_beside_and_is_checked_too(project: Path) -> None:
    run("specs")
    assert run("--no-optimize", "specs").output == "wrote generated/small_plain.py\n"
    assert code(run("--check", "specs")) == 0
    (project / "specs/small.yaml").write_text(SPEC + "description: new\n")
    result = run("--check", "specs")
    assert "generated/small_plain.py is stale" in result.output
    assert "run `homespec compile specs/small.yaml --no-optimize`" in result.output


def test_stdout_prints_the_same_text(project: Path) -> None:
    run("specs")
    printed = run("--stdout", "specs/small.yaml").output
    assert printed == (project / "generated/small.py").read_text()


def test_folders_below_specs_are_kept(project: Path) -> None:
    (project / "specs/families").mkdir()
    (project / "specs/families/ple.yaml").write_text(SPEC)
    run("specs")
    text = (project / "generated/families/ple.py").read_text()
    assert "    homespec compile specs/families/ple.yaml\n" in text
    assert code(run("--check", "specs")) == 0


@pytest.mark.parametrize("name", ["1st.yaml", "class.yaml", "a b.yaml"])
def test_names_that_cannot_be_imported_are_refused(project: Path, name: str) -> None:
    (project / "specs" / name).write_text(SPEC)
    with pytest.raises(Exception, match="could not be imported"):
        code(run(f"specs/{name}"))
    assert not (project / "generated").exists()


@pytest.mark.parametrize("name", ["torch", "random", "types", "homespec", "numpy"])
def test_names_of_modules_are_refused(project: Path, name: str) -> None:
    """`import torch` in the folder of generated files would import such a file."""
    (project / f"specs/{name}.yaml").write_text(SPEC)
    with pytest.raises(Exception, match=rf"`{name}\.py` would hide the module `{name}`"):
        code(run(f"specs/{name}.yaml"))
    assert CliRunner().invoke(cli, ["new", name]).exit_code == 2


def test_two_specs_for_one_file_are_refused(project: Path) -> None:
    (project / "specs/small.yml").write_text(SPEC)
    with pytest.raises(Exception, match=r"would both become .*small\.py"):
        code(run("specs"))


def test_a_dash_becomes_an_underscore(project: Path) -> None:
    (project / "specs/small.yaml").rename(project / "specs/my-model.yaml")
    assert run("specs").output == "wrote generated/my_model.py\n"


def test_check_diff_and_stdout_exclude_each_other(project: Path) -> None:
    with pytest.raises(Exception, match="mutually exclusive"):
        code(run("--check", "--diff", "specs"))


def test_a_link_in_the_place_of_a_generated_file(project: Path) -> None:
    """Nothing is written through it, and what it leads to is not shown."""
    (project / "secret").write_text("password\n")
    (project / "generated").mkdir()
    (project / "generated/small.py").symlink_to("../secret")
    with pytest.raises(Exception, match=r"small\.py is a link; remove it"):
        code(run("specs"))
    assert "password" not in run("--diff", "specs").output
    assert "generated/small.py is a link" in run("--check", "specs").output
    assert (project / "generated/small.py").is_symlink()
    assert (project / "secret").read_text() == "password\n"

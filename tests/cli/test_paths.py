"""Every verb takes a spec by any path from any folder, and writes to the same place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import homespec
from homespec.cli.main import cli

ROOT = Path(__file__).parents[2]
BASE = """\
homespec: 1
name: small
features: {user_id: {id: {buckets: 100}, dim: 8}, asr: {dense: 128}}
groups: {watch: [click, finish], interaction: [like, follow]}
tasks: {click: {}, finish: {}, like: {}, follow: {}}
"""
SPEC = "homespec: 1\nextends: ../base.yaml\nname: mine\n"


def absolute(spec: Path) -> str:
    return str(spec)


def from_above(spec: Path) -> str:
    os.chdir(spec.parents[2])
    return os.path.relpath(spec)


def from_beside(spec: Path) -> str:
    """As from a notebook: up and down again."""
    (spec.parents[1] / "notebooks" / "deep").mkdir(parents=True)
    os.chdir(spec.parents[1] / "notebooks" / "deep")
    return "../../specs/x.yaml"


def from_within(spec: Path) -> str:
    os.chdir(spec.parent)
    return "x.yaml"


def untidy(spec: Path) -> str:
    os.chdir(spec.parent)
    return ".././/specs/../specs/./x.yaml"


def link_to_the_file(spec: Path) -> str:
    (spec.parent / "deep").mkdir()
    (spec.parent / "deep" / "link.yaml").symlink_to("../x.yaml")
    os.chdir(spec.parent / "deep")
    return "link.yaml"


def link_to_the_folder(spec: Path) -> str:
    elsewhere = spec.parents[2] / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(spec.parents[1])
    os.chdir(elsewhere)
    return "link/specs/x.yaml"


def up_from_a_link(spec: Path) -> str:
    """The folder above is that of the folder which the link leads to."""
    (spec.parent / "deep").mkdir()
    (spec.parents[2] / "link").symlink_to(spec.parent / "deep")
    os.chdir(spec.parents[2])
    return "link/../x.yaml"


def without_a_folder_to_work_in(spec: Path) -> str:
    gone = spec.parents[1] / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    return str(spec)


STYLES = [
    absolute, from_above, from_beside, from_within, untidy, link_to_the_file, link_to_the_folder,
    up_from_a_link, without_a_folder_to_work_in,
]  # fmt: skip
PROJECTS = ["plain", "with a space", "proje\u0301t 漢字", "a:b?*|<>", "-dash", "specs"]
VERBS = [
    ["validate", "--strict"], ["validate", "--format", "github"], ["show"], ["show", "--expanded"],
    ["graph"], ["explain", "--spec"], ["compile", "--stdout"], ["compile"], ["compile", "--check"],
    ["compile", "--diff"],
]  # fmt: skip


def project(folder: Path, name: str) -> Path:
    """A project with a spec that extends another; the spec's path."""
    root = folder / name
    (root / "specs").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "base.yaml").write_text(BASE)
    (root / "specs" / "x.yaml").write_text(SPEC)
    return root / "specs" / "x.yaml"


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, args, standalone_mode=False)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.return_value, result.stdout


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # and back, when all is over
    return tmp_path


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
def test_every_verb_by_every_path(style: Callable[[Path], str], here: Path) -> None:
    spec = project(here, "project")
    path = style(spec)
    for verb in VERBS:
        code, _ = run(*verb, path)
        assert code == 0, verb
    stem = "deep/link" if style is link_to_the_file else "x"
    (made,) = (spec.parents[1] / "generated").rglob("*.py")
    assert made == spec.parents[1] / "generated" / f"{stem}.py"
    text = made.read_text()
    assert f"    homespec compile specs/{stem}.yaml\n" in text
    assert str(here) not in text


@pytest.mark.parametrize("name", PROJECTS)
def test_folders_of_any_name(name: str, here: Path) -> None:
    spec = project(here, name)
    os.chdir(spec.parent)
    texts = []
    for path in (str(spec), "../specs/x.yaml", "x.yaml", "../specs", "."):
        assert run("compile", "--check", path)[0] == (1 if not texts else 0)
        assert run("compile", path)[0] == 0
        texts.append((spec.parents[1] / "generated" / "x.py").read_bytes())
    assert len(set(texts)) == 1
    assert run("validate", "--strict", "--format", "sarif", str(spec))[0] == 0


@pytest.mark.parametrize("name", ["a b", "a'b", "é", "$(x)", "a\nb"])
def test_folders_below_specs(name: str, here: Path) -> None:
    spec = project(here, "project")
    (spec.parent / name).mkdir()
    (spec.parent / name / "y.yaml").write_text(BASE)
    os.chdir(spec.parents[1])
    assert run("compile", "specs")[0] == 0
    code, output = run("compile", "--check", "specs")
    assert (code, output) == (0, "")
    text = (spec.parents[1] / "generated" / name / "y.py").read_text()
    compile(text, "y.py", "exec")
    if name == "a b":
        assert "    homespec compile 'specs/a b/y.yaml'\n" in text
    (spec.parent / name / "y.yaml").unlink()
    code, output = run("compile", "--check", "specs")
    assert (code, output.count("has lost its spec")) == (1, 1)


@pytest.mark.parametrize(
    "name", ["a b.yaml", "1.yaml", "class.yaml", "x:y?.yaml", "漢字.yaml", "x"]
)
def test_files_of_any_name(name: str, here: Path) -> None:
    """Only compile needs a name that Python can import."""
    (here / name).write_text(BASE)
    for verb in ("validate", "show", "graph"):
        assert run(verb, name)[0] == 0
    assert "class Model" in homespec.compile(name)
    assert homespec.load(Path(name)).name == "small"


def test_models_from_a_notebook(here: Path) -> None:
    path = from_beside(project(here, "project"))
    model = homespec.build(path)
    assert sorted(model.state_dict()) == sorted(homespec.build(Path(path).resolve()).state_dict())


def test_a_folder_specs_outside_of_the_repository_is_another_matter(here: Path) -> None:
    """As where the user is called `specs`."""
    root = here / "specs" / "me" / "project"
    (root / ".git").mkdir(parents=True)
    (root / "x.yaml").write_text(BASE)
    assert run("compile", str(root / "x.yaml"))[0] == 0
    assert "    homespec compile x.yaml\n" in (root / "generated" / "x.py").read_text()
    assert not (here / "generated").exists()
    submodule = root / "specs"
    submodule.mkdir()
    (submodule / ".git").write_text("gitdir: ../.git/modules/specs\n")
    (submodule / "y.yaml").write_text(BASE)
    assert run("compile", str(submodule))[0] == 0
    assert (root / "generated" / "y.py").is_file()


def test_another_output_folder_is_fresh_once_written(here: Path) -> None:
    spec = project(here, "project")
    out = here / "build" / "out"
    assert run("compile", str(spec), "-o", str(out))[0] == 0
    assert run("compile", "--check", str(spec), "-o", str(out)) == (0, "")


def command(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "homespec", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def test_bench_from_beside(here: Path) -> None:
    spec = project(here, "with a space")
    (spec.parents[1] / "notebooks").mkdir()
    options = ["--batch", "4", "--rounds", "1", "--variants", "ours", "--json", "-"]
    result = command("bench", "../specs/x.yaml", *options, folder=spec.parents[1] / "notebooks")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["spec"] == "mine"


def test_a_name_in_another_encoding(here: Path) -> None:
    """Verbs that only read specs take it; libraries for data do not, and then it is named."""
    name = os.fsdecode(b"caf\xe9")
    (here / name).mkdir()
    (here / name / "x.yaml").write_text(BASE)
    for verb in ("validate", "show", "compile", "graph"):
        result = command(verb, f"{name}/x.yaml", folder=here)
        assert result.returncode == 0, result.stderr
    (here / name / "train.csv").write_text("user_id,click\n1,1\n")
    result = command("check-data", f"{name}/x.yaml", f"{name}/train.csv", folder=here)
    assert result.returncode == 2
    assert result.stderr.endswith("is not UTF-8: rename that file or folder\n")


HOSTILE = ["::error::x", " ::stop-commands::x", "a\n::error::b", "a\x1b]0;x\x07"]
HOSTILE += ["##[error]x", "x ##[add-mask]y"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_files_give_no_commands(
    name: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to a terminal nor to GitHub.

    It looks for `::command::` where a line begins, and for `##[command]` anywhere.
    """
    (here / name).mkdir()
    (here / name / "x.yaml").write_text(BASE + "bad: 1\n")
    (here / name / "y.yaml").write_text(BASE)
    (here / name / ".hidden").mkdir()
    (here / name / "_base.yaml").write_text(BASE)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(here))
    texts = []
    for output_format in ("full", "concise", "github", "gitlab", "json", "sarif"):
        result = CliRunner().invoke(cli, ["validate", "--format", output_format, "."])
        texts.append(result.output)
        if output_format == "github":
            texts[-1] = result.output.replace("::error file=", "error file=")
    for options in ([], ["--check"], ["--diff"], ["-o", f"{name}/out"]):
        texts.append(CliRunner().invoke(cli, ["compile", *options, f"{name}/y.yaml"]).output)
    texts.append(CliRunner().invoke(cli, ["show", "--expanded", f"{name}/y.yaml"]).output)
    (here / name / "empty").mkdir()
    texts.append(CliRunner().invoke(cli, ["validate", f"{name}/empty"]).output)
    assert sum(map(bool, texts)) >= len(texts) - 1  # nothing differs from what is fresh
    for text in texts:
        for line in text.split("\n"):
            assert not line.lstrip().startswith("::")
            assert "##[" not in line
            assert all(char.isprintable() for char in line), repr(line)

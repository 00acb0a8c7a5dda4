"""The command that installs an extra names where homespec came from; a release is whole."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from homespec import installation
from homespec.installation import install_command

ROOT = Path(__file__).resolve().parent.parent
FROM_AN_INDEX = re.compile(
    r"""pip install\b[^`\n]*[ '"]homespec(\[[\w{}]+\])?(?=['"`\s]|$)(?! @)"""
)
REPOSITORY = "https://git.example/homespec"


class Installed:
    """A distribution of which pip wrote down this much."""

    def __init__(self, direct_url: dict[str, object] | None) -> None:
        self.text = json.dumps(direct_url) if direct_url else None

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.text


@pytest.mark.parametrize(
    ("direct_url", "command"),
    [
        ({"url": "file:///home/me/my%20clone", "dir_info": {"editable": True}},
         "pip install -e '/home/me/my clone[train]'"),
        ({"url": "file:///home/me/clone", "dir_info": {}}, "pip install '/home/me/clone[train]'"),
        ({"url": REPOSITORY, "vcs_info": {"vcs": "git", "commit_id": "0a1b"}},
         f"pip install 'homespec[train] @ git+{REPOSITORY}@0a1b'"),
        ({"url": f"{REPOSITORY}.whl", "archive_info": {}},
         f"pip install 'homespec[train] @ {REPOSITORY}.whl'"),
    ],
)  # fmt: skip
def test_the_command_names_the_place_of_the_installation(
    direct_url: dict[str, object], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(direct_url))
    assert install_command("train") == command


def test_a_place_that_pip_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index: the packages themselves, those of the extras within too, each once."""
    monkeypatch.setattr(metadata, "distribution", lambda name: Installed(None))
    asked = [
        "click<9,>=8.1",
        "homespec[data]; extra == 'train'",
        "lightning<3,>=2.5; extra == 'train'",
        "numpy<3; extra == 'data'",
        "numpy<3; extra == 'train'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    assert install_command("train") == "pip install 'lightning<3,>=2.5' 'numpy<3'"


def test_a_checkout_that_pip_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", unknown)
    monkeypatch.setattr(installation, "CHECKOUT", Path("/home/me/clone"))
    assert install_command("data") == "pip install -e '/home/me/clone[data]'"


def test_no_message_asks_an_index_for_homespec() -> None:
    """It is on none; a package of this name would be somebody else's."""
    folders = ("homespec", "docs", "examples", "benchmarks", ".github")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.*")]
    for file in (*files, *ROOT.glob("*.md")):
        if file.suffix in (".py", ".md", ".yml"):
            assert not FROM_AN_INDEX.findall(file.read_text("utf-8")), file


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a release, made from a copy of the repository as it is on the disk."""
    pytest.importorskip("hatchling", reason="needs hatchling, which builds homespec")
    folder = tmp_path_factory.mktemp("release")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "source" / name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder / "dist")],
        cwd=folder / "source", check=True, capture_output=True,
    )  # fmt: skip
    return folder / "dist"


def test_the_wheel_is_the_package_alone(release: Path) -> None:
    (wheel,) = release.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        about = opened.read(next(n for n in names if n.endswith("METADATA"))).decode()
    package = {f.relative_to(ROOT).as_posix() for f in (ROOT / "homespec").rglob("*.py")}
    assert package <= names
    assert "homespec/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"homespec"}
    assert not [name for name in names if "__pycache__" in name]
    assert "License-Expression: Apache-2.0" in about
    assert "# homespec" in about  # the README is the page of the index


def test_the_source_archive_has_all_that_a_build_and_the_tests_need(release: Path) -> None:
    (archive,) = release.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "Makefile"}
    assert wanted <= names
    assert {"specs/kuairand.yaml", "schemas/homespec-v1.schema.json", "tests/conftest.py"} <= names


def test_the_wheel_runs_without_the_repository(release: Path, tmp_path: Path) -> None:
    """Imported from the wheel itself: templates, blocks and the JSON Schema are inside."""
    (wheel,) = release.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "site")

    def homespec(*arguments: str) -> str:
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
            "import homespec; assert homespec.__file__.startswith(sys.path[0]), homespec.__file__\n"
            "from homespec.cli.main import main; main()"
        )
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shipped = (ROOT / "schemas/homespec-v1.schema.json").read_text("utf-8")
    assert json.loads(homespec("schema")) == json.loads(shipped)
    homespec("new", "shorts")  # specs/shorts.yaml
    homespec("validate", "--strict", "specs/shorts.yaml")
    homespec("compile", "specs/shorts.yaml", "-o", ".")
    assert "class Model" in (tmp_path / "shorts.py").read_text("utf-8")


def test_the_workflow_of_releases_is_one() -> None:
    file = ROOT / ".github/workflows/release.yml"
    check = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(file)]
    done = subprocess.run([sys.executable, *check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

"""Where a spec is and what it may be made of: nothing outside its project is read or looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import homespec
from homespec.diagnostics.render import FORMATS, render
from homespec.source.roots import VARIABLE, base_of, is_below, located, roots_of

SECRET = "api_token: ghp_SECRET\n"
SPEC = """\
homespec: 1
extends: {}
name: mine
features: {{asr: {{dense: 64}}}}
tasks: {{click: {{}}}}
family: mmoe
"""
BASE = "homespec: 1\nexperts: {width: 48}\n"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a folder of specs, and secrets beside the repository."""
    root = tmp_path / "home" / "repo"
    (root / ".git").mkdir(parents=True)
    (root / "specs" / "deep").mkdir(parents=True)
    (root / "base.yaml").write_text(BASE)
    (tmp_path / "home" / "secret.yaml").write_text(SECRET)
    (tmp_path / "home" / "good.yaml").write_text(BASE)
    monkeypatch.chdir(root)
    monkeypatch.delenv(VARIABLE, raising=False)
    return root


def spec(base: str, path: str = "specs/x.yaml") -> str:
    Path(path).write_text(SPEC.format(base))
    return path


def names(path: str, **more: str) -> list[str]:
    found = homespec.validate(path, **more).diagnostics  # type: ignore[arg-type]
    return [d.rule.name for d in found if d.rule.severity == "error"]


def pages(path: str) -> str:
    """Everything that any format says about a spec."""
    report = homespec.validate(path)
    return "".join(render(report, output_format) for output_format in FORMATS)


@pytest.mark.usefixtures("repo")
def test_the_whole_repository_may_be_extended() -> None:
    assert names(spec("../base.yaml")) == []
    assert homespec.load("specs/x.yaml").experts.width == 48
    assert names(spec("../../base.yaml", "specs/deep/x.yaml")) == []


@pytest.mark.usefixtures("repo")
@pytest.mark.parametrize("path", ["../../secret.yaml", "../../good.yaml", "../../missing.yaml"])
def test_nothing_outside_is_read_or_looked_for(path: str) -> None:
    said = pages(spec(path))
    assert names("specs/x.yaml") == ["base-outside"]
    assert "SECRET" not in said
    assert "No such file" not in said


@pytest.mark.parametrize("path", ["../../good.yaml", "../../good/../x.yaml", "../../good/a/b.yml"])
def test_the_answer_does_not_tell_what_exists(repo: Path, path: str) -> None:
    there = pages(spec(path))
    (repo.parent / "good.yaml").unlink()
    (repo.parent / "good").symlink_to("repo")
    assert pages("specs/x.yaml") == there
    assert names("specs/x.yaml") == ["base-outside"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_path_out_and_in_again_looks_at_nothing_outside(repo: Path, linked: bool) -> None:
    if linked:
        (repo.parent / "link").symlink_to("/nowhere")
    assert names(spec("../../link/../repo/base.yaml")) == []


@pytest.mark.parametrize("target", ["../../secret.yaml", "../../missing.yaml"])
def test_a_link_that_leads_out_is_outside(repo: Path, target: str) -> None:
    (repo / "specs/link.yaml").symlink_to(target)
    (repo / "specs/folder").symlink_to("../..")
    for path in ("link.yaml", "folder/secret.yaml", "folder/missing.yaml"):
        assert names(spec(path)) == ["base-outside"]
        assert "SECRET" not in pages("specs/x.yaml")


def test_a_link_within_the_repository_is_fine(repo: Path) -> None:
    (repo / "specs/link.yaml").symlink_to("../base.yaml")
    assert names(spec("link.yaml")) == []


def test_bases_of_bases_are_held_to_the_same_root(repo: Path) -> None:
    (repo / "specs/middle.yaml").write_text("homespec: 1\nextends: ../../secret.yaml\n")
    assert names(spec("middle.yaml")) == ["base-outside"]


def test_without_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the spec, or the folder `specs` around it, is the root."""
    monkeypatch.chdir(tmp_path)
    for folder in ("configs/deep", "specs/deep"):
        Path(folder).mkdir(parents=True)
        (Path(folder).parent / "base.yaml").write_text(BASE)
        Path(folder, "beside.yaml").write_text(BASE)
    Path("base.yaml").write_text(BASE)
    assert names(spec("beside.yaml", "configs/deep/x.yaml")) == []
    assert names(spec("../base.yaml", "configs/deep/x.yaml")) == ["base-outside"]
    assert names("configs/deep/x.yaml", root="configs") == []
    monkeypatch.setenv(VARIABLE, f"/nowhere{os.pathsep}configs")
    assert names("configs/deep/x.yaml") == []
    assert names(spec("../base.yaml", "specs/deep/x.yaml")) == []
    assert names(spec("../../base.yaml", "specs/deep/x.yaml")) == ["base-outside"]


@pytest.mark.usefixtures("repo")
def test_text_without_a_file_extends_from_the_working_directory() -> None:
    text = SPEC.format("base.yaml")
    assert homespec.loads(text).experts.width == 48
    with pytest.raises(homespec.SpecError, match="base-outside"):
        homespec.loads(SPEC.format("../good.yaml"))
    assert homespec.loads(SPEC.format("../good.yaml"), root="..").experts.width == 48


def test_a_spec_that_is_a_link_out_is_not_read(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo / "specs/x.yaml").symlink_to("../../secret.yaml")
    (repo / "specs/gone.yaml").symlink_to("../../missing.yaml")
    (repo / "out").symlink_to("..")
    for path in ("specs/x.yaml", "specs/gone.yaml", "out/secret.yaml", str(repo / "specs/x.yaml")):
        assert names(path) == ["link-outside"]
        assert "SECRET" not in pages(path)
    with pytest.raises(homespec.SpecError, match="link-outside"):
        homespec.load("specs/x.yaml")
    monkeypatch.setenv(VARIABLE, "..")
    assert "link-outside" not in names("specs/x.yaml")


def test_a_spec_means_the_same_by_any_link(repo: Path) -> None:
    """Bases are found from where the file is, not from where a link to it is."""
    spec("../base.yaml")
    (repo / "link.yaml").symlink_to("specs/x.yaml")
    (repo / "specs/deep/folder").symlink_to("..")
    for path in ("link.yaml", "specs/deep/folder/x.yaml", "specs/deep/folder/deep/../x.yaml"):
        assert homespec.load(path).experts.width == 48
    elsewhere = repo.parent / "link.yaml"
    elsewhere.symlink_to(repo / "specs/x.yaml")
    assert homespec.load(elsewhere).experts.width == 48


@pytest.mark.parametrize("name", ["a\0b.yaml", "", ".", "/", "~/x.yaml", "x" * 5000])
def test_odd_names_are_findings(name: str, repo: Path) -> None:
    assert names(name) == ["unreadable-file"]


def test_located_follows_the_system(repo: Path) -> None:
    (repo / "link").symlink_to("specs/deep")
    assert located("link/../x.yaml") == str(repo / "specs/x.yaml")
    assert located("link/x.yaml") == str(repo / "link/x.yaml")
    assert located("./specs/../base.yaml") == str(repo / "base.yaml")
    assert located("/../a/./b") == "/a/b"


STEPS = st.lists(st.sampled_from(["..", ".", "", "specs", "deep", "out", "in", "x.yaml"]))


@given(STEPS)
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    top = tmp_path_factory.getbasetemp() / "roots"
    root = top / "repo"
    if not root.exists():
        (root / "specs/deep").mkdir(parents=True)
        (root / ".git").mkdir()
        (root / "specs/out").symlink_to(top)
        (root / "specs/in").symlink_to(root)
    file = str(root / "specs/spec.yaml")
    found = base_of(file, "/".join(steps), roots_of(file))
    ways = [
        os.path.realpath(os.path.join(root, "specs", *filter(None, steps[:i])))  # noqa: PTH118
        for i in range(len(steps) + 1)
    ]
    if all(is_below(way, [str(root)]) for way in ways):
        assert found == ways[-1]
    assert found is None or is_below(os.path.realpath(found), [str(root)])

"""Composition: `extends`, `--set`, and the place of every value."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import homespec
from homespec.cli.main import cli
from homespec.diagnostics import Position
from homespec.source import OVERRIDES, Document, parse, read, with_bases

BASE = """\
homespec: 1
name: base
features: {user_id: {id: {buckets: 1000}, dim: 16}, asr: {dense: 64}}
groups:
  watch: [click, long_view]
  social: [like, follow]
tasks: {click: {}, long_view: {}, like: {}, follow: {}}
experts: {width: 32, meta: {shared: 4}}
gates: {feature: {rank: 8}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path(".git").mkdir()
    Path("base.yaml").write_text(BASE)
    return tmp_path


def child(text: str, name: str = "child.yaml") -> Document:
    Path(name).write_text(f"homespec: 1\nextends: base.yaml\n{text}")
    return with_bases(read(name))


def data(document: Document) -> dict[str, Any]:
    assert document.data is not None, document.diagnostics
    return document.data


def run(*args: str) -> tuple[int, Result]:
    result = CliRunner().invoke(cli, list(args), standalone_mode=False, catch_exceptions=False)
    return result.return_value, result


# ---------------------------------------------------------------- extends


@pytest.mark.usefixtures("folder")
def test_child_over_base() -> None:
    document = child("name: mine\nexperts: {meta: {group: 3}}\ngroups: {watch: [click]}\n")
    base = yaml.safe_load(BASE)
    expected = base | {"name": "mine", "extends": "base.yaml"}
    expected["experts"] = {"width": 32, "meta": {"shared": 4, "group": 3}}
    expected["groups"] = base["groups"] | {"watch": ["click"]}
    assert data(document) == expected
    assert list(data(document))[:3] == ["homespec", "name", "features"]


@pytest.mark.usefixtures("folder")
def test_places() -> None:
    document = child("experts: {meta: {group: 3}}\n")
    assert document.span(("experts", "width")).file == "base.yaml"
    assert document.span(("experts", "width")).start == Position(8, 18)
    assert document.span(("experts", "meta", "group"), key=True).start == Position(3, 18)
    assert document.span(("experts", "meta")).file == "child.yaml"
    assert document.span(("groups", "watch", 1)).file == "base.yaml"
    assert list(document.texts) == ["child.yaml", "base.yaml"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("change", "path", "expected"),
    [
        ("experts: {meta: {shared: {norm: layer}}}", "meta", {"count": 4, "norm": "layer"}),
        ("experts: {meta: {shared: 7}}", "meta", 7),
        ("gates: {feature: false}", "feature", {"rank": 8, "enabled": False}),
        ("gates: {feature: {loras: 3}}", "feature", {"rank": 8, "loras": 3}),
    ],
)
def test_short_forms(change: str, path: str, expected: object) -> None:
    whole = data(child(change + "\n"))
    found = whole["experts"]["meta"]["shared"] if path == "meta" else whole["gates"]["feature"]
    assert found == expected


@pytest.mark.usefixtures("folder")
def test_count_over_mapping_keeps_the_style() -> None:
    child("experts: {meta: {shared: {norm: layer}}}\n", "middle.yaml")
    Path("last.yaml").write_text("extends: middle.yaml\nexperts: {meta: {shared: 2}}\n")
    whole = data(with_bases(read("last.yaml")))
    assert whole["experts"]["meta"]["shared"] == {"count": 2, "norm": "layer"}


@pytest.mark.usefixtures("folder")
def test_chain() -> None:
    names = ["base.yaml"]
    for i in range(12):
        names.append(f"c{i}.yaml")
        Path(names[-1]).write_text(f"extends: {names[-2]}\nname: c{i}\n")
    good = with_bases(read(names[7]))
    assert data(good)["name"] == "c6"
    assert list(good.texts) == names[7::-1]
    too_long = with_bases(read(names[8]))
    assert [d.rule.name for d in too_long.diagnostics] == ["bad-base"]


@pytest.mark.usefixtures("folder")
def test_a_link_to_another_kind_of_file() -> None:
    Path("secret").write_text("password: 1\n")
    Path("link.yaml").symlink_to("secret")
    Path("spec.yaml").write_text("extends: link.yaml\n")
    (diagnostic,) = with_bases(read("spec.yaml")).diagnostics
    assert "link to another kind of file" in diagnostic.message


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["{}", "[]", "3", "null", '""', '"a\\nb.yaml"', '".yaml"', "."])
def test_strange_names(name: str) -> None:
    Path("spec.yaml").write_text(BASE + f"extends: {name}\n")
    start = time.process_time()
    report = homespec.validate("spec.yaml")
    assert time.process_time() - start < 5  # of this process, however busy the machine is
    assert report.has_errors
    assert all(d.span.file == "spec.yaml" for d in report.diagnostics)


@pytest.mark.usefixtures("folder")
def test_warnings_in_a_base_and_their_ignores() -> None:
    Path("base.yaml").write_text(BASE.replace("rank: 8", "rank: 400"))
    child("name: mine\n")
    report = homespec.validate("child.yaml")
    assert [d.rule.name for d in report.diagnostics] == ["rank-not-low"]
    assert report.diagnostics[0].span.file == "base.yaml"
    assert [label.text for label in report.diagnostics[0].related] == ["extended here"]
    ignored = BASE.replace("rank: 8}}", "rank: 400}}  # homespec: ignore[rank-not-low] a try")
    Path("base.yaml").write_text(ignored)
    assert homespec.validate("child.yaml").diagnostics == ()
    child("name: mine\ngates: {feature: {rank: 8}}\n")
    assert homespec.validate("child.yaml").diagnostics == ()  # the base's comment is its own


@pytest.mark.usefixtures("folder")
def test_every_file_counts_for_freshness() -> None:
    child("name: mine\n")
    assert run("compile", "child.yaml")[0] == 0
    assert run("compile", "--check", "child.yaml")[0] == 0
    text = Path("generated/child.py").read_text()
    assert "# child.yaml:" not in text
    assert "# base.yaml:8\n" in text
    Path("base.yaml").write_text(BASE + "# nothing new\n")
    code, result = run("compile", "--check", "child.yaml")
    assert code == 1
    assert "stale" in result.stdout


@pytest.mark.usefixtures("folder")
def test_expanded_says_which_file() -> None:
    child("name: mine\n")
    _, result = run("show", "--expanded", "child.yaml", "--set", "towers.hidden=[8]")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "name: mine # line 3" in lines
    assert "width: 32 # base.yaml:8" in lines
    assert "hidden: [8] # --set:1" in lines


@pytest.mark.usefixtures("folder")
def test_a_pipe_is_no_base() -> None:
    os.mkfifo("pipe.yaml")
    Path("spec.yaml").write_text("extends: pipe.yaml\n")
    (diagnostic,) = with_bases(read("spec.yaml")).diagnostics
    assert "not a regular file" in diagnostic.message


@pytest.mark.usefixtures("folder")
def test_a_missing_base_is_suggested_from_where_the_spec_stands() -> None:
    Path("specs").mkdir()
    Path("specs/spec.yaml").write_text("extends: ../bsae.yaml\n")
    (diagnostic,) = with_bases(read("specs/spec.yaml")).diagnostics
    assert diagnostic.help == "did you mean `../base.yaml`?"
    Path("bsae.yaml").write_text("homespec: 2\n")
    Path("specs/spec.yaml").write_text("homespec: 1\nextends: ../bsae.yaml\n")
    (diagnostic,) = with_bases(read("specs/spec.yaml")).diagnostics
    assert "written in version 2" in diagnostic.message


@pytest.mark.usefixtures("folder")
def test_another_kind_of_feature_replaces_the_one_below() -> None:
    whole = data(child("features: {user_id: {dense: 8}, asr: {dense: 32}}\n"))
    assert whole["features"] == {"user_id": {"dense": 8}, "asr": {"dense": 32}}
    whole = data(child("features: {user_id: {id: {vocab: 9}}}\n"))
    assert whole["features"]["user_id"] == {"id": {"vocab": 9}, "dim": 16}


@pytest.mark.usefixtures("folder")
def test_null_takes_away() -> None:
    whole = data(child("gates:\ngroups: {social: null}\ntasks: {like: null, new: null}\n"))
    assert "gates" not in whole
    assert list(whole["groups"]) == ["watch"]
    assert whole["tasks"] == {"click": {}, "long_view": {}, "follow": {}, "new": None}
    assert "gates" not in data(flagged("gates="))
    assert data(flagged("experts.meta="))["experts"] == {"width": 32}


def test_folders_leave_out_bases(folder: Path) -> None:
    (folder / "_part.yaml").write_text("homespec: 1\n")
    (folder / "spec.yaml").write_text("extends: _part.yaml\n" + BASE)
    code, result = run("validate", str(folder))
    assert (code, result.stderr) == (0, "2 files checked, nothing found\n")


# ---------------------------------------------------------------- flags


def flagged(*flags: str) -> Document:
    return with_bases(parse(BASE, "base.yaml"), flags)


@pytest.mark.parametrize(
    ("flag", "path", "value"),
    [
        ("gates.self=false", ("gates", "self"), False),
        ("experts.width=64", ("experts", "width"), 64),
        ("experts.hidden=[8, 4]", ("experts", "hidden"), [8, 4]),
        ("experts.meta.shared.norm=layer", ("experts", "meta", "shared", "norm"), "layer"),
        ("experts.meta.shared.norm=layer", ("experts", "meta", "shared", "count"), 4),
        ("experts.meta={group: 1}", ("experts", "meta"), {"shared": 4, "group": 1}),
        ("towers.hidden=[]", ("towers", "hidden"), []),
        ("tasks.like={rate: 0.1}", ("tasks", "like"), {"rate": 0.1}),
        ("groups.watch.1=click", ("groups", "watch"), ["click", "click"]),
        ("description=a = b", ("description",), "a = b"),
        ("tasks.new=", ("tasks", "new"), None),
        ("description='x'", ("description",), "x"),
    ],
)
def test_flags(flag: str, path: tuple[str, ...], value: object) -> None:
    document = flagged(flag)
    found: Any = data(document)
    for step in path:
        found = found[step]
    assert found == value
    if "count" not in path and path != ("experts", "meta") and path != ("groups", "watch"):
        span = document.span(path)
        assert span.file == OVERRIDES
        written = flag[span.start.column - 1 : span.end.column - 1]
        assert yaml.safe_load(written or "null") == value


def test_later_flags_win_and_have_their_own_line() -> None:
    document = flagged("experts.width=64", "experts.width=128")
    assert data(document)["experts"]["width"] == 128
    assert document.span(("experts", "width")).start == Position(2, 15)
    assert document.span(("experts", "width"), key=True).start == Position(2, 9)
    assert document.span(("gates",), key=True).file == "base.yaml"


@pytest.mark.parametrize("flag", ["experts.width", "=3", "a..b=3", ".a=3", "a.=3", "", "a b=3"])
def test_flags_of_no_form(flag: str) -> None:
    with pytest.raises(ValueError, match="PATH=VALUE"):
        flagged(flag)
    result = CliRunner().invoke(cli, ["validate", "x.yaml", "--set", flag])
    assert result.exit_code == 2
    assert "PATH=VALUE" in result.stderr


@pytest.mark.parametrize(
    "flag", ["a=\n", "extends=x.yaml", "a=\x1b[31m", "a=" + 999 * "9", "a" + 20 * ".a" + "=1"]
)
def test_refused_flags(flag: str) -> None:
    with pytest.raises(ValueError, match=r"characters|in the file|PATH"):
        flagged(flag)


@pytest.mark.parametrize(
    ("flag", "rule", "column"),
    [
        ("gates.self=flase", "wrong-type", 12),
        ("gates.slef=true", "unknown-key", 7),
        ("experts.width=-1", "out-of-range", 15),
        ("experts.hidden=[8, x]", "wrong-type", 20),
        ("experts.hidden=[8", "yaml-syntax", 16),
        ("groups.watch.2=like", "unknown-item", 14),
        ("groups.watch.x=like", "unknown-item", 14),
        ("family=pel", "unknown-choice", 8),
        ("experts={a: 1, a: 2}", "duplicate-key", 16),
        ("experts.width=!!python/object:os.system 3", "tag", 15),
    ],
)
def test_errors_name_the_flag(flag: str, rule: str, column: int) -> None:
    with pytest.raises(homespec.SpecError) as failure:
        homespec.loads(BASE, "base.yaml", overrides=["towers.activation=relu", flag])
    (diagnostic,) = failure.value.report.diagnostics
    assert rule in diagnostic.rule.name
    assert (diagnostic.span.file, diagnostic.span.start) == (OVERRIDES, Position(2, column))
    assert f"2 | {flag}" in str(failure.value)


@pytest.mark.usefixtures("folder")
def test_the_header_names_the_flags() -> None:
    flags = ["--set", "gates.self=false", "--set", 'description=it\'s "\\"""']
    assert run("compile", "base.yaml", *flags)[0] == 0
    text = Path("generated/base.py").read_text()
    assert "homespec compile base.yaml --set gates.self=false --set 'description=it" in text
    compile(text, "base.py", "exec")
    assert run("compile", "--check", "base.yaml", *flags)[0] == 0
    code, result = run("compile", "--check", "base.yaml")
    assert (code, "stale" in result.stdout) == (1, True)


def test_flags_leave_other_places_alone() -> None:
    document = flagged("towers.hidden=[8]", "experts.task.shared=3")
    assert document.span(()).file == "base.yaml"
    assert document.span(("experts",)).file == "base.yaml"
    assert document.span(("experts", "task", "shared")).file == OVERRIDES


def test_the_same_from_python() -> None:
    assert homespec.loads(BASE, overrides=["family=ple", "layers=3"]).layers == 3


# ---------------------------------------------------------------- laws

KEYS = st.sampled_from(["experts", "gates", "a", "feature"])
DATA = st.dictionaries(
    KEYS,
    st.recursive(
        st.integers(0, 9) | st.booleans() | st.sampled_from(["x", "y"]),
        lambda deeper: st.dictionaries(KEYS, deeper, max_size=3) | st.lists(deeper, max_size=2),
        max_leaves=6,
    ),
    min_size=1,
    max_size=3,
)


def laid(*layers: dict[str, Any]) -> Document:
    from homespec.source.merge import merged

    documents = [parse(yaml.safe_dump(layer), f"{i}") for i, layer in enumerate(layers)]
    value, node = documents[0].data, documents[0].root
    for document in documents[1:]:
        value, node = merged(value, document.data, node, document.root, ())
    assert isinstance(value, dict)
    return Document(documents[0].lines, value, node)


@given(DATA)
def test_a_document_over_itself_is_itself(layer: dict[str, Any]) -> None:
    assert laid(layer, layer).data == laid(layer).data


@given(DATA, DATA)
def test_every_value_has_a_place(below: dict[str, Any], above: dict[str, Any]) -> None:
    """Each scalar lies in the file that has it last."""
    document = laid(below, above)

    def check(value: Any, path: tuple[str | int, ...]) -> None:
        span = document.span(path)
        if isinstance(value, dict):
            for key, deeper in value.items():
                check(deeper, (*path, key))
        elif not isinstance(value, list):
            text = yaml.safe_dump((below, above)[int(span.file)]).splitlines()
            line = text[span.start.line - 1]
            assert yaml.safe_load(line[span.start.column - 1 : span.end.column - 1]) == value

    check(document.data, ())


@given(DATA, DATA)
def test_nothing_of_the_upper_one_is_lost(below: dict[str, Any], above: dict[str, Any]) -> None:
    whole = laid(below, above).data

    def check(found: Any, wanted: Any) -> None:
        if isinstance(wanted, dict):
            for key, value in wanted.items():
                check(found[key], value)
        elif isinstance(found, dict):
            assert wanted in (found.get("count"), found.get("enabled"))
        else:
            assert found == wanted

    check(whole, above)

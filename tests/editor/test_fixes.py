"""Fixes are proven by the compiler, and renames leave the model what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

import homespec
from homespec.analysis.expand import expanded
from homespec.diagnostics import Diagnostic
from homespec.editor.completion import complete
from homespec.editor.edits import CannotEditError, applied, insert_key, remove_entry
from homespec.editor.fixes import Fix, fixes
from homespec.editor.hover import hover
from homespec.editor.mentions import mentions
from homespec.editor.open_specs import OpenSpecs
from homespec.editor.rename import rename
from homespec.source import parse
from homespec.source.roots import real

ROOT = Path(__file__).resolve().parents[2]
BROKEN = ROOT / "tests/rules/err"
SPECS = sorted((ROOT / "specs").rglob("*.yaml"))


def on_disk() -> OpenSpecs:
    return OpenSpecs(lambda place: None)


def with_text(file: str, text: str) -> OpenSpecs:
    return OpenSpecs(lambda place: text if place == real(file) else None)


def all_fixes(path: Path) -> list[tuple[Diagnostic, Fix]]:
    specs = on_disk()
    found = specs.report(str(path)).diagnostics
    return [
        (diagnostic, fix) for diagnostic in found for fix in fixes(str(path), diagnostic, specs)
    ]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("HS101-unknown-key", "Remove `optimizer`"),
        ("HS101-unknown-key.required", "Replace `max_length` with `max_len: 20`"),
        ("HS105-unknown-choice", "Replace `bach` with `batch`"),
        ("HS109-reserved-name", "Replace `forward` with `forward_task`, and keep `label: forward`"),
        ("HS112-feature-dim", "Set `dim: 16`"),
        ("HS201-unknown-member", "Replace `liek` with `like`"),
        ("HS204-group-cycle", "Remove `social`"),
        ("HS308-many-states", "Remove `inputs`"),
        ("HS407-sparse-without-own", "Set `experts.task.nodes: {like: 1}`"),
    ],
)
def test_remedies_become_fixes_that_mend(name: str, title: str) -> None:
    titles = []
    for path in sorted(BROKEN.glob(f"{name}*.yaml")):
        for diagnostic, fix in all_fixes(path):
            file = diagnostic.span.file
            text = applied(Path(file).read_text("utf-8"), fix.edits)
            after = with_text(file, text).report(str(path)).diagnostics
            assert (diagnostic.rule, diagnostic.message) not in {(d.rule, d.message) for d in after}
            titles.append(fix.title)
    assert title in titles


@pytest.mark.parametrize("comment", ["", "  # as it was"])
def test_a_warning_is_ignored_where_it_is(comment: str, tmp_path: Path) -> None:
    text = (BROKEN / "HS402-unnormalised-experts.yaml").read_text("utf-8")
    text = "".join(f"{line}{comment}\n" for line in text.splitlines())
    path = tmp_path / "s.yaml"
    path.write_text(text, "utf-8")
    (fix,) = [f for d, f in all_fixes(path) if f.title.startswith("Ignore")]
    after = with_text(str(path), applied(text, fix.edits)).report(str(path))
    assert not after.diagnostics


@pytest.mark.parametrize(
    "name",
    ["HS017-unknown-ignore.form", "HS025-bad-columns.number", "HS201-unknown-member.stranger"],
)
def test_examples_and_guesses_are_no_fixes(name: str) -> None:
    """`ignore[rule-name]`, `{c0: "0"}` for a list of two, any task for an unknown one."""
    titles = [fix.title for _, fix in all_fixes(BROKEN / f"{name}.yaml")]
    assert not [title for title in titles if not title.startswith("Ignore")]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_a_removed_entry_leaves_no_empty_line(line_break: str) -> None:
    text = "a:\n  - x  # one\n  - y\nb: 2\n".replace("\n", line_break)
    for path, rest in ((("a", 0), "a:\n  - y\nb: 2\n"), (("b",), "a:\n  - x  # one\n  - y\n")):
        edit = remove_entry(parse(text), path)
        assert applied(text, [edit]) == rest.replace("\n", line_break)


def test_a_mapping_with_aliases_gets_no_key_for_one_of_them() -> None:
    text = "tasks:\n  a: &same {weight: 2}\n  b: *same\n  c: &other {weight: 2}\n"
    document = parse(text)
    for name in "ab":
        with pytest.raises(CannotEditError, match="alias"):
            insert_key(document, ("tasks", name), "label: x")
    edit = insert_key(document, ("tasks", "c"), "label: x")
    assert applied(text, [edit]).endswith("c: &other {label: x, weight: 2}\n")


def test_an_error_cannot_be_ignored() -> None:
    titles = [fix.title for _, fix in all_fixes(BROKEN / "HS201-unknown-member.yaml")]
    assert not [title for title in titles if title.startswith("Ignore")]


# ---------------------------------------------------------------- renames


def renamed(path: Path, old: str, new: str) -> OpenSpecs:
    """A spec and what it extends after a rename."""
    related = on_disk().related(str(path), None)
    edits = rename(old, new, related)
    texts = {
        spec.place: applied(spec.own.text, [e for e in edits if real(e.file) == spec.place])
        for spec in related
    }
    return OpenSpecs(texts.get)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_rename_of_each_task_and_group_keeps_the_model(path: Path) -> None:
    """But for the name all is the same, the column of the label too: each mention is found."""
    analysis = homespec.load(path).analysis
    spec = analysis.spec
    for old in (*spec.tasks, *spec.groups):
        new = "Z" + old[1:]  # as long, so that lines fold alike
        specs = renamed(path, old, new)
        assert not specs.report(str(path)).has_errors, old
        after = specs.analysis(str(path))
        assert after is not None
        texts = [expanded(a).replace(new, old) for a in (analysis, after)]
        values = [[line.partition("#")[0].rstrip() for line in t.splitlines()] for t in texts]
        assert values[0] == values[1], old


def test_a_rename_reaches_bases_and_what_extends_them(tmp_path: Path) -> None:
    base = "homespec: 1\nname: b\nfamily: mmoe\nfeatures: {u: {id: {buckets: 9}, dim: 8}}\n"
    (tmp_path / "base.yaml").write_text(base + "tasks:\n  a:\n    weight: 2\n  b:\n")
    child = "homespec: 1\nname: c\nextends: base.yaml\ntasks: {a: {rate: 0.1}, c: {where: a}}\n"
    (tmp_path / "child.yaml").write_text(child)
    (tmp_path / "other.yaml").write_text(child.replace("name: c", "name: o"))
    specs = on_disk()
    related = specs.related(str(tmp_path / "child.yaml"), str(tmp_path))
    assert {Path(spec.place).name for spec in related} == {"base.yaml", "child.yaml", "other.yaml"}
    texts = {
        Path(spec.place).name: applied(
            spec.own.text, [e for e in rename("a", "z", related) if real(e.file) == spec.place]
        )
        for spec in related
    }
    assert texts["base.yaml"].endswith("tasks:\n  z:\n    label: a\n    weight: 2\n  b:\n")
    assert texts["child.yaml"].endswith("tasks: {z: {rate: 0.1}, c: {where: z}}\n")
    assert texts["other.yaml"].endswith("tasks: {z: {rate: 0.1}, c: {where: z}}\n")


def test_a_rename_leaves_other_specs_over_the_same_base_alone(tmp_path: Path) -> None:
    """Each has a task of its own that happens to have this name."""
    base = "homespec: 1\nname: b\nfamily: mmoe\nfeatures: {u: {dense: 4}}\ntasks: {a: {}}\n"
    (tmp_path / "base.yaml").write_text(base)
    child = "homespec: 1\nname: c\nextends: base.yaml\ntasks: {c: {where: a}}\n"
    (tmp_path / "child.yaml").write_text(child)
    (tmp_path / "other.yaml").write_text(child)
    related = on_disk().related(str(tmp_path / "child.yaml"), str(tmp_path))
    assert len(related) == 3
    assert {Path(edit.file).name for edit in rename("c", "z", related)} == {"child.yaml"}
    assert {Path(edit.file).name for edit in rename("a", "z", related)} == {
        "base.yaml",
        "child.yaml",
        "other.yaml",
    }


def test_packages_and_links_that_lead_out_are_not_searched(tmp_path: Path) -> None:
    project = tmp_path / "project"
    child = "homespec: 1\nname: c\nextends: s.yaml\n"
    for folder in (tmp_path, project / "node_modules/p", project / ".hidden", project / "in"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "c.yaml").write_text(child.replace("s.yaml", "../s.yaml"))
    (project / ".git").mkdir()
    (project / "s.yaml").write_text(LISTED)
    (project / "link.yaml").symlink_to(tmp_path / "c.yaml")
    related = on_disk().related(str(project / "s.yaml"), str(project))
    assert [spec.place for spec in related] == [
        real(str(project / n)) for n in ("s.yaml", "in/c.yaml")
    ]


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("like", "a task or group `like` already exists"),
        ("shared", "reserved"),
        ("null", "not a name"),
        ("a b", "not a name"),
        ("x: 1", "not a name"),
    ],
)
def test_names_that_cannot_be_are_refused(new: str, reason: str) -> None:
    specs = on_disk()
    path = str(ROOT / "specs/quickstart.yaml")
    with pytest.raises(CannotEditError, match=reason):
        rename("click", new, specs.related(path, None))


# ---------------------------------------------------------------- versions


def test_a_spec_is_checked_once_for_each_version_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(LISTED)
    path = tmp_path / "child.yaml"
    path.write_text("homespec: 1\nname: c\nextends: base.yaml\n")
    specs = on_disk()
    report = specs.report(str(path))
    assert specs.report(str(path)) is report
    (tmp_path / "base.yaml").write_text(LISTED.replace("table: C3", "table: C33"))
    assert [d.rule.code for d in specs.report(str(path)).diagnostics if d.is_error] == ["HS220"]
    (tmp_path / "base.yaml").unlink()
    assert specs.report(str(path)).diagnostics[0].rule.code == "HS020"
    (tmp_path / "base.yaml").write_text(LISTED)
    assert not specs.report(str(path)).has_errors


# ---------------------------------------------------------------- features of `columns`

LISTED = """\
homespec: 1
name: listed
family: mmoe
features:
  user: {id: {buckets: 100}, dim: 8}
  sparse: {columns: C1..C6, id: {buckets: 100}, dim: 8}
  more: {columns: [D1, D2], id: {buckets: 50}, dim: 8}
  last: {table: C3}
tasks: {click: {}, like: {}}
"""


def test_columns_are_features(tmp_path: Path) -> None:
    """`C3` of `C1..C6` is completed, explained, and found where the range is."""
    path = str(tmp_path / "s.yaml")
    specs = with_text(path, LISTED)
    assert not specs.report(path).has_errors
    document = specs.own(path)
    at = LISTED.index("table: C3") + len("table: ")
    assert "a table of 101 rows" in hover(document, at, specs.analysis(path))
    (place,) = {m.range for m in mentions(document) if m.name == "C3" and m.place.declares}
    assert document.text[slice(*place)] == "C1..C6"
    (place,) = {m.range for m in mentions(document) if m.name == "D2"}
    assert document.text[slice(*place)] == "D2"
    names = [item.text for item in complete(LISTED[:at] + LISTED[at + 2 :], at).items]
    assert {"C1", "C6", "D2", "user"} <= set(names)
    assert "sparse" not in names  # an entry of columns has no table


# ---------------------------------------------------------------- completion


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_what_a_spec_mentions_is_offered_there(path: Path) -> None:
    """At each name that is mentioned, a completion of the emptied word has it, or all are taken."""
    document = on_disk().own(str(path))
    data = on_disk().whole(str(path)).data
    asked = [m for m in mentions(document) if not m.place.declares][:20]
    for mention in asked:
        start, end = mention.range
        text = document.text[:start] + document.text[end:]
        found = complete(text, start, data)
        assert mention.name in [item.text.removesuffix(": ") for item in found.items], mention


@pytest.mark.parametrize("cut", range(0, 900, 7))
def test_no_text_is_too_broken(cut: int) -> None:
    text = (ROOT / "specs/quickstart.yaml").read_text("utf-8")[:cut]
    for broken in (text, text + "[", text + "{", text + '"', text + "\t", text + "&a *b"):
        found = complete(broken, len(broken))
        assert 0 <= found.start <= found.end <= len(broken)


def test_hostile_texts_are_answered_at_once() -> None:
    """Deep, wide and aliased: what the composer bounds bounds completion."""
    for text in (
        "[" * 5000,
        "{a: " * 5000,
        "a: &a [x]\n" + "b: [*a" + ", *a" * 60_000,
        "- " * 9000,
    ):
        assert complete(text, len(text)).items == ()


def test_the_server_is_for_editors_alone() -> None:
    """All but `server.py` works without pygls: the same code can answer elsewhere."""
    folder = ROOT / "homespec/editor"
    users = [p.name for p in folder.glob("*.py") if "pygls" in p.read_text("utf-8").split('"""')[2]]
    assert users == ["server.py"]

"""Fixes are proven by the compiler, and renames leave the model what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

import homespec
from homespec.analysis.expand import expanded
from homespec.diagnostics import Diagnostic
from homespec.editor.completion import complete
from homespec.editor.edits import CannotEditError, applied
from homespec.editor.fixes import Fix, fixes
from homespec.editor.mentions import mentions
from homespec.editor.open_specs import OpenSpecs
from homespec.editor.rename import rename
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
        ("HS105-unknown-choice", "Replace `bach` with `batch`"),
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


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("like", "there is a task or group `like` already"),
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

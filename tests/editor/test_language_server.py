"""`homespec lsp` through the protocol, by a client that starts it as an editor does."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pygls", reason="needs the extra lsp")
from language_client import Editor, in_editor
from lsprotocol import types

from homespec.cli.main import cli

SPEC = """\
homespec: 1
name: shorts
features:
  user: {id: {buckets: 100}, dim: 8}
  "über": {table: user}
groups:
  watch: [click, long_view]
  act: [like]
tasks:
  click: {}
  long_view: {where: click}
  like: {label: is_like}
gates: {self: false}
""".replace('"über"', "friend")
LINES = SPEC.splitlines()


def place(text: str, snippet: str, after: int = 0) -> tuple[int, int]:
    """Line and column of a snippet of a text, `after` characters into it."""
    start = text.index(snippet) + after
    return text.count("\n", 0, start), start - (text.rfind("\n", 0, start) + 1)


def test_diagnostics_come_as_one_types_and_go(tmp_path: Path) -> None:
    async def scene(editor: Editor) -> None:
        await editor.open("s.yaml", SPEC)
        assert not [d for d in await editor.diagnostics("s.yaml") if d.severity == 1]
        await editor.change("s.yaml", SPEC.replace("act: [like]", "act: [liek]"))
        found = [d for d in await editor.diagnostics("s.yaml") if d.code == "HS201"]
        line, column = place(SPEC, "like]")
        assert found[0].range.start == types.Position(line, column)
        assert found[0].range.end == types.Position(line, column + 4)
        assert "did you mean `like`?" in found[0].message
        await editor.change("s.yaml", SPEC)
        assert not [d for d in await editor.diagnostics("s.yaml") if d.severity == 1]

    in_editor(tmp_path, scene)


def test_columns_are_counted_as_editors_do(tmp_path: Path) -> None:
    """An emoji is two units of UTF-16, in which editors count."""
    text = SPEC.replace("  act: [like]", '  act: ["😀", liek]')

    async def scene(editor: Editor) -> None:
        await editor.open("s.yaml", text)
        spans = {
            (d.range.start.character, d.range.end.character)
            for d in await editor.diagnostics("s.yaml")
            if d.code == "HS201"
        }
        assert spans == {(8, 12), (14, 18)}

    in_editor(tmp_path, scene)


def test_a_base_that_is_not_saved_counts(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SPEC, "utf-8")

    async def scene(editor: Editor) -> None:
        await editor.open("child.yaml", "homespec: 1\nname: child\nextends: base.yaml\n")
        assert not [d for d in await editor.diagnostics("child.yaml") if d.severity == 1]
        await editor.open("base.yaml", SPEC.replace("[like]", "[liek]"))
        assert [d.code for d in await editor.diagnostics("base.yaml") if d.severity == 1] == [
            "HS201"
        ]
        found = await editor.client.text_document_definition_async(
            types.DefinitionParams(**editor.at("child.yaml", 2, 12))
        )
        assert [location.uri for location in found] == [editor.uri("base.yaml")]

    in_editor(tmp_path, scene)


def test_completion_in_a_spec_that_is_no_yaml_yet(tmp_path: Path) -> None:
    text = SPEC.replace("act: [like]", "act: [l")

    async def scene(editor: Editor) -> None:
        await editor.open("s.yaml", SPEC)  # which the server remembers as sound
        await editor.change("s.yaml", text)
        line, column = place(text, "act: [l", 7)
        found = await editor.client.text_document_completion_async(
            types.CompletionParams(**editor.at("s.yaml", line, column))
        )
        assert isinstance(found, types.CompletionList)
        labels = [item.label for item in found.items]
        assert labels[0] == "like"  # the only task that is in no group
        assert set(labels) == {"like", "click", "long_view", "watch"}

    in_editor(tmp_path, scene)


def test_hover_knows_widths_and_what_gates_read(tmp_path: Path) -> None:
    async def scene(editor: Editor) -> None:
        await editor.open("s.yaml", SPEC)

        async def hovered(snippet: str) -> str:
            at = editor.at("s.yaml", *place(SPEC, snippet, 1))
            found = await editor.client.text_document_hover_async(types.HoverParams(**at))
            assert found is not None
            assert isinstance(found.contents, types.MarkupContent)
            return found.contents.value

        assert "table of 101 rows, 8 wide of the 16 of v" in await hovered("user: {id")
        card = await hovered("long_view: {where")
        assert "rows where `click`" in card
        assert "its gate reads watch, shared" in card
        assert "hierarchy" in await hovered("groups:")

    in_editor(tmp_path, scene)


def test_rename_reaches_every_spec_of_the_folder(tmp_path: Path) -> None:
    child = "homespec: 1\nname: child\nextends: s.yaml\ntasks: {click: {weight: 2}}\n"
    (tmp_path / "child.yaml").write_text(child, "utf-8")
    (tmp_path / "s.yaml").write_text(SPEC, "utf-8")

    async def scene(editor: Editor) -> None:
        await editor.open("s.yaml", SPEC)
        at = editor.at("s.yaml", *place(SPEC, "where: click", 8))
        edit = await editor.client.text_document_rename_async(
            types.RenameParams(new_name="tap", **at)
        )
        assert edit is not None
        changes = edit.changes or {}
        assert {uri.rsplit("/", 1)[1]: len(edits) for uri, edits in changes.items()} == {
            "s.yaml": 4,  # declared, in its group, in `where`, and the label that it had
            "child.yaml": 1,
        }
        texts = [getattr(e, "new_text", "") for e in changes[editor.uri("s.yaml")]]
        assert texts.count("label: click") == 1
        edit = await editor.client.text_document_rename_async(
            types.RenameParams(new_name="like", **at)
        )
        assert edit is None
        assert editor.messages == ["a task or group `like` already exists"]

    in_editor(tmp_path, scene)


def test_fixes_and_references(tmp_path: Path) -> None:
    text = SPEC.replace("[like]", "[liek]")

    async def scene(editor: Editor) -> None:
        await editor.open("s.yaml", text)
        line, column = place(text, "liek")
        here = types.Range(types.Position(line, column), types.Position(line, column))
        actions = await editor.client.text_document_code_action_async(
            types.CodeActionParams(
                types.TextDocumentIdentifier(editor.uri("s.yaml")),
                here,
                types.CodeActionContext(diagnostics=[]),
            )
        )
        assert [action.title for action in actions or ()] == ["Replace `liek` with `like`"]
        at = editor.at("s.yaml", *place(text, "click: {}", 1))
        found = await editor.client.text_document_references_async(
            types.ReferenceParams(context=types.ReferenceContext(True), **at)
        )
        assert len(found or ()) == 3

    in_editor(tmp_path, scene)


def test_what_two_specs_say_about_one_base_is_shown_together(tmp_path: Path) -> None:
    """And mending one of them leaves what the other says."""
    base = SPEC.replace("features:", "experts: {width: 8, norm: none}\nfeatures:")
    child = "homespec: 1\nname: child\nextends: base.yaml\n"
    (tmp_path / "base.yaml").write_text(base, "utf-8")

    async def codes(editor: Editor) -> set[object]:
        return {d.code for d in await editor.diagnostics("base.yaml")}

    async def scene(editor: Editor) -> None:
        await editor.open("base.yaml", base)
        own = await codes(editor)
        assert own
        await editor.open("child.yaml", child + "tasks: {like: {label: [}}\n")
        assert await codes(editor) == own
        await editor.change("child.yaml", child)
        assert await codes(editor) == own
        await editor.change("child.yaml", child + "experts: {norm: layer}\n")
        assert await codes(editor) == own
        editor.close("child.yaml")
        assert not await editor.diagnostics("child.yaml")
        assert await codes(editor) == own

    in_editor(tmp_path, scene)


def test_other_yaml_files_are_left_alone(tmp_path: Path) -> None:
    """Editors send all YAML files, and buffers that are no file."""
    compose = "name: web\nservices:\n  db: {image: postgres}\n"

    async def scene(editor: Editor) -> None:
        await editor.open("compose.yaml", compose)
        assert not await editor.diagnostics("compose.yaml")
        at = editor.at("compose.yaml", 0, 2)
        hover = await editor.client.text_document_hover_async(types.HoverParams(**at))
        assert hover is None
        found = await editor.client.text_document_completion_async(types.CompletionParams(**at))
        assert isinstance(found, types.CompletionList)
        assert not found.items
        item = types.TextDocumentItem("untitled:Untitled-1", "yaml", 1, SPEC)
        editor.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        await editor.open("my spec ü.yaml", SPEC.replace("[like]", "[liek]"))
        found_there = await editor.diagnostics("my spec ü.yaml")
        assert found_there[0].code == "HS201"
        await editor.open("new.yaml", "ho")
        found = await editor.client.text_document_completion_async(
            types.CompletionParams(**editor.at("new.yaml", 0, 2))
        )
        assert isinstance(found, types.CompletionList)
        assert "homespec" in [item.label for item in found.items]
        assert not editor.messages

    in_editor(tmp_path, scene)


def test_who_starts_it_in_a_terminal_learns_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: list[bool] = []
    monkeypatch.setattr("homespec.editor.server.run", lambda: served.append(True))
    for terminal in (False, True):
        monkeypatch.setattr("sys.stdin.isatty", lambda terminal=terminal: terminal)
        assert cli.main(["lsp"], standalone_mode=False) == 0
        assert ("Waiting for an editor" in capsys.readouterr().err) == terminal
    assert served == [True, True]

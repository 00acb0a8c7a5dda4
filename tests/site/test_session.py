"""What the playground answers, by the Python that is here: the same code runs in the browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import homespec

ROOT = Path(__file__).parents[2]
PLAYGROUND = ROOT / "docs" / "playground"
SPEC = """\
homespec: 1
name: shorts
features:
  user_id: {id: {buckets: 1000}, dim: 64}
  hour:
    bucketize: [6, 12, 18]
    dim: 4
groups:
  watch: [click, finish]
  interaction: [like, follow]
tasks: {click: {}, finish: {}, like: {}, follow: {}}
experts:
  task: {task: 1}
"""
Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Asks a session in a folder as the worker has it."""
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    (tmp_path / "specs" / "playground").mkdir()
    monkeypatch.chdir(tmp_path / "specs" / "playground")
    monkeypatch.syspath_prepend(str(PLAYGROUND / "worker"))
    from session import answerer

    answer = answerer()
    return lambda name, *values: json.loads(answer(json.dumps({"ask": name, "with": values})))


def units(text: str, start: int, end: int) -> str:
    """A part of a text by JavaScript's offsets."""
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")


def test_a_mistake_is_where_validate_puts_it(ask: Ask) -> None:
    text = SPEC.replace("shorts", "shorts # 🎬 𝄞").replace("{task: 1}", "{tasks: 1} # 🎬")
    found = ask("check", text)
    (mistake,) = found["diagnostics"]
    assert not found["sound"]
    assert units(text, mistake["from"], mistake["to"]) == "tasks"
    assert (mistake["code"], mistake["place"]) == ("HS101", "13")
    (fix, *_) = ask("fixes", 0)
    (change,) = fix["changes"]
    mended = units(text, 0, change["from"]) + change["insert"] + units(text, change["to"], 10**6)
    assert ask("check", mended) == {"sound": True, "diagnostics": []}


def test_what_is_wrong_with_a_base_is_shown_where_it_is_extended(ask: Ask) -> None:
    Path("../bad.yaml").write_text(SPEC.replace("task: 1", "tasks: 1"))
    text = "homespec: 1\nextends: ../bad.yaml\n"
    (mistake,) = ask("check", text)["diagnostics"]
    assert units(text, mistake["from"], mistake["to"]) == "../bad.yaml"
    assert mistake["place"] == "../bad.yaml:13"


def test_completion_and_hover_count_as_javascript_does(ask: Ask) -> None:
    text = "# 🎬 𝄞\n" + SPEC
    ask("check", text)
    start = len(text[: text.index("click, ")].encode("utf-16-le")) // 2
    assert "<strong>click</strong> (task)" in ask("hover", text, start + 1)
    cut = text.replace("[click, finish]", "[click, ]")
    place = len(cut[: cut.index("click, ") + 7].encode("utf-16-le")) // 2
    found = ask("complete", cut, place)
    assert (found["from"], found["to"]) == (place, place)
    assert found["items"][0]["text"] == "finish"


def test_tags_in_markdown_stay_text(ask: Ask) -> None:
    from session import html

    assert "<img" not in html("a <img src=x onerror=alert(1)>\n\n<script>alert(1)</script>")
    assert "javascript:" not in html("[a](javascript:alert(1))").replace("](javascript", "")


def test_every_shape_of_the_drawing_leads_to_its_line(ask: Ask) -> None:
    ask("check", SPEC)
    found = ask("model")
    analysis = homespec.loads(SPEC).analysis
    drawn = found["drawing"][1]
    assert drawn.count('class="expert') == 16
    assert 'href="#line-13"' in drawn
    assert "the tower of click" in drawn
    from homespec.analysis.summary import summarise

    total = summarise(analysis).total
    assert found["costs"][-1] == ["in all", total.parameters, total.flops]


@pytest.mark.parametrize("options", [{}, {"optimize": False}, {"mode": "inference"}])
def test_the_file_is_that_of_compile_with_its_lines(ask: Ask, options: dict[str, Any]) -> None:
    ask("check", SPEC)
    found = ask("code", options)
    assert found["text"] == homespec.compile("spec.yaml", **options)
    code, spec = found["text"].splitlines(), SPEC.splitlines()
    features = {
        code[first - 1].split('"')[1]: (spec[start - 1].strip(), spec[end - 1].strip())
        for first, _, start, end in found["links"]
        if code[first - 1].startswith('    "')
    }
    assert features["user_id"][0].startswith("user_id:")
    assert features["hour"] == ("bucketize: [6, 12, 18]", "dim: 4")
    if "optimize" in options:  # these files say it of features alone
        return
    assert any(spec[start - 1] == "  task: {task: 1}" for _, _, start, _ in found["links"])


def test_long_lists_of_lines_are_completed(ask: Ask) -> None:
    text = (ROOT / "specs" / "kuairand.yaml").read_text("utf-8")
    ask("check", text)
    found = ask("code", {})
    code, spec = found["text"].splitlines(), text.splitlines()
    linked = {
        spec[start - 1].split(":")[0].strip()
        for first, _, start, _ in found["links"]
        if "self.towers =" in code[first - 1]
    }
    assert linked == set(homespec.loads(text).tasks)
    for first, last, *_ in found["links"]:  # a statement is closed where it ends
        lines = "".join(code[first - 1 : last])
        assert lines.count("(") == lines.count(")"), lines


def test_words_are_those_of_the_command_line(ask: Ask) -> None:
    ask("check", SPEC)
    assert ask("show").startswith("shorts (HoME): 4 tasks")
    assert ask("explain").startswith("shorts equals HoME")
    assert "HS101" in ask("rule", "HS101")
    assert "no change" in ask("diff", SPEC)
    assert "`hour`" in ask("diff", SPEC.replace("dim: 4", "dim: 8"))
    assert "error[" in ask("diff", "homespec: 1\n")


def test_the_anomalies_compile_and_are_warned_of(ask: Ask) -> None:
    for file in sorted((PLAYGROUND / "examples").glob("*.yaml")):
        found = ask("check", file.read_text("utf-8"))
        assert found["sound"], file
        assert any(each["severity"] == "warning" for each in found["diagnostics"]), file

"""The report in a real headless Chromium: quiet, alone, legible in both schemes, printable."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, CONTRASTS, Browser, chromium
from planted import InMemory, diagnosed, planted
from test_planted import PLANTS

from homespec.diagnostics import Report
from homespec.doctor.edits import Without, reached
from homespec.doctor.examine import Options, examine
from homespec.doctor.paired import KeptLosses, loss_changes
from homespec.doctor.report.page import Diagnosed, page
from homespec.graph import Graph
from homespec.health.measures import Effect, Health, Kind, Knockout

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a warning, beside another run."""
    runs, kept, rows = [], [], 1500
    for rule in ("constant-gate", "ignored-own-experts"):
        run, held_out = planted(PLANTS[rule][0])
        first = InMemory(next(InMemory(held_out.batch, rows).batches()))
        losses = KeptLosses(run.spec.analysis.graph)
        health = examine(run, first, Options(sample_rows=rows), kept=losses)
        runs.append(Diagnosed(run.spec.analysis, health, _report(run, health)))
        kept.append(losses)
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page(runs[0], runs[1], list(loss_changes(*kept))), encoding="utf-8")
    return file


def _report(run: Any, health: Any) -> Report:
    from homespec.health.check import check

    return Report.of(check(run.spec.analysis, health), run.spec.analysis.document.texts)


SCHEMES = ("light", "dark")
WIDTHS = (1280, 400)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_quiet_and_asks_for_nothing(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    browser.open(report, width, scheme)
    assert browser.requests() == [report.as_uri()]
    assert browser.logged() == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    shot = report.with_name(f"{width}-{scheme}.png")
    browser.screenshot(shot)
    assert shot.stat().st_size > 50_000


def test_requests_and_errors_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text(
        "<img src='http://example.invalid/x.png'><script>console.error('wrong')</script>"
    )
    browser.open(file)
    assert "http://example.invalid/x.png" in browser.requests()
    assert any(event["method"] == "Runtime.consoleAPICalled" for event in browser.logged())


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_stand_out(browser: Browser, report: Path, scheme: str, media: str) -> None:
    browser.open(report, scheme=scheme, media=media)
    contrasts = browser.evaluate(CONTRASTS)
    assert {"svg label", "svg small", "svg number", "TD need4", "I "} < set(contrasts)
    assert any(name.endswith(" pale") for name in contrasts)
    low = {name: round(ratio, 2) for name, ratio in contrasts.items() if ratio < 4.5}
    assert not low


def test_low_contrast_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "pale.html"
    file.write_text("<body style='background: #fff'><p style='color: #999'>pale</p>")
    browser.open(file)
    assert math.isclose(browser.evaluate(CONTRASTS)["P "], 2.85, abs_tol=0.01)


def test_findings_are_reached_by_keyboard(browser: Browser, report: Path) -> None:
    browser.open(report)
    script = """[...document.querySelectorAll('svg a')].map(a =>
        [a.getAttribute('href'), a.getAttribute('aria-label'),
         document.querySelector(a.getAttribute('href'))?.tagName, a.tabIndex])"""
    links = browser.evaluate(script)
    assert ["#finding-1", "finding 1: constant-gate", "ARTICLE", 0] in links
    assert all(tag == "ARTICLE" and tab == 0 for _, _, tag, tab in links)
    wide = "[...document.querySelectorAll('.scroll, pre')].every(e => e.tabIndex === 0)"
    assert browser.evaluate(wide)


def test_every_drawing_has_a_text(browser: Browser, report: Path) -> None:
    browser.open(report)
    script = "[...document.querySelectorAll('svg')].map(e => [e.ariaLabel, e.getAttribute('role')])"
    drawings = browser.evaluate(script)
    assert len(drawings) == 2 + 1 + 1 + 4  # tree and flow, changes, outputs, calibration
    assert all(label and role in ("img", "group") for label, role in drawings)


def test_it_prints_light_and_nothing_is_cut(browser: Browser, report: Path) -> None:
    browser.open(report, scheme="dark", media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)"
    )
    adjust = "getComputedStyle(document.querySelector('td.need4')).printColorAdjust"
    assert browser.evaluate(adjust) == "exact"
    file = report.with_suffix(".pdf")
    browser.pdf(file)
    sizes = re.findall(rb"/MediaBox\s*\[0 0 ([\d.]+) ([\d.]+)\]", file.read_bytes())
    assert 3 <= len(sizes) <= 20
    assert all(float(width) > float(height) for width, height in sizes)


TASKS = 32


def large() -> str:
    """A spec of 32 tasks in eight groups of three outer ones."""
    groups = [[f"task_{group}_{task}" for task in range(4)] for group in range(8)]
    inner = "".join(f"  group_{i}: [{', '.join(each)}]\n" for i, each in enumerate(groups))
    tasks = "".join(f"  {task}: {{label: {task}}}\n" for each in groups for task in each)
    return f"""\
homespec: 1
name: large
features:
  numbers: {{dense: 8}}
  place: {{id: {{vocab: 3}}, dim: 2}}
groups:
  watching: [group_0, group_1, group_2]
  interacting: [group_3, group_4, group_5]
  buying: [group_6, group_7]
{inner}tasks:
{tasks}experts:
  width: 8
  hidden: [16]
  meta: [{{shared: 2, group: 2}}, {{shared: 2, group: 2}}]
  task: {{shared: 2, group: 1, task: 1}}
gates: {{feature: {{loras: 2, rank: 2}}, self: true}}
towers: {{hidden: [8]}}
"""


def knockouts(health: Health, graph: Graph) -> Iterator[Knockout]:
    """As many effects as a doctor would measure; measuring them takes minutes."""
    parts: list[tuple[Kind, str, str]]
    parts = [("without_expert", expert.name, expert.set) for expert in health.experts]
    for name in dict.fromkeys(expert.set for expert in health.experts):
        parts += [("without_set", name, name), ("shuffled_set", name, name)]
    for number, (kind, target, of_set) in enumerate(parts):
        tasks = reached(graph, Without({of_set: (0,)}))
        change = 0.001 * number - 0.02
        effects = tuple(Effect(task, change, change - 0.01, change + 0.01) for task in tasks)
        yield Knockout(kind, target, "", effects)


def test_32_tasks_take_less_than_500_kb_and_fit(browser: Browser, tmp_path: Path) -> None:
    found, health, spec = diagnosed(lambda state: None, spec=large(), options=Options(0))
    health = replace(
        health,
        tasks=tuple(replace(task, judged=True) for task in health.tasks),
        knockouts=tuple(knockouts(health, spec.analysis.graph)),
    )
    report = Report.of(found, spec.analysis.document.texts)
    html = page(Diagnosed(spec.analysis, health, report))
    assert len(html.encode()) < 500_000
    file = tmp_path / "large.html"
    file.write_text(html, encoding="utf-8")
    browser.open(file, 400)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400
    browser.open(file, 1280)
    width = "document.querySelector('.model').scrollWidth"
    assert browser.evaluate(width) <= 1200  # the whole model without scrolling
    overlaps = """(() => {
      const texts = [...document.querySelectorAll('.model svg text')];
      const boxes = texts.map(text => text.getBoundingClientRect());
      return boxes.flatMap((a, i) => boxes.slice(i + 1)
        .filter(b => a.left < b.right - 1 && b.left < a.right - 1
          && a.top < b.bottom - 4 && b.top < a.bottom - 4)
        .map(() => texts[i].textContent));
    })()"""
    assert browser.evaluate(overlaps) == []

"""The report: one small file without network and script, readable in light and dark."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from planted import SPEC, diagnosed
from test_planted import PLANTS, nothing

import homespec
from homespec.api import LoadedSpec
from homespec.diagnostics import Diagnostic, Report
from homespec.doctor.examine import Options
from homespec.doctor.report.charts import distributions, nice_ticks, running_means, share_interval
from homespec.doctor.report.layout import LINE, Layout
from homespec.doctor.report.marks import findings, marks, with_code
from homespec.doctor.report.model import flow
from homespec.doctor.report.needs import step
from homespec.doctor.report.page import Diagnosed, page
from homespec.health.compare import own_weight
from homespec.health.losses import Losses
from homespec.health.measures import Effect, Health, Knockout
from homespec.health.tables import number

VOID = ("meta", "link", "br")


class Nesting(HTMLParser):
    """Fails where a tag is not closed in its turn; counts tags and collects texts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.words = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag in ("td", "tr") and self.open[-1] == "td":
            self.open.pop()  # a cell ends where the next one begins
        if tag == "tr" and self.open[-1] == "tr":
            self.open.pop()
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        while tag == "tbody" and self.open[-1] in ("td", "tr"):
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def report_of(rule: str = "", *overrides: str) -> str:
    plant = PLANTS[rule][0] if rule else nothing
    found, health, spec = diagnosed(plant, *overrides)
    return rendered(found, health, spec)


def rendered(found: list[Diagnostic], health: Health, spec: LoadedSpec) -> str:
    report = Report.of(found, spec.analysis.document.texts)
    return page(Diagnosed(spec.analysis, health, report))


def parsed(html: str) -> Nesting:
    parser = Nesting()
    parser.feed(html)
    assert not parser.open
    return parser


def test_a_report_holds_findings_drawings_and_tables() -> None:
    html = report_of("constant-gate")
    found = parsed(html)
    assert found.counts["svg"] == 2 + 1 + 4  # tree and flow, distributions, calibration by task
    for words in ("constant-gate", "HS731", "like: {label: like}", "--set gates.mixture.hidden"):
        assert words in found.words
    for name in ("meta.shared.0", "task.follow.0", "meta.interaction", "follow"):
        assert name in found.words
    assert len(html.encode()) < 500_000


@pytest.mark.parametrize("rule", ["copied-expert", "ignored-own-experts", "dead-lora"])
def test_what_a_finding_is_about_has_its_number_in_the_model(rule: str) -> None:
    plant, _, overrides = PLANTS[rule]
    found, health, spec = diagnosed(plant, *overrides)
    layout, numbered = Layout(spec.analysis), findings(Report.of(found, {}))
    drawn = flow(layout, Losses(health), marks(numbered))
    assert f'<a href="#finding-1" aria-label="finding 1: {rule}">' in drawn
    assert drawn.count("<a ") == len({name.partition(".loras.")[0] for name in found[0].about})


def test_every_part_is_in_the_row_of_its_owner() -> None:
    product = "  both: {product: [click, like], label: both}\nexperts:"
    spec = homespec.loads(SPEC.replace("experts:", product))
    layout = Layout(spec.analysis)
    rows = ["shared", "watch", "click", "finish", "interaction", "like", "follow", "both"]
    assert list(layout.rows) == rows
    assert [row.depth for row in layout.rows.values()] == [0, 1, 2, 2, 1, 2, 2, 1]
    for node in layout.sets:
        row = layout.rows[node.place]
        for x, y in layout.squares(node):
            assert row.above <= y < row.above + row.height
            assert layout.left(node.layer) <= x < layout.sets_end(node.layer)
    middles = [layout.end(node)[1] for node in layout.ends]
    assert middles == [layout.rows[node.task].middle for node in layout.ends]


def test_a_set_of_many_experts_takes_several_lines() -> None:
    spec = homespec.loads(SPEC, overrides=["experts.meta.shared=20"])
    layout = Layout(spec.analysis)
    (wide,) = (node for node in layout.sets if node.count == 20)
    places = list(layout.squares(wide))
    assert len(set(places)) == 20
    row = layout.rows["shared"]
    assert all(row.above <= y <= row.above + row.height - LINE + 4 for _, y in places)


def test_intervals_of_shares() -> None:
    """Of no positive in ten rows, and of half of a hundred (Wilson 1927)."""
    assert share_interval(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert share_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert share_interval(0, 0) == (0, 1)


def test_running_means() -> None:
    assert running_means([1, 2, 3, 6], 1) == [1.5, 2, 11 / 3, 4.5]


def test_effects_whose_interval_holds_0_are_pale() -> None:
    found, health, spec = diagnosed(nothing, options=Options(sample_rows=400))
    html = rendered(found, health, spec)
    cells = re.findall(r'<td class="?((?:need|better)[^">]*)"?>([^<]*)<i>±', html)
    pale = [text.startswith("(") for kind, text in cells if kind.endswith(" pale")]
    strong = [text.startswith("(") for kind, text in cells if not kind.endswith(" pale")]
    assert pale
    assert all(pale)
    assert strong
    assert not any(strong)


def test_a_proven_effect_comes_before_one_that_may_be_chance() -> None:
    _, health, _ = diagnosed(nothing)
    proven = Effect("finish", 0.01, 0.005, 0.015)
    effects = (Effect("click", 0.5, -0.1, 1.1), proven)
    knockout = Knockout("without_expert", "experts.meta.shared.0", "", effects)
    losses = Losses(replace(health, knockouts=(knockout,)))
    most = losses.most("without_expert", "experts.meta.shared.0")
    assert most == proven.by(losses.tasks["finish"].loss)
    assert most is not None
    assert step(most) == "need3"
    assert step(losses.relative(effects[0])) == "need4 pale"


def test_own_weights_are_those_of_the_terminal() -> None:
    """Of several layers with own experts the least counts in both."""
    _, health, spec = diagnosed(nothing, "family=ple", options=Options(sample_rows=0))
    shares = [
        s.weight / s.fair for g in health.gates for s in g.sources if s.owner == "like" == g.owner
    ]
    assert len(shares) == 2
    assert math.isclose(own_weight(health, "like"), min(shares))
    assert number(min(shares)) in parsed(rendered([], health, spec)).words


def test_a_healthy_report_says_so() -> None:
    assert "Nothing was found." in parsed(report_of()).words


@pytest.mark.parametrize("family", ["mmoe", "ple", "shared_bottom", "ml_mmoe", "moe"])
def test_reports_of_other_families(family: str) -> None:
    counts = ["experts.task.shared=1"] if family == "shared_bottom" else []
    html = report_of("", f"family={family}", "gates.feature=false", *counts)
    assert "Feature gates" not in parsed(html).words


def test_it_asks_for_nothing_and_runs_nothing() -> None:
    found = parsed(html := report_of())
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert len(found.addresses) == 7
    assert "script" not in found.counts
    assert "@import" not in html
    assert "url(" not in html


def test_names_are_escaped() -> None:
    assert with_code("`a<b` & c") == "<code>a&lt;b</code> &amp; c"


def test_outputs_that_never_vary_have_an_axis_of_their_size() -> None:
    _, health, _ = diagnosed(nothing, options=Options(sample_rows=0))
    for value in (0.0, -3e20):
        experts = [replace(expert, quantiles=(value,) * 7) for expert in health.experts]
        assert distributions(experts).count("middle") >= len(experts)


def test_ticks_are_round() -> None:
    assert nice_ticks(-0.31, 2.2) == [0, 0.5, 1.0, 1.5, 2.0]
    assert nice_ticks(0, 7) == [0, 2, 4, 6]
    assert nice_ticks(0, 3.1e-12) == [0, 1e-12, 2e-12, 3e-12]
    assert nice_ticks(0, 3.1e20) == [0, 1e20, 2e20, 3e20]

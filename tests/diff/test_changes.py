"""Each rule of changes: two specs between which it finds something, and nothing but what it should.

A case is the code, what the old spec has in place of what the new one has, and further codes that
the same edit must give.
"""

from __future__ import annotations

import pytest

import homespec
import homespec.diff.files
from homespec.catalogue import all_rules
from homespec.diff.breaks import Breaks
from homespec.diff.compare import Comparison, compare
from homespec.diff.effect import Change
from homespec.diff.pair import BREAKS
from homespec.diff.render import Changes, render
from homespec.graph.identity import Renames

BASE = """\
homespec: 1
name: shorts
description: the base
features:
  user: {id: {buckets: 100}, dim: 4}
  video: {id: {buckets: 50}, dim: 4}
  tab: {id: {vocab: 5}, dim: 4}
  last: {table: video}
  age: {bucketize: [1, 2.5, 7], dim: 4}
  days: {bucketize: {quantiles: 4}, dim: 4}
  asr: {dense: 3}
  tags: {table: tab, list: {max_len: 5, pool: sum}}
  pair: {cross: {of: [video, tab], buckets: 70}, dim: 4}
  past: {sequence: {of: [video], with: {liked: {id: {vocab: 2}, dim: 2}}, max_len: 8, encoder: din}}
groups:
  watch: [click, finish, seconds]
  social: [like, follow]
tasks:
  click: {rate: 0.3}
  finish: {label: played >= duration}
  seconds: {kind: regression, scale: 10}
  like: {where: click}
  follow: {}
  both: {product: [click, finish]}
experts: {width: 8, hidden: [6]}
gates: {feature: {loras: 2, rank: 2}}
"""

CASES: list[tuple[str, str, str, set[str]]] = [
    ("HS601", "  both:", "  share: {product: [like, click]}\n  both:", {"HS604"}),
    ("HS602", "  both: {product: [click, finish]}\n", "", set()),
    ("HS604", "click: {rate: 0.3}\n  finish: {label: played >= duration}\n",
     "finish: {label: played >= duration}\n  click: {rate: 0.3}\n", set()),
    ("HS605", "seconds]\n  social: [like, follow]", "seconds, follow]\n  social: [like]", set()),
    ("HS606", "social: [like, follow]", "social: [like]\n  more: [follow]", {"HS605"}),
    ("HS607", "social: [like]\n  more: [follow]", "social: [like, follow]", {"HS605"}),
    ("HS609", "follow: {}", "follow: {kind: regression}", set()),
    ("HS610", "scale: 10", "scale: 60", set()),
    ("HS611", "[click, finish]}", "[click, like]}", set()),
    ("HS612", "played >= duration", "played > 7", set()),
    ("HS613", "where: click", "where: finish", set()),
    ("HS614", "scale: 10", "scale: 10, loss: huber", set()),
    ("HS615", "follow: {}", "follow: {weight: 2}", set()),
    ("HS615", "follow: {}", "follow: {sample_weight: trust}", set()),
    ("HS612", "follow: {}", "follow: {unknown: -1}", set()),
    ("HS614", "follow: {}", "follow: {pos_weight: 3}", set()),
    ("HS614", "follow: {}", "follow: {focal: 2}", set()),
    ("HS614", "follow: {}", "follow: {within: {column: request}}", set()),
    ("HS613", "where: click", "where: click, outside_weight: 0.1", set()),
    ("HS616", "rate: 0.3", "rate: 0.4", set()),
    ("HS620", "  asr: {dense: 3}\n", "  asr: {dense: 3}\n  more: {dense: 2}\n", set()),
    ("HS621", "  asr: {dense: 3}\n", "", set()),
    ("HS623", "  user: {id: {buckets: 100}, dim: 4}\n  video: {id: {buckets: 50}, dim: 4}\n",
     "  video: {id: {buckets: 50}, dim: 4}\n  user: {id: {buckets: 100}, dim: 4}\n", set()),
    ("HS664", "asr: {dense: 3}", "asr: {dense: 3, at: watch}", set()),
    ("HS664", "buckets: 100}, dim: 4", "buckets: 100}, dim: 4, at: [shared, groups]", set()),
    ("HS624", "asr: {dense: 3}", "asr: {dense: 4}", {"HS626"}),
    ("HS625", "asr: {dense: 3}", "asr: {dense: 3, column: other}", set()),
    ("HS626", "vocab: 5}, dim: 4", "vocab: 5}, dim: 6", set()),
    ("HS627", "vocab: 5", "vocab: 9", set()),
    ("HS627", "buckets: 50", "vocab: [US, DE]", {"HS636"}),
    ("HS628", "2.5, 7", "3, 7", set()),
    ("HS629", "last: {table: video}", "last: {table: user}", set()),
    ("HS630", "asr: {dense: 3}", "asr: {dense: 3, missing: learned}", set()),
    ("HS631", "max_len: 8", "max_len: 9", set()),
    ("HS631", "dim: 2}}, max_len", "dim: 2}, text: {dense: 3}}, max_len", set()),
    ("HS632", "encoder: din", "encoder: mean", set()),
    ("HS634", "max_len: 5", "max_len: 6", set()),
    ("HS634", ", list: {max_len: 5, pool: sum}", "", set()),
    ("HS635", "pool: sum", "pool: max", set()),
    ("HS636", "buckets: 70", "buckets: 80", set()),
    ("HS636", "of: [video, tab]", "of: [tab, video]", set()),
    ("HS636", "of: [video, tab]", "of: [user, tab]", set()),
    ("HS636", "vocab: 5", "vocab: [a, b]", {"HS627"}),
    ("HS637", "  pair: {cross: {of: [video, tab], buckets: 70}, dim: 4}\n", "", set()),
    ("HS637", "  past:", "  more: {cross: {of: [user, tab], buckets: 9}, dim: 2}\n  past:", set()),
    ("HS637", "  pair: {", "  pairs: {was: pair, ", set()),
    ("HS624", "cross: {of: [video, tab], buckets: 70}", "id: {buckets: 70}", set()),
    ("HS626", "buckets: 70}, dim: 4", "buckets: 70}, dim: 6", set()),
    ("HS640", "groups:", "layers: 3\ngroups:", set()),
    ("HS641", "hidden: [6]", "hidden: [6], meta: {nodes: {watch: 0}}", {"HS650", "HS652"}),
    ("HS642", "hidden: [6]", "hidden: [6], task: {shared: 3}", set()),
    ("HS643", "hidden: [6]", "hidden: [7]", set()),
    ("HS644", "hidden: [6]", "hidden: [6], norm: layer", set()),
    ("HS645", "hidden: [6]", "hidden: [6], activation: relu", set()),
    ("HS646", "hidden: [6]", "hidden: [6], norm_eps: 0.001", set()),
    ("HS647", "hidden: [6]", "hidden: [6], norm_momentum: 0.2", set()),
    ("HS648", "hidden: [6]", "hidden: [6], activation: dice", {"HS645"}),
    ("HS648", "hidden: [6]", "hidden: [6], activation: prelu", {"HS645"}),
    ("HS648", "hidden: [6]", "hidden: [6], hidden_activation: prelu", {"HS645"}),
    ("HS648", "gates:", "towers: {activation: prelu}\ngates:", {"HS657"}),
    ("HS649", "hidden: [6]", "hidden: [6], dropout: 0.1", set()),
    ("HS649", "gates:", "towers: {dropout: 0.1}\ngates:", set()),
    ("HS649", "asr: {dense: 3}", "asr: {dense: 3, dropout: 0.1}", set()),
    ("HS649", "features:", "feature_dropout: 0.1\nfeatures:", set()),
    ("HS650", "loras: 2, rank: 2", "loras: 3, rank: 2", set()),
    ("HS651", "rank: 2", "rank: 2, mix: before_sigmoid", set()),
    ("HS652", "rank: 2}", "rank: 2}, self: {hidden: [3]}", set()),
    ("HS653", "rank: 2}", "rank: 2}, mixture: {hidden: [3]}", set()),
    ("HS654", "rank: 2}", "rank: 2}, mixture: {input: own}", set()),
    ("HS654", "rank: 2}", "rank: 2}, mixture: {input: none}", set()),
    ("HS654", "rank: 2}", "rank: 2}, mixture: {input: [user, tab]}", set()),
    ("HS654", "rank: 2}", "rank: 2, input: [user]}", set()),
    ("HS650", "loras: 2, rank: 2", "loras: 1, rank: 2, activation: relu", set()),
    ("HS661", "rank: 2}", "rank: 2}, mixture: {detach: true}", set()),
    ("HS655", "rank: 2}", "rank: 2}, mixture: {sees: all}", set()),
    ("HS655", "rank: 2}", "rank: 2}, mixture: {sees: forward}", set()),
    ("HS656", "gates:", "towers: {hidden: [5]}\ngates:", set()),
    ("HS657", "gates:", "towers: {activation: swish}\ngates:", set()),
    ("HS660", "gates:", "towers: {norm: batch}\ngates:", set()),
    ("HS660", "gates:", "towers: {norm: layer}\ngates:", set()),
    ("HS659", "homespec: 1", "homespec: 1\ninit: torch", set()),
    ("HS690", "name: shorts", "name: longs", set()),
    ("HS691", "the base", "another", set()),
    ("HS692", "homespec: 1", "homespec: 1  # a comment", set()),
]  # fmt: skip
ELSEWHERE = {
    "HS693",
    "HS694",
    "HS633",
    "HS658",
    "HS665",
    "HS603",
    "HS608",
    "HS622",
    "HS697",
    "HS698",
    "HS699",
}


def swapped(text: str, old: str, new: str) -> tuple[str, str]:
    """The base with the old and with the new text; either may be the one it has."""
    if old in text:
        return text, text.replace(old, new, 1)
    return text.replace(new, old, 1), text


def compared(old: str, new: str, renames: Renames | None = None) -> Comparison:
    analyses = [homespec.loads(text, name).analysis for text, name in ((old, "old"), (new, "new"))]
    return compare(*analyses, renames)


def codes(comparison: Comparison) -> set[str]:
    return {change.rule.code for change in comparison.changes}


@pytest.mark.parametrize(("code", "old", "new", "also"), CASES, ids=[case[0] for case in CASES])
def test_an_edit_gives_its_change(code: str, old: str, new: str, also: set[str]) -> None:
    before, after = swapped(BASE, old, new)
    comparison = compared(before, after)
    assert codes(comparison) == {code, *also}
    for change in comparison.changes:
        assert change.span.file == "new"
        assert all(label.span.file == "old" for label in change.related)


def test_gradients_off_the_path() -> None:
    """The numbers stay as they are."""
    every = BASE.replace("rank: 2}", "rank: 2}, mixture: {sees: all}")
    forward = every.replace("sees: all", "sees: forward")
    for old, new in ((every, forward), (forward, every)):
        comparison = compared(old, new)
        assert codes(comparison) == {"HS665"}
        assert comparison.breaks() == {Breaks.TRAINING}
        changes = {effect.change for effect in comparison.effects.towers().values()}
        assert changes == {Change.SAME}


def test_every_rule_of_changes_has_a_case() -> None:
    mine = {code for code in all_rules() if code.startswith("HS6")}
    assert mine == {case[0] for case in CASES} | ELSEWHERE
    assert mine == BREAKS.keys()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("with: {liked: {id: {vocab: 2}, dim: 2}}", "with: {liked: {table: tab}}", "HS629"),
        ("of: [video]", "of: [video], columns: {video: seen}", "HS625"),
        ("vocab: 5}, dim: 4}", "vocab: 5}, dim: 4, column: page}", "HS625"),
    ],
)
def test_changes_of_fields_of_events(old: str, new: str, code: str) -> None:
    assert code in codes(compared(BASE, BASE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "task"),
    [
        ("product: [click, finish]", "product: [click, finish, like]", "both"),
        ("of: [video]", "of: [tab, video]", "click"),
        ("encoder: din", "encoder: {din: {activation: swish}}", "click"),
    ],
)
def test_logits_that_are_not_the_same(old: str, new: str, task: str) -> None:
    effect = compared(BASE, BASE.replace(old, new)).effects.towers()[task]
    assert effect.change is Change.CHANGED


@pytest.mark.parametrize(
    ("place", "old", "new", "code"),
    [
        ("encoder: din", "encoder: {din: {activation: relu}}",
         "encoder: {din: {activation: swish}}", "HS633"),
        ("rank: 2}", "rank: 2}, mixture: {hidden: [3]}",
         "rank: 2}, mixture: {hidden: [3], hidden_activation: swish}", "HS658"),
        ("gates:", "towers: {norm: layer}\ngates:",
         "towers: {norm: layer, norm_eps: 0.01}\ngates:", "HS646"),
        ("gates:", "towers: {norm: batch}\ngates:",
         "towers: {norm: batch, norm_momentum: 0.2}\ngates:", "HS647"),
    ],
)  # fmt: skip
def test_options_that_keep_all_weights(place: str, old: str, new: str, code: str) -> None:
    comparison = compared(BASE.replace(place, old), BASE.replace(place, new))
    assert codes(comparison) == {code}
    assert not comparison.plan.of("new", "resized")
    assert not comparison.plan.dropped


def test_the_order_of_the_fields_that_say_which_events_exist_counts() -> None:
    old = BASE.replace("of: [video]", "of: [video, tab]")
    new = BASE.replace("of: [video]", "of: [tab, video]")
    assert compared(old, new).effects.towers()["click"].change is Change.CHANGED


def test_the_momentum_of_dice_is_a_matter_of_training() -> None:
    new = BASE.replace("encoder: din", "encoder: {din: {norm_momentum: 0.2}}")
    effect = compared(BASE, new).effects.towers()["click"]
    assert effect.change is Change.SAME


def test_a_task_was_no_group() -> None:
    """Weights of a group's gates do not fit a task's."""
    text = BASE.replace("  both:", "  more: {was: watch, product: [like, click]}\n  both:")
    text = text.replace("watch: [click", "seen: [click")
    comparison = compared(BASE, text)
    assert comparison.pair.renames.places == {}


def test_nothing_changes_where_texts_are_equal() -> None:
    assert compared(BASE, BASE).changes == ()


@pytest.mark.parametrize(
    ("old", "new", "renames", "code"),
    [
        ("follow", "pursue", Renames(places={"follow": "pursue"}), "HS603"),
        ("social", "active", Renames(places={"social": "active"}), "HS608"),
        ("asr", "speech", Renames(features={"asr": "speech"}), "HS622"),
    ],
)
def test_what_is_renamed_is_the_same_thing(old: str, new: str, renames: Renames, code: str) -> None:
    comparison = compared(BASE, BASE.replace(old, new), renames)
    columns = {"HS622": {"HS625"}, "HS603": {"HS612"}}
    assert codes(comparison) == {code} | columns.get(code, set())
    assert not comparison.plan.of("new", "resized")
    assert not comparison.plan.dropped


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("HS655", "gates: {mixture: {sees: all}}"),
        ("HS652", "gates: {self: false}"),
        ("HS652", "gates: {self: {enabled: false}}"),
        ("HS652", "gates: {meta: {self: false}}"),
        ("HS650", "gates: {feature: false}"),
        ("HS652", "family: ple"),
    ],
)
def test_changes_of_gates_point_at_the_line_that_makes_them(code: str, line: str) -> None:
    """In the new spec as in the old one, whichever has the line."""
    plain = BASE.replace("gates: {feature: {loras: 2, rank: 2}}\n", "")
    numbers = []
    for specs in ((plain, plain + line), (plain + line, plain)):
        changes = compare(*(homespec.loads(text).analysis for text in specs)).changes
        (change,) = (c for c in changes if c.rule.code == code)
        numbers.append((change.span.start.line, change.related[0].span.start.line))
    last = len(plain.splitlines()) + 1
    assert numbers == [(last, 1), (1, last)]


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("groups:", "groups: # of tasks", (15, 15)),
        ("", "# more", (27, 26)),
        ("groups:", "\ngroups:", (15, 15)),
    ],
)
def test_other_words_point_at_the_first_line_that_differs(
    old: str, new: str, lines: tuple[int, int]
) -> None:
    text = BASE.replace(old, new, 1) if old else BASE + new
    comparison = compare(*(homespec.loads(each).analysis for each in (BASE, text)))
    (change,) = comparison.changes
    assert change.rule.code == "HS692"
    assert (change.span.start.line, change.related[0].span.start.line) == lines
    assert change.label
    assert render(Changes((comparison,)), "full")

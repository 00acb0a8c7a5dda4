"""Models as published pass `validate --strict`; what they are known for is one note for one cause.

The specs are what their authors' papers and public code describe: plain experts with ReLU, one
width for all embeddings, ESMM's `cvr` that only its product trains.
"""

from __future__ import annotations

import pytest

import homespec

HEAD = """\
homespec: 1
name: published
features:
  user_id: {id: {buckets: 1000}, dim: 16}
  item_id: {id: {buckets: 1000}, dim: 16}
  gender: {id: {vocab: 3}, dim: 16}
  new_user: {id: {vocab: 2}, dim: 16}
  weekend: {id: {vocab: 2}, dim: 16}
"""
TASKS = "tasks: {click: {rate: 0.04}, buy: {rate: 0.002}}\n"
ESMM = """\
tasks:
  ctr: {label: click}
  cvr: {label: buy, weight: 0}
  ctcvr: {label: buy, product: [ctr, cvr]}
"""
GROUPS = "groups: {watch: [click, view], act: [like, follow]}\ntasks: {click: , view: , like: , follow: }\n"  # noqa: E501
TABLES = ("wide-table", 1)
EXPERTS = ("published-experts", 1)

PUBLISHED = {
    "shared_bottom": (f"family: shared_bottom\n{TASKS}", [TABLES]),
    "moe": (f"family: moe\n{TASKS}experts: {{hidden: [64]}}\n", [EXPERTS, TABLES]),
    "mmoe": (f"family: mmoe\n{TASKS}experts: {{all: {{shared: 8}}}}\n", [EXPERTS, TABLES]),
    "mmoe written out": (
        f"family: mmoe\n{TASKS}experts: {{norm: none, activation: relu}}\n",
        [EXPERTS, TABLES],
    ),
    "ml_mmoe": (f"family: ml_mmoe\n{TASKS}", [EXPERTS, TABLES]),
    "cgc": (
        f"family: cgc\n{TASKS}experts: {{all: {{shared: 4, task: 1}}}}\n",
        [EXPERTS, TABLES],
    ),
    "ple": (f"family: ple\nlayers: 3\n{TASKS}", [EXPERTS, TABLES]),
    "stem": (f"family: stem\n{TASKS}", [EXPERTS, TABLES]),
    "ple with groups": (f"family: ple\n{GROUPS}", [EXPERTS, TABLES]),
    "esmm": (f"family: shared_bottom\n{ESMM}experts: {{hidden: [], width: 16}}\n", [TABLES]),
    "esmm on mmoe": (f"family: mmoe\n{ESMM}", [EXPERTS, TABLES]),
    "home": (GROUPS, [TABLES]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published(name: str) -> None:
    text, notes = PUBLISHED[name]
    head = HEAD.replace("dim: 16}", "dim: 16, at: [shared, tasks]}") if name == "stem" else HEAD
    spec = homespec.loads(head + text)
    rules = [d.rule for d in spec.analysis.diagnostics]
    assert [(rule.name, rules.count(rule)) for rule in dict.fromkeys(rules)] == notes
    assert {str(rule.severity) for rule in rules} == {"note"}


def messages(text: str) -> list[tuple[str, str]]:
    diagnostics = homespec.loads(HEAD + text).analysis.diagnostics
    return [(d.rule.name, d.message) for d in diagnostics if d.rule.name != "wide-table"]


def test_relu_under_home_is_a_warning_for_the_line_that_chose_it() -> None:
    (message,) = messages(f"{GROUPS}experts: {{norm: none, activation: relu}}\n")
    assert message == (
        "relu-without-norm",
        "the experts of `shared` in layer `meta` and 9 other sets end in ReLU without a norm, "
        "so they tend to collapse to zeros",
    )
    two = messages(f"{GROUPS}experts: {{activation: relu, meta: {{norm: none}}, task: {{norm: none}}}}\n")  # noqa: E501  # fmt: skip
    assert [name for name, _ in two] == ["relu-without-norm"] * 2
    assert "`shared` in layer `meta` and 2 other sets" in two[0][1]
    assert "`shared` in layer `task` and 6 other sets" in two[1][1]


@pytest.mark.parametrize("family", ["mmoe", "cgc", "ple", "moe"])
def test_what_is_not_as_published_is_a_warning(family: str) -> None:
    diagnostics = messages(f"family: {family}\n{TASKS}experts: {{activation: swish}}\n")
    assert [name for name, _ in diagnostics] == ["unnormalised-experts"]
    assert messages(f"family: {family}\n{TASKS}experts: {{norm: batch}}\n") == []


def test_layers_by_hand_were_not_published() -> None:
    layers = "layers: [{experts: {shared: 2}, outputs: [click, buy]}]\n"
    diagnostics = messages(
        f"{TASKS}{layers}gates: {{self: false}}\nexperts: {{norm: none, activation: relu}}\n"
    )
    assert [name for name, _ in diagnostics] == ["relu-without-norm", "sparse-without-own"]


def test_tables_of_one_width_are_one_note() -> None:
    spec = homespec.loads(HEAD + TASKS + "family: shared_bottom\n")
    (diagnostic,) = spec.analysis.diagnostics
    assert diagnostic.message == (
        "features `gender`, `new_user` and `weekend` have 3 to 4 rows and embeddings of width 16"
    )
    assert diagnostic.span.start.line == 6
    assert [label.span.start.line for label in diagnostic.related] == [7, 8]


@pytest.mark.parametrize("weight", [0, 0.5, 1])
def test_repeated_label_is_of_tasks_that_are_trained_on_it(weight: float) -> None:
    """ESMM with a weight for `cvr` trains it on all rows, which is not what was published."""
    text = ESMM.replace("weight: 0", f"weight: {weight}")
    diagnostics = messages(f"family: shared_bottom\n{text}")
    assert [name for name, _ in diagnostics] == ["repeated-label"] * (weight > 0)


SPARSE = "groups: {watch: [click, view], act: [like, follow]}\ntasks: {click: , view: , like: {rate: 0.001}, follow: {rate: 0.002}}\n"  # noqa: E501


def test_sparse_tasks_without_experts_are_one_warning() -> None:
    bare = "experts: {task: {task: 0}}\ngates: {task: {self: false}}\n"
    diagnostics = messages(SPARSE + bare)
    assert diagnostics == [
        ("sparse-without-own", "the sparse tasks `like` and `follow` have no experts of their own")
    ]


def test_tables_of_one_length_are_called_by_it() -> None:
    features = "features: {a: {id: {vocab: 1}, dim: 16}, b: {id: {vocab: 1}, dim: 16}}\n"
    spec = homespec.loads(f"homespec: 1\nname: s\nfamily: mmoe\n{features}tasks: {{y: }}\n")
    said = [d.message for d in spec.analysis.diagnostics if d.rule.code == "HS414"]
    assert said == ["features `a` and `b` have 2 rows and embeddings of width 16"]


def test_a_bound_of_one_is_one_character() -> None:
    feature = "a: {id: {vocab: 9}, dim: 2, list: {max_len: 3, separator: '::'}}"
    text = f"homespec: 1\nname: s\nfamily: mmoe\nfeatures: {{{feature}}}\ntasks: {{y: }}\n"
    with pytest.raises(homespec.SpecError, match="must have at most 1 character\n"):
        homespec.loads(text)

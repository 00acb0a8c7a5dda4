"""Entries with `columns`, and the `dim` of a spec: plain features for everything after."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hierarchies import random_spec

import homespec
from homespec.cli.main import cli
from homespec.diff.compare import compare
from homespec.schema.input_tensors import input_tensors

SPEC = """\
homespec: 1
name: s
family: mmoe
dim: 8
features:
  ints: {columns: I1..I3, number: {scale: log}}
  sparse:
    columns: [C1, C8..C10]
    id: {buckets: 1000}
  odd: {columns: {a: "a b", b: "1"}, bucketize: {quantiles: 4}, dim: 2}
  own: {id: {vocab: 5}}
  text: {dense: 3}
  again: {columns: [D1, D2], table: C8}
  past: {sequence: {of: [C9], with: {at: {bucketize: [1, 2]}}, max_len: 3, encoder: mean}}
tasks: {click: {}, buy: {}}
experts: {norm: batch, activation: swish}
"""
NAMES = [
    "I1", "I2", "I3", "C1", "C8", "C9", "C10", "a", "b", "own", "text", "D1", "D2", "past",
]  # fmt: skip
LONG = """\
homespec: 1
name: s
family: mmoe
features:
  I1: {number: {scale: log}}
  I2: {number: {scale: log}}
  I3: {number: {scale: log}}
  C1: {id: {buckets: 1000}, dim: 8}
  C8: {id: {buckets: 1000}, dim: 8}
  C9: {id: {buckets: 1000}, dim: 8}
  C10: {id: {buckets: 1000}, dim: 8}
  a: {column: a b, bucketize: {quantiles: 4}, dim: 2}
  b: {column: "1", bucketize: {quantiles: 4}, dim: 2}
  own: {id: {vocab: 5}, dim: 8}
  text: {dense: 3}
  D1: {table: C8}
  D2: {table: C8}
  past: {sequence: {of: [C9], with: {at: {bucketize: [1, 2], dim: 8}}, max_len: 3, encoder: mean}}
tasks: {click: {}, buy: {}}
experts: {norm: batch, activation: swish}
"""


def errors(text: str, *overrides: str) -> list[Any]:
    with pytest.raises(homespec.SpecError) as caught:
        homespec.loads(text, "x.yaml", overrides)
    return [d for d in caught.value.report.diagnostics if d.is_error]


def test_it_is_the_same_model_as_written_out() -> None:
    short, long = homespec.loads(SPEC), homespec.loads(LONG)
    assert list(short.features) == list(long.features) == NAMES
    assert [f.column for f in short.features.values()] == [f.column for f in long.features.values()]
    comparison = compare(short.analysis, long.analysis)
    assert not comparison.plan.dropped
    assert all(one.kind == "kept" for one in comparison.plan.carried.values())
    assert [f.width for f in short.features.values()] == [f.width for f in long.features.values()]


def test_lines_of_the_generated_file_name_the_entry() -> None:
    source = homespec.compile(homespec.loads(SPEC, "x.yaml"))
    lines = [line for line in source.splitlines() if line.startswith('    "')]
    by_name = {line.split('"')[1]: line.rpartition(":")[2] for line in lines if "  # " in line}
    assert (by_name["I2"], by_name["C10"], by_name["b"], by_name["own"]) == ("6", "8", "10", "11")


def test_show_has_every_column_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(SPEC)
    shown = CliRunner().invoke(cli, ["show", "--expanded", str(path)]).output
    assert "  C9:\n    id: {buckets: 1000}  " in shown
    assert [line.split("#")[1] for line in shown.splitlines() if line.startswith("    dim: 8")] == [
        " line 4"
    ] * 5
    again = homespec.loads(shown)
    assert list(again.features) == NAMES
    assert "columns:" not in shown.split("past:")[0]


def test_flags_change_the_entry() -> None:
    changed = homespec.loads(SPEC, "x.yaml", ["features.sparse.dim=32", "dim=4"])
    widths = {name: feature.dim for name, feature in changed.features.items()}
    assert (widths["C1"], widths["C10"], widths["own"], widths["a"]) == (32, 32, 4, 2)
    assert changed.features["past"].sequence.with_["at"].dim == 4
    fewer = homespec.loads(SPEC, "x.yaml", ["features.ints.columns=[I7]"])
    assert list(fewer.features)[:2] == ["I7", "C1"]
    (one,) = errors(SPEC, "features.C9.dim=4")
    assert one.rule.code == "HS026"
    assert one.message == "`C9` is both a feature and a column of `sparse`"


def test_bases_have_entries_too(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SPEC)
    (tmp_path / "x.yaml").write_text(
        "homespec: 1\nname: t\nextends: base.yaml\ndim: 16\nfeatures:\n"
        "  ints: {columns: I1..I13}\n  sparse: {id: {buckets: 7}}\n  odd: null\n"
    )
    spec = homespec.load(tmp_path / "x.yaml")
    assert sum(name.startswith("I") for name in spec.features) == 13
    assert (spec.features["C8"].id.buckets, spec.features["C8"].dim) == (7, 16)
    assert spec.features["I9"].number.scale == "log"
    assert "a" not in spec.features


def test_one_change_of_an_entry_is_one_finding() -> None:
    new = homespec.loads(SPEC.replace("dim: 8", "dim: 16", 1))
    found = compare(homespec.loads(SPEC).analysis, new.analysis).changes
    messages = [f.message for f in found if f.rule.code == "HS626"]
    assert "the width of `C1`, `C8`, `C9` and 1 more is 16, was 8" in messages


def test_what_is_wrong_with_an_entry_is_told_once_and_there() -> None:
    (one,) = errors(SPEC.replace("buckets: 1000", "buckets: 0"))
    assert one.message.startswith("`features.sparse.id.buckets` is 0")
    assert one.span.start.line == 9
    (one,) = errors(SPEC.replace("id: {buckets: 1000}", "idd: {buckets: 1000}"))
    assert one.message == "`idd` is not a key of `features.sparse`"


def test_what_is_wrong_with_a_column_names_it() -> None:
    two = errors(SPEC.replace("[C1, C8..C10]", '[C1, C8..C10, "C 2", class]'))
    assert [one.message.split(" cannot")[0] for one in two] == ["'C 2'", "'class'"]
    assert [one.span.start.column for one in two] == [28, 35]
    assert "columns: {NAME: COLUMN}" in two[0].help


def test_one_cause_is_one_message_with_the_columns_that_have_it() -> None:
    (one,) = errors(SPEC.replace("table: C8", "table: nothing").replace("[D1, D2]", "D1..D9"))
    assert one.message == (
        "`D1` is looked up in the table of `nothing`, which is not a feature; the same applies to"
        " `D2`, `D3`, `D4` and 5 more of `again`"
    )
    (one,) = errors(SPEC.replace("table: C8", "table: nothing").replace("[D1, D2]", "D1..D900"))
    assert one.message.endswith("`D2`, `D3`, `D4` and at least 46 more of `again`")


def test_words_of_a_message_are_not_names() -> None:
    """Columns may be called like words, which messages have outside of quotes."""
    text = SPEC.replace("[C1, C8..C10]", "[of, C1, C8..C10]").replace("[C9]", "[past, past]")
    itself = [one.message for one in errors(text) if one.rule.code == "HS231"]
    assert set(itself) == {"`past` is a sequence of itself"}


def test_a_sequence_of_itself_without_other_features() -> None:
    feature = "{past: {sequence: {of: [past], max_len: 3, encoder: mean}}}"
    (one,) = errors(f"homespec: 1\nname: s\nfamily: mmoe\nfeatures: {feature}\ntasks: {{y: }}\n")
    assert one.help == "write its fields as features of their own, with `id` or `bucketize`"


def as_columns(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with one entry for features of the same options that follow each other, and a `dim`
    for all.
    """
    entries: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for name, feature in spec["features"].items():
        own = {key: value for key, value in feature.items() if key not in ("column", "dim")}
        own |= {"dim": feature["dim"]} if feature.get("dim", 2) != 2 else {}
        columns = {name: feature.get("column", name)}
        if {"sequence", "cross"} & own.keys():
            entries[name], last = own, {}
        elif last and own == {k: v for k, v in last.items() if k != "columns"}:
            last["columns"] |= columns
        else:
            last = entries[f"entry_{name}"] = {"columns": columns, **own}
    return {**spec, "dim": 2, "features": entries}


def without_lines(spec: homespec.LoadedSpec) -> str:
    """The generated file without what it says of the spec's text."""
    code = homespec.compile(spec).partition("\nimport ")[2]
    return re.sub("  # .*", "", code)


@pytest.mark.parametrize("seed", range(30))
def test_random_specs_are_the_same_with_columns_and_a_dim_for_all(seed: int) -> None:
    spec = random_spec(seed)
    features = {}
    for name, feature in spec["features"].items():  # some of them several times
        more = 0 if {"sequence", "cross"} & feature.keys() else seed % 3
        names = [name, *(f"{name}_{i}" for i in range(more))]
        features |= dict.fromkeys(names, feature)
    long = {**spec, "features": features}
    short = as_columns(long)
    assert seed % 3 == 0 or len(short["features"]) < len(features)
    one, other = (homespec.loads(yaml.safe_dump(each, sort_keys=False)) for each in (long, short))
    assert input_tensors(one.analysis.spec) == input_tensors(other.analysis.spec)
    assert without_lines(one) == without_lines(other)


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("C1..C3", ["C1", "C2", "C3"]), ("f08..f11", ["f08", "f09", "f10", "f11"]),
        ("x2_1..x2_2", ["x2_1", "x2_2"]), ("I1_log..I2_log", ["I1_log", "I2_log"]),
        ("C7..C7", ["C7"]), ("[k, C0..C1, j]", ["k", "C0", "C1", "j"]), ("solo", ["solo"]),
    ],
)  # fmt: skip
def test_ranges(written: str, names: list[str]) -> None:
    text = SPEC.replace("[C1, C8..C10]", "S").replace("C8", "S").replace("C9", "S")
    assert list(homespec.loads(text.replace("I1..I3", written)).features)[: len(names)] == names


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('"C[1-26]"', "write `C1..C26`"), ("C[1-26]", "write a range of columns as `C1..C26`"),
        ('"C{1..26}"', "write `C1..C26`"), ("C1-C26", "write `C1..C26`"), ("C1:C26", "`C1..C26`"),
        ("C1 to C26", "write `C1..C26`"), ("C*", "wildcards are not supported"),
        ("C1..D26", "write the name with the first"), ("C9..C1", "write `C1..C9`"),
        ("C01..C100", "write `C1..C100`"), ("C1..C1025", "correct its ends"),
        ("C1..C999999999", "correct its ends"), ("[]", "list the columns"), ("{}", "write a list"),
        ("3", 'columns: {c3: "3"}'), ("[[a]]", "write a list such as"), ("true", "write a list"),
        ("null", "write a list"), ('""', "write a list"), ("{a: 1}", 'columns: {a: "1"}'),
        ('"C1, C2"', "write a list, `columns: [C1, C2]`"), ("C1..C3;C7", "`columns: [C1..C3, C7]`"),
        ("a" * 300, "write a list"),
    ],
)  # fmt: skip
def test_what_are_no_columns(written: str, said: str) -> None:
    (one,) = errors(SPEC.replace("I1..I3", written))
    assert one.rule.code in ("HS025", "HS005")
    assert said in one.help
    assert one.span.start.line == 6


@pytest.mark.parametrize("key", ["column: x", "was: old"])
def test_keys_of_one_feature_are_refused(key: str) -> None:
    (one,) = errors(SPEC.replace("I1..I3", f"I1..I3, {key}"))
    assert one.rule.code == "HS025"
    assert one.help == f"remove `{key.partition(':')[0]}`"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[C1, C8..C10]", "[C1, C1]"), "`C1` is listed twice"),
        (("[C1, C8..C10]", "[I2, C8]"), "`I2` is listed twice"),
        (("own: {id", "C9: {id"), "`C9` is both a feature and a column of `sparse`"),
        (
            ("  ints:", "  C9: {dense: 1}\n  ints:"),
            "`C9` is both a feature and a column of `sparse`",
        ),
    ],
)
def test_names_that_collide(change: tuple[str, str], said: str) -> None:
    one, *_ = errors(SPEC.replace(*change))
    assert one.rule.code == "HS026"
    assert one.message.startswith(said)
    assert one.related


def test_hostile_ranges_take_no_time() -> None:
    entries = "".join(f"  e{i}: {{columns: a{i}_1..a{i}_1000, dense: 1}}\n" for i in range(2000))
    start = time.perf_counter()
    (one,) = errors(SPEC.replace("  ints:", f"{entries}  ints:"))
    assert "more than 1,024 features" in one.message
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("dim", ["0", "-1", "x", "1.5", "true", "[8]", "99999999"])
def test_a_wrong_dim_for_all_is_one_error(dim: str) -> None:
    (one,) = errors(SPEC.replace("dim: 8", f"dim: {dim}", 1))
    assert "`dim`" in one.message
    assert one.span.start.line == 4


def test_without_a_dim_for_all_each_needs_its_own() -> None:
    two = errors(SPEC.replace("dim: 8\n", "", 1))
    assert [one.rule.code for one in two] == ["HS112"] * 3
    assert "`features.sparse` is `id` and needs `dim`, the width" in two[0].message


def test_a_spec_without_them_is_as_it_was() -> None:
    document = homespec.loads(LONG).analysis.document
    assert document.entries == {}

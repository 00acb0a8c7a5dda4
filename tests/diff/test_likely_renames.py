"""What is likely to have been renamed: suggested where it is clear, with the line to write."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hierarchies import random_spec
from spec_edits import Edit, random_edit, rename_task
from topologies import random_family, random_topology

import homespec
from homespec.cli.main import cli
from homespec.diff.compare import compare
from homespec.diff.likely_renames import are_spellings, likely_renames
from homespec.diff.names import renames_of
from homespec.graph.identity import Renames

BASE = """\
homespec: 1
name: shorts
features:
  user: {id: {buckets: 100}, dim: 4, column: user_id}
  video: {id: {buckets: 50}, dim: 4}
  last: {table: video, column: last_video}
  tab: {id: {vocab: 5}, dim: 4}
  past: {sequence: {of: [video], max_len: 8, encoder: din, columns: {video: seen}}}
groups:
  watch: [click, finish, seconds]
  social: [like, follow]
tasks:
  click: {label: is_click}
  finish: {label: played >= duration}  # all of it
  seconds: {kind: regression, scale: 10}
  like: {}
  follow: {label: is_follow}
  both: {product: [click, finish]}
experts: {width: 8, hidden: [6]}
gates: {feature: {loras: 2, rank: 2}}
"""

RENAMED = [
    ("follow", [("follow: {label", "pursue: {label"), ("like, follow", "like, pursue")],
     "`pursue` has the same label: if it is the same task, write in line 17:\n"
     "pursue: {was: follow, label: is_follow}"),
    ("like", [("  like: {}", "  fav: {label: like}"), ("[like,", "[fav,")],
     "`fav` has the same label: if it is the same task, write in line 16:\n"
     "fav: {was: like, label: like}"),
    ("seconds", [("seconds: {kind: regression, scale: 10}", "Second_s: {kind: regression}"),
                 ("finish, seconds", "finish, Second_s")],
     "`Second_s` has almost the same name: if it is the same task, write in line 15:\n"
     "Second_s: {was: seconds, kind: regression}"),
    ("both", [("both:", "click_and_finish:")],
     "`click_and_finish` has the same factors: if it is the same task, write in line 18:\n"
     "click_and_finish: {was: both, product: [click, finish]}"),
    ("finish", [("  finish: {l", "  through:\n    {l"), ("click, finish", "click, through")],
     "`through` has the same label: if it is the same task, write in line 15:\n"
     "{was: finish, label: played >= duration}  # all of it"),
    ("follow", [("  follow: {label: is_follow}", "  pursue:\n    label: is_follow"),
                ("like, follow", "like, pursue")],
     "`pursue` has the same label: if it is the same task, write below line 17:\nwas: follow"),
    ("social", [("social:", "network:")],
     "`network` has the same members: if it is the same group, write in line 11:\n"
     "network: {was: social, members: [like, follow]}"),
    ("social", [("  social: [like, follow]", "  network:\n    members: [like, follow]")],
     "`network` has the same members: if it is the same group, write below line 11:\nwas: social"),
    ("social", [("  social: [like, follow]", "  network:\n  - like\n  - follow")],
     "`network` has the same members: if it is the same group, write in line 11:\n"
     "network: {was: social, members: […]}"),
    ("watch", [("watch: [click, finish, seconds]", "viewing: [click, finish, seconds, more]"),
               ("  like: {}", "  like: {}\n  more: {}")],
     "`viewing` has most of the same members: if it is the same group, write in line 10:\n"
     "viewing: {was: watch, members: [click, finish, seconds, more]}"),
    ("user", [("user: {id", "uid: {id")],
     "`uid` has the same column: if it is the same feature, write in line 4:\n"
     "uid: {was: user, id: {buckets: 100}, dim: 4, column: user_id}"),
    ("tab", [("tab: {id", "Tab: {id")],
     "`Tab` has almost the same name: if it is the same feature, write in line 7:\n"
     "Tab: {was: tab, id: {vocab: 5}, dim: 4}"),
    ("last", [("last: {t", "final: {t"), ("  video: {", "  clip: {column: video, "),
              ("video, c", "clip, c"), ("of: [video]", "of: [clip]"),
              ("video: seen", "clip: seen")],
     "`final` has the same column: if it is the same feature, write in line 6:\n"
     "final: {was: last, table: clip, column: last_video}"),
    ("past", [("past: {s", "history: {s"), ("  video: {", "  clip: {column: video, "),
              ("video, c", "clip, c"), ("of: [video]", "of: [clip]"),
              ("video: seen", "clip: seen")],
     "`history` has the same columns: if it is the same feature, write in line 8:\n"
     "history: {was: past, sequence: {of: [clip], max_len: 8, encoder: din, columns: "
     "{clip: seen}}}"),
]  # fmt: skip

OTHERS = [
    # a task less and another one more
    [("follow: {label: is_follow}", "share: {label: is_share}"), ("like, follow", "like, share")],
    [("  like: {}", "  dislike: {}"), ("[like,", "[dislike,")],
    [("  like: {}", "  likes_5: {}"), ("[like,", "[likes_5,")],
    # the same label, but another kind of output
    [("  like: {}", "  fav: {kind: regression, label: like}"), ("[like,", "[fav,")],
    # the label of two new tasks, or of one that stays
    [("  like: {}", "  a: {label: like}\n  b: {label: like, weight: 2}"), ("[like,", "[a, b,")],
    [("  like: {}", "  fav: {label: is_click}"), ("[like,", "[fav,")],
    # a feature of the same form from another column
    [("tab: {id", "page: {id")],
    [("column: user_id", "column: author_id"), ("user: {", "author: {")],
    # the column of a feature, with another table
    [("user: {id: {buckets: 100}", "uid: {id: {buckets: 200}")],
    # a group in two halves, or with other members
    [("social: [like, follow]", "one: [like]\n  two: [follow]")],
    [("watch: [click, finish, seconds]", "passive: [click]"),
     ("social: [like, follow]", "active: [like, follow, finish, seconds]")],
]  # fmt: skip


def edited(edits: list[tuple[str, str]]) -> str:
    text = BASE
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def helps(old: str, new: str) -> dict[str, str]:
    """The help of each thing that was removed, by its name."""
    analyses = [homespec.loads(text, name).analysis for text, name in ((old, "old"), (new, "new"))]
    changes = compare(*analyses).changes
    return {c.message.split("`")[1]: c.help for c in changes if c.message.endswith(" was removed")}


@pytest.mark.parametrize(("name", "edits", "said"), RENAMED)
def test_a_likely_rename_has_the_line_to_write(
    name: str, edits: list[tuple[str, str]], said: str
) -> None:
    assert helps(BASE, edited(edits))[name] == said


@pytest.mark.parametrize(("name", "edits", "said"), RENAMED)
def test_with_the_line_it_is_renamed(name: str, edits: list[tuple[str, str]], said: str) -> None:
    """Doing what the help says makes the thing the same; lines that are not whole are left out."""
    where, line = said.split("\n")
    lines = edited(edits).splitlines()
    number = int(where.split()[-1].rstrip(":"))
    if "…" in line:
        return
    indent = " " * (4 if "below" in where else len(lines[number - 1].partition(line[:1])[0]))
    lines[number - 1 :] = (
        [lines[number - 1], indent + line, *lines[number:]]
        if "below" in where
        else [indent + line, *lines[number:]]
    )
    assert name not in helps(BASE, "\n".join(lines) + "\n")


@pytest.mark.parametrize("edits", OTHERS)
def test_what_is_removed_and_what_is_added_are_two_things(edits: list[tuple[str, str]]) -> None:
    for new, old in ((edited(edits), BASE), (BASE, edited(edits))):
        found = helps(old, new)
        assert found
        assert all(said.startswith("if a new ") for said in found.values()), found


def test_a_was_of_an_earlier_change_gives_way() -> None:
    old = BASE.replace("like: {}", "like: {was: heart, label: is_like}")
    new = old.replace("  like:", "  love:").replace("[like,", "[love,")
    assert helps(old, new)["like"].endswith("line 16:\nlove: {was: like, label: is_like}")


def test_a_line_of_a_base_is_named_with_its_file(tmp_path: Path) -> None:
    for name, text in (("a", BASE), ("b", edited([("social:", "network:")]))):
        (tmp_path / f"{name}.yaml").write_text(text)
        over = f"homespec: 1\nname: over\nextends: {name}.yaml\n"
        (tmp_path / f"over_{name}.yaml").write_text(over)
    sides = [homespec.load(tmp_path / f"over_{name}.yaml").analysis for name in "ab"]
    (said,) = [c.help for c in compare(*sides).changes if c.rule.code == "HS607"]
    base = tmp_path / "b.yaml"
    assert f"write in line 11 of {base}:\nnetwork: {{was: social," in said


def test_an_empty_task_gets_a_mapping() -> None:
    old = BASE.replace("  like: {}", "  comment:").replace("[like,", "[comment,")
    new = old.replace("  comment:", "  coment:").replace("[comment,", "[coment,")
    assert helps(old, new)["comment"].endswith("in line 16:\ncoment: {was: comment}")


def test_no_help_where_nothing_is_new() -> None:
    less = edited([("  both: {product: [click, finish]}\n", "")])
    assert helps(BASE, less) == {"both": ""}


@pytest.mark.parametrize("seed", range(150))
def test_random_edits_get_no_suggestion_that_is_wrong(seed: int) -> None:
    rng = random.Random(seed)
    spec = rng.choice([random_spec, random_family, random_topology])(seed)
    edit = random_edit(rng, spec)
    try:
        old, new = (homespec.loads(yaml.safe_dump(s, sort_keys=False)) for s in (spec, edit.spec))
    except homespec.SpecError:
        return
    likely = likely_renames(old, new, renames_of(old, new))
    for old_name, new_name, _ in likely.features:
        assert edit.features[old_name] == new_name
    for old_name, new_name, _ in likely.places:
        if old_name in old.tasks:
            assert edit.places[old_name] == new_name
        else:
            members = {edit.places.get(name, name) for name in old.groups[old_name].members}
            assert members & set(new.groups[new_name].members)


def test_renames_of_random_specs_are_found() -> None:
    """Those of tasks whose label no other task has."""
    found = 0
    for seed in range(60):
        spec = random_spec(seed)
        edit = Edit(copy.deepcopy(spec))
        rename_task(random.Random(seed), edit)
        old, new = (homespec.loads(yaml.safe_dump(s)) for s in (spec, edit.spec))
        labels = [task.label for task in old.tasks.values()]
        likely = {a: b for a, b, _ in likely_renames(old, new, Renames()).places}
        for name, to in edit.places.items():
            if labels.count(new.tasks[to].label) == 1:
                assert likely[name] == to
                found += 1
    assert found > 5


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("long_view", "longView", True),
        ("view_long", "long_view", True),
        ("comment", "coment", True),
        ("like", "line", False),
        ("watch_5s", "watch_6s", False),
        ("like", "dislike", False),
        ("comment_stay", "comment_like", False),
    ],
)
def test_spellings(a: str, b: str, same: bool) -> None:
    assert are_spellings(a, b) == same


def test_machines_get_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.yaml").write_text(BASE)
    Path("new.yaml").write_text(edited([("social:", "network:")]))
    line = "network: {was: social, members: [like, follow]}"
    outputs = {}
    for name in ("full", "json", "sarif", "github", "gitlab", "markdown"):
        args = ["diff", "old.yaml", "new.yaml", "--format", name]
        outputs[name] = CliRunner().invoke(cli, args, standalone_mode=False).stdout
        assert line in outputs[name]
    (change,) = (c for c in json.loads(outputs["json"])["changes"] if c["code"] == "HS607")
    assert change["help"].endswith(line)

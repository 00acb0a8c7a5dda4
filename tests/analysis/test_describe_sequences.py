"""What sequences are in words: events, target, stages and widths of every encoder."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import homespec
from homespec.analysis.describe_sequences import describe_sequences
from homespec.cli.main import cli

HEAD = [
    "  event, 10 wide: video 4, tag 1 as the candidate has; seen 2, delay 3 in tables of their own",
    "  target, 5 wide: the candidate's video ⊕ tag",
]


def spec_of(encoder: Any) -> str:
    features = {
        "video": {"id": {"vocab": 9}, "dim": 4},
        "tag": {"id": {"vocab": 3}, "dim": 1},
        "history": {
            "sequence": {
                "of": ["video", "tag"],
                "with": {
                    "seen": {"id": {"vocab": 2}, "dim": 2},
                    "delay": {"bucketize": [1], "dim": 3},
                },
                "max_len": 30,
                "encoder": encoder,
            }
        },
    }
    tasks = {"click": {}, "like": {}}
    spec = {"homespec": 1, "name": "m", "family": "mmoe", "features": features, "tasks": tasks}
    return yaml.safe_dump(spec, sort_keys=False)


def words(encoder: Any) -> list[str]:
    return list(describe_sequences(homespec.loads(spec_of(encoder)).analysis.graph))


@pytest.mark.parametrize(
    ("encoder", "first", "stages"),
    [
        ("din", "DIN of the latest 30 events, 10 wide",
         ["weights of the events: attention unit 25→36→1 with dice, not normalised"]),
        ({"din": {"hidden": [], "softmax": True}}, "DIN of the latest 30 events, 10 wide",
         ["weights of the events: attention unit 25→1, normalised by a softmax"]),
        ({"dien": {"width": 6}}, "DIEN of the latest 30 events, 6 wide",
         ["stage 1: GRU 10→6 over the events",
          "stage 2: attention of the target over its states, AUGRU 6→6"]),
        ({"sim": {"search": "hard", "by": "tag", "top": 7}}, "SIM of the latest 30 events, 20 wide",
         ["stage 1: the latest 7 with the candidate's tag (hard search)",
          "stage 2: attention over them, 2 heads with queries and keys of 3, 10 wide each"]),
        ({"sim": {"heads": 1}}, "SIM of the latest 30 events, 10 wide",
         ["stage 1: the 20 nearest the target by inner product (soft search)",
          "stage 2: attention over them, 1 head with queries and keys of 5, 10 wide each"]),
        ({"twin": {"top": 9, "width": 12}}, "TWIN of the latest 30 events, 12 wide",
         ["stage 1: the 9 of highest attention score",
          "stage 2: the same attention over them, 4 heads with queries and keys of 3"]),
    ],
)  # fmt: skip
def test_by_hand(encoder: Any, first: str, stages: list[str]) -> None:
    assert words(encoder) == [f"sequence history: {first}", *HEAD, *(f"  {s}" for s in stages)]


def test_a_mean_has_no_target() -> None:
    first, event, rest = words("mean")
    assert first == "sequence history: mean of the latest 30 events, 10 wide"
    assert event == HEAD[0]
    assert rest == "  no target: every event counts the same"


def test_command() -> None:
    text = CliRunner().invoke(cli, ["explain", "--spec", "specs/kuairand.yaml"]).stdout
    assert re.search(
        r"\n\nsequence history: DIN of .*\n  event.*\n  target.*\n.*\nlayer meta", text
    )
    without = CliRunner().invoke(cli, ["explain", "--spec", "specs/nested.yaml"]).stdout
    assert "sequence" not in without

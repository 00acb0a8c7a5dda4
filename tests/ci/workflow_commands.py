"""What a runner of GitHub Actions does with the lines that a step prints.

A command is `::name properties::text` at the start of a line, or in the older form
`##[name properties]text` anywhere in it. From `::stop-commands::word` to `::word::` none counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

NAMES = (
    "error", "warning", "notice", "debug", "group", "endgroup", "add-mask", "add-matcher",
    "remove-matcher", "add-path", "set-env", "set-output", "save-state", "echo", "stop-commands",
)  # fmt: skip
NEW = re.compile(r"\s*::(?P<name>[\w-]+)(?: (?P<properties>.*?))?::(?P<text>.*)")
OLD = re.compile(r".*?##\[(?P<name>[\w-]+)(?: (?P<properties>[^\]]*))?\](?P<text>.*)")


class Command(NamedTuple):
    name: str
    properties: dict[str, str]
    text: str


def commands(log: str) -> Iterator[Command]:
    """The commands that take effect."""
    resumed_by = ""
    for line in log.split("\n"):
        if resumed_by:
            if line.strip() == f"::{resumed_by}::":
                resumed_by = ""
            continue
        match = NEW.match(line) or OLD.match(line)
        if not match or match["name"] not in NAMES:
            continue
        if match["name"] == "stop-commands":
            resumed_by = match["text"]
            continue
        pairs = (pair.partition("=") for pair in (match["properties"] or "").split(","))
        properties = {key.strip(): _plain(value) for key, _, value in pairs if key}
        yield Command(match["name"], properties, _plain(match["text"]))
    assert not resumed_by, "commands stay stopped"


def _plain(text: str) -> str:
    for escaped, char in {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}.items():
        text = text.replace(escaped, char)
    return text

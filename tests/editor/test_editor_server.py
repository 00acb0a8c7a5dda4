"""What an editor offers, shows and marks: the real yaml-language-server, asked over its protocol.

`make` installs it where there is npm; skipped without.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from language_server import SERVER, LanguageServer
from mutated_specs import LAYERED, RICH, SHIPPED, laid_over, mutated
from test_editor_schema import codes_of, complaints, verdict

from homespec.cli.new import new
from homespec.schema.jsonschema import sections

pytestmark = [
    pytest.mark.skipif(
        not (SERVER.exists() and shutil.which("node")),
        reason="needs yaml-language-server, which `make` installs where there is npm",
    ),
    pytest.mark.xdist_group("editor"),
]

MODELINE = "# yaml-language-server: $schema=../schemas/homespec-v1.schema.json\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    """A server in a folder in which `homespec new` wrote a spec, and nothing else is."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(new, ["feed"], standalone_mode=False)
        assert result.return_value == 0
    with LanguageServer(folder) as running:
        yield running


def in_specs(text: str) -> str:
    """A spec with the first line that it has in the folder `specs`."""
    return re.sub(r"\$schema=[./]*", "$schema=../", text, count=1)


def test_what_new_writes_is_completed_and_has_no_errors(server: LanguageServer) -> None:
    text = (server.folder / "specs/feed.yaml").read_text()
    assert server.errors(text) == [[]]
    typo = text.replace("rate: 0.45", "rates: 0.45")
    ((found,),) = server.errors(typo)
    assert found.endswith("Property rates is not allowed.")
    offered = server.completions(f"{text}|\n")
    assert {"family", "gates", "layers"} <= offered.keys()


def test_no_error_is_marked_in_sound_specs(server: LanguageServer) -> None:
    shipped = [in_specs(path.read_text()) for path in SHIPPED]
    texts = [*shipped, MODELINE + RICH, MODELINE + LAYERED]
    assert len(shipped) > 15
    assert server.errors(*texts) == [[]] * len(texts)


HEAD = "homespec: 1\nname: t\n"
FEATURE = f"{HEAD}features:\n  u:"

OFFERED = {
    # block style
    "|": {"homespec": "homespec: 1", "layers": "layers: ", "features": "features:\n  "},
    f"{HEAD}extends: base.yaml\n|": {"family": "family: ", "groups": "groups:\n  "},
    f"{FEATURE}\n    |": {"dim": "dim: ${1:16}", "id": "id:\n  ", "dense": "dense: ${1:128}"},
    f"{FEATURE}\n    id:\n      |": {"buckets": "buckets: ${1:100000}", "vocab": "vocab: "},
    f"{FEATURE}\n    sequence:\n      |": {"max_len": "max_len: ${1:50}", "of": "of:\n  - ${1}"},
    f"{FEATURE}\n    sequence:\n      encoder: |": {"din": "din", "twin": "twin"},
    f"{HEAD}experts:\n  |": {"width": "width: ${1:64}", "meta": "meta: ", "norm": "norm: "},
    f"{HEAD}experts:\n  norm: |": {"batch": "batch", "layer": "layer", "none": "none"},
    f"{HEAD}gates:\n  self:\n    |": {"sets": "sets: ", "enabled": "enabled: ${1:true}"},
    f"{HEAD}tasks:\n  click:\n    |": {"label": "label: ", "rate": "rate: ${1:0.01}"},
    f"{HEAD}expect:\n  |": {"budget": "budget:\n  "},
    f"{HEAD}expect:\n  budget:\n    |": {"flops": "flops: ${1:3M}", "experts": "experts: ${1:64}"},
    # flow style, where the server begins to offer with the first letter of a key
    f"{FEATURE} {{i|}}": {"id": "id", "dim": "dim: ${1:16}"},
    f"{FEATURE} {{id: {{b|}}}}": {"vocab": "vocab: "},
    f"{FEATURE} {{id: {{buckets: 4}}, d|}}": {"dim": "dim", "dense": "dense"},
    f"{FEATURE} {{sequence: {{of: [a], encoder: |}}}}": {"din": "din", "sim": "sim"},
    f"{HEAD}experts: {{meta: {{shared: {{norm: |}}}}}}": {"batch": "batch", "layer": "layer"},
    f"{HEAD}tasks: {{click: {{w|}}}}": {
        "weight": "weight",
        "where": "where",
        "tower": "tower:\n  ",
    },
}


@pytest.mark.parametrize("text", OFFERED)
def test_completion(server: LanguageServer, text: str) -> None:
    offered = server.completions(f"{MODELINE}{text}\n")
    for key, inserted in OFFERED[text].items():
        assert offered.get(key, "").rstrip("\n") == inserted.rstrip("\n"), offered
    for inserted in offered.values():
        assert not re.search(r": (\$\{1:)?(0\b(?!\.)|null|\"\")", inserted), inserted


@pytest.mark.parametrize(
    ("text", "section", "key"),
    [
        (f"{HEAD}fam|ily: ple", "Spec", "family"),
        (f"{FEATURE} {{id: {{buckets: 4}}, di|m: 3}}", "Feature", "dim"),
        (f"{FEATURE}\n    id:\n      buc|kets: 4", "Id", "buckets"),
        (f"{HEAD}experts: {{no|rm: batch}}", "Experts", "norm"),
        (f"{HEAD}extends: b.yaml\nexperts:\n  no|rm: batch", "Experts", "norm"),
        (f"{HEAD}gates: {{self: {{se|ts: all}}}}", "SelfGate", "sets"),
        (f"{HEAD}extends: b.yaml\ntasks: {{a: {{ra|te: 0.5}}}}", "Task", "rate"),
    ],
)
def test_hover_shows_what_a_key_means(
    server: LanguageServer, text: str, section: str, key: str
) -> None:
    shown = server.hover(f"{MODELINE}{text}\n").replace("\\", "")
    assert shown.startswith(f"#### {key}\n")
    assert sections()[section]["properties"][key]["description"] in shown


def written(spec: dict[str, Any]) -> str:
    return MODELINE + yaml.safe_dump(spec, sort_keys=False)


def test_mutated_specs_get_the_verdict_of_validate(server: LanguageServer) -> None:
    specs = list(map(mutated, range(300)))
    marked = server.errors(*map(written, specs))
    codes = list(map(codes_of, specs))
    wrong = [pair for pair in zip(codes, marked, strict=True) if verdict(pair[0]) != bool(pair[1])]
    assert wrong == []
    assert 30 < marked.count([]) < 200


def test_mutated_parts_get_the_verdict_of_the_schema(server: LanguageServer) -> None:
    """Which is that of `validate`, as far as one can know: `test_editor_schema.py`."""
    parts = [laid_over(seed)[1] for seed in range(150)]
    marked = server.errors(*map(written, parts))
    expected = list(map(complaints, parts))
    wrong = [pair for pair in zip(expected, marked, strict=True) if bool(pair[0]) != bool(pair[1])]
    assert wrong == []
    assert 20 < marked.count([]) < 130

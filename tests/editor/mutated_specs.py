"""Specs with one or two mistakes, for comparing the editor's verdict with the compiler's.

They have no number such as `4.0` or `.inf`, of which a JSON Schema cannot say what `validate` does.
"""

from __future__ import annotations

import copy
import functools
import random
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(
    path
    for folder in ("specs", "benchmarks/specs", "examples")
    for path in (ROOT / folder).rglob("*.yaml")
)

RICH = """
homespec: 1
name: rich
family: home
layers: 2
features:
  user_id: {id: {buckets: 100}, dim: 8}
  video_id: {id: {vocab: 90}, dim: 8, column: video}
  last_video_id: {table: video_id}
  age: {bucketize: [10.5, 20, 30], dim: 4}
  seconds: {bucketize: {quantiles: 8}, dim: 4}
  cover: {dense: 16, project: 8, missing: learned}
  history:
    sequence:
      of: [video_id]
      with: {watched: {bucketize: [1, 5], dim: 4}, place: {id: {vocab: 5}, dim: 4}}
      max_len: 50
      encoder: {sim: {search: hard, by: video_id, top: 10, heads: 2}}
      columns: {watched: hist_watched}
  recent: {sequence: {of: [video_id], max_len: 9, encoder: din}}
groups: {watch: [click, minutes], social: [like, follow]}
tasks:
  click: {label: is_click, rate: 0.3, weight: 2}
  minutes: {kind: regression, label: play_ms, loss: huber, scale: 60000}
  like: {label: is_like > 0, where: click, tower: {hidden: [16]}}
  follow:
experts:
  hidden: [16]
  norm: layer
  all: {width: 32}
  meta: [{shared: 2, group: {count: 1, activation: relu}}]
  task: {nodes: {watch: 1}}
gates:
  mixture: {hidden: [8], input: own}
  feature: {rank: 2}
  self: true
  task: {self: {enabled: false}}
towers: {hidden: [8], activation: swish}
expect:
  isolated: [[watch, social], [like, follow]]
  reads: {like: [social], watch: []}
  except_through: [shared, social]
  budget: {parameters: 1.5M, dense_parameters: 1000000, flops: 500k, experts: 64}
"""

LAYERED = """
homespec: 1
name: layered
features: {u: {id: {buckets: 9}, dim: 4}}
groups: {g: [a, b]}
tasks: {a: {}, b: {}}
layers:
- {name: first, experts: {shared: 2, g: {count: 1, norm: none}}, outputs: [shared, g]}
- {experts: {g: 2}, outputs: [g], gates: {self: true}}
"""

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 0.5, 2.5, 5_000_000, "", "on", "x", "relu", "a b", "din"),
    *("shared", "v", "x > 1", "x = 1", [], {}, [1, 2], ["click", "like"], [[]], {"count": 1}),
    *({"hidden": [4]}, {"vocab": 3}, {"din": {}}, {"enabled": False}, [{"shared": 1}]),
]
KEYS = [
    *("dim", "dense", "project", "missing", "table", "column", "sequence", "buckets", "vocab"),
    *("hidden", "width", "count", "label", "rate", "by", "din", "twin", "class", "forward", "x-y"),
    *("Upper", "homespec", "extends_", "max_len", "norm", "mixture", "meta", "enabled", "1st"),
]


@functools.cache
def originals() -> list[dict[str, Any]]:
    """Sound specs that stand for themselves."""
    texts = [RICH, LAYERED, *(path.read_text() for path in SHIPPED)]
    return [spec for spec in map(yaml.safe_load, texts) if "extends" not in spec]


def mutated(seed: int) -> dict[str, Any]:
    """A spec with one or two changes, most of which are mistakes."""
    rng = random.Random(seed)
    known = originals()
    spec = copy.deepcopy(rng.choice([known[0], known[0], *known]))
    for _ in range(rng.choice([1, 1, 2])):
        change(spec, rng)
    return spec


def laid_over(seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A base, and parts of it, changed, that extend it; some of them are null."""
    rng = random.Random(seed)
    base = rng.choice(originals())
    above = copy.deepcopy(base)
    for _ in range(rng.choice([0, 1, 1])):
        change(above, rng)
    for _ in range(rng.randint(1, 12)):
        parent, key = rng.choice(places(above) or [(above, "description")])
        parent[key] = None
        if rng.random() < 0.8:
            del parent[key]
    return base, {**above, "homespec": 1, "extends": "base.yaml", "name": "over"}


def change(spec: dict[str, Any], rng: random.Random) -> None:
    """Remove, replace, rename or add something somewhere."""
    parent, key = rng.choice(places(spec))
    kind = rng.choice(["remove", "replace", "replace", "rename", "add", "add"])
    if kind == "remove":
        del parent[key]
    elif kind == "replace":
        parent[key] = copy.deepcopy(rng.choice(VALUES))
    elif isinstance(parent, dict):
        value = parent.pop(key) if kind == "rename" else copy.deepcopy(rng.choice(VALUES))
        parent[rng.choice([*KEYS, *places(spec, keys=True)])] = value
    else:
        parent.insert(key, copy.deepcopy(rng.choice(VALUES)))


def places(data: Any, keys: bool = False) -> list[Any]:
    """(mapping or list, key) of every value below the top; or the keys of all mappings."""
    items = list(data.items() if isinstance(data, dict) else enumerate(data))
    found: list[Any] = [(data, key) for key, _ in items]
    if keys:
        found = [key for key, _ in items if isinstance(data, dict)]
    for _, value in items:
        if isinstance(value, dict | list):
            found += places(value, keys)
    return found

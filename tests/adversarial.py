"""Specs with names that something in homespec, Python, YAML or torch may trip over."""

from __future__ import annotations

import builtins
import keyword
import random
from collections.abc import Iterable, Mapping
from typing import Any

from hierarchies import Spec, random_spec
from topologies import random_family, random_topology

from homespec.schema.identifiers import is_identifier, is_reserved


def words(text: str) -> list[str]:
    return text.split()


YAML = words("nan NaN null Null true TRUE none off on yes no y n NULL inf e1 x0 o17")
OF_THE_FILE = words("""
    F nn torch Table TASKS FEATURES LABELS WEIGHTS RUNS WHERE SCALES LOGICAL mix self features
    trunk logits labels loss losses observed unwrapped Model Trunk Features Experts MLPs MLP LoRA
    projections experts gates self_gates towers states input heads order names task rows parts
    exists weight bias boundaries missing projection encoder encoders vectors table_4 running_mean
    starts num_batches_tracked unset x_BV x_1VB w_OCB read_GNB read_GNB_ meta meta2 layer range
    CROSSES crossed cross own ids known hashed
    slice x y z w e s low router own linears norm dice up down module _orig_mod os triton tl
""")
PYTHON = [*keyword.kwlist, *keyword.softkwlist, *dir(builtins)]
STEMS = ["watch", "a", "click", "Click", "shared", "Shared", "SHARED", "w0"]
TAILS = [
    *("", "_", "__", "_0", "_1", "0", "_path", "_path_", "_PATH", "_of_watch", "_of_shared"),
    *("_of_a", "_OKB", "_GCB", "_boundaries", "_rounded", "_input", "_meta", "_task", "_weight"),
]
GLUED = [stem + tail for stem in STEMS for tail in TAILS]
LONG = ["l" * 63, "L" + "l" * 62, "l" * 62 + "_", "l" * 62]
POOLS = [YAML, OF_THE_FILE, PYTHON, GLUED, GLUED, LONG]


def adversarial(rng: random.Random) -> Spec:
    """A random spec whose names are drawn anew."""
    spec = rng.choice([random_spec, random_family, random_topology])(rng.randrange(10**6))
    return renamed(spec, rng)


def renamed(spec: Spec, rng: random.Random) -> Spec:
    """The spec with other names of features, fields, groups, tasks and layers; no two are equal.

    Tasks and groups are called as features are half of the time. What a name stood for as a
    default, a column or a label, it goes on to stand for.
    """
    nodes = [*spec.get("groups", {}), *spec["tasks"]]
    fields = [n for f in spec["features"].values() for n in f.get("sequence", {}).get("with", {})]
    inputs = dict.fromkeys([*spec["features"], *fields])
    pool = list(dict.fromkeys(name for some in rng.choices(POOLS, k=3) for name in some))
    if rng.random() < 0.9:  # else most specs are refused
        pool = [name for name in pool if is_identifier(name) and not is_reserved(name)]
    apart = list({name.lower(): name for name in rng.sample(pool, len(pool))}.values())
    new_nodes = dict(zip(nodes, _drawn(rng, apart, nodes), strict=True)) | {"shared": "shared"}
    new_inputs = dict(zip(inputs, _drawn(rng, pool, inputs), strict=True))
    found = {**spec, "features": _features(spec["features"], new_inputs)}
    for feature in found["features"].values():
        if "at" in feature:
            at = [feature["at"]] if isinstance(feature["at"], str) else feature["at"]
            feature["at"] = [new_nodes.get(place, place) for place in at]
    if "gates" in spec:
        found["gates"] = _readings(spec["gates"], new_inputs)
    if "groups" in spec:
        found["groups"] = {
            new_nodes[group]: [new_nodes[m] for m in members]
            for group, members in spec["groups"].items()
        }
    found["tasks"] = {
        new_nodes[task]: _task(task, options, new_nodes) for task, options in spec["tasks"].items()
    }
    if "experts" in spec:
        found["experts"] = _in_nodes(spec["experts"], new_nodes)
    if isinstance(spec.get("layers"), list):
        layers = _drawn(rng, [name for name in apart if "_" not in name], spec["layers"])
        found["layers"] = [
            _layer(_readings(layer, new_inputs), name, new_nodes)
            for layer, name in zip(spec["layers"], layers, strict=True)
        ]
    return found


def _drawn(rng: random.Random, pool: list[str], wanted: Iterable[Any]) -> list[str]:
    count = len(list(wanted))
    spare = [f"spare{i}" for i in range(count)]
    return rng.sample([*pool, *spare], count)


def _features(features: Spec, new: Mapping[str, str]) -> Spec:
    found = {}
    for name, options in features.items():
        options = _with_table(options, new)
        if "cross" in options:
            options["cross"] = {**options["cross"], "of": [new[n] for n in options["cross"]["of"]]}
        if "sequence" in options:
            options["sequence"] = _sequence(options["sequence"], new)
        found[new[name]] = options
    return found


def _with_table(options: Spec, new: Mapping[str, str]) -> Spec:
    return {**options, "table": new[options["table"]]} if "table" in options else {**options}


def _sequence(sequence: Spec, new: Mapping[str, str]) -> Spec:
    found = {**sequence, "of": [new[field] for field in sequence["of"]]}
    if "with" in sequence:
        own = sequence["with"].items()
        found["with"] = {new[name]: _with_table(options, new) for name, options in own}
    found.pop("columns", None)
    encoder = sequence["encoder"]
    if isinstance(encoder, dict) and "by" in (encoder.get("sim") or {}):
        found["encoder"] = {"sim": {**encoder["sim"], "by": new[encoder["sim"]["by"]]}}
    return found


def _task(task: str, options: Spec | None, new: Mapping[str, str]) -> Spec:
    found = {"label": task, **(options or {})}
    if "where" in found:
        found["where"] = new[found["where"]]
    if "product" in found:
        found["product"] = [new[factor] for factor in found["product"]]
    return found


def _readings(value: Any, new: Mapping[str, str]) -> Any:
    """Renames the features that gates read, at any depth."""
    if isinstance(value, list):
        return [_readings(each, new) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: [new.get(name, name) for name in each]
        if key in ("input", "detach") and isinstance(each, list)
        else _readings(each, new)
        for key, each in value.items()
    }


def _in_nodes(value: Any, new: Mapping[str, str]) -> Any:
    """Renames the keys below `nodes`, at any depth."""
    if isinstance(value, list):
        return [_in_nodes(each, new) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {new[node]: options for node, options in each.items()}
        if key == "nodes"
        else _in_nodes(each, new)
        for key, each in value.items()
    }


def _layer(layer: Spec, name: str, new: Mapping[str, str]) -> Spec:
    experts = {new[node]: options for node, options in layer["experts"].items()}
    outputs = [new[node] for node in layer["outputs"]]
    return {**layer, "name": name, "experts": experts, "outputs": outputs}

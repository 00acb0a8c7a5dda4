"""Words of other libraries get homespec's at the place where they are, and these are valid."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import homespec

SPEC: dict[str, Any] = {
    "homespec": 1,
    "name": "words",
    "features": {
        "user": {"id": {"buckets": 100}, "dim": 16},
        "bare": {},
        "past": {"sequence": {"of": ["user"], "max_len": 5, "encoder": "mean"}},
    },
    "groups": {"watch": ["click", "buy"], "more": ["like", "share"]},
    "tasks": {"click": {}, "buy": {}, "like": {}, "share": {}},
    "experts": {"width": 16},
    "gates": {"self": True},
    "towers": {"hidden": [8]},
}
REMOVE = "remove it"
WORDS = {
    "": """
        embedding_dim: 16 -> dim: 16
        embedding_size: 8 -> dim: 8
        num_experts: 8 -> experts: {all: {shared: 8}}
        num_shared_experts: 2 -> experts: {all: {shared: 2}}
        shared_expert_num: 3 -> experts: {all: {shared: 3}}
        specific_expert_num: 2 -> experts: {task: {task: 2}}
        n_expert_specific: 2 -> experts: {task: {task: 2}}
        expert_num_per_task: 1 -> experts: {task: {task: 1}}
        n_level: 3 -> layers: 3
        num_levels: 3 -> layers: 3
        expert_dim: 32 -> experts: {width: 32}
        expert_hidden_units: [64, 32] -> experts: {hidden: [64], width: 32}
        expert_params: {dims: [16]} -> experts: {hidden: [], width: 16}
        tower_hidden_units: [64, 16] -> towers: {hidden: [64, 16]}
        gate_dnn_hidden_units: [8] -> gates: {mixture: {hidden: [8]}}
        gate_hidden_units: [] -> remove it
        dnn_hidden_units: [64] -> towers: {hidden: [64]}
        hidden_activations: ReLU -> experts: {activation: relu}
        dnn_activation: silu -> experts: {activation: swish}
        dnn_use_bn: true -> experts: {norm: batch}
        batch_norm: false -> experts: {norm: none}
        model: PLE -> family: ple
        mmoe: {num_expert: 4} -> family: mmoe
        task_names: [click, buy] -> tasks: {click: {}, buy: {}}
        task_types: [binary] -> remove it
        feature_groups: {} -> remove it
        net_dropout: 0.1 -> experts: {dropout: 0.1}
        embedding_dropout: 0.1 -> feature_dropout: 0.1
        l2_reg_embedding: 1e-5 -> homespec train --l2 'features.*=1e-5'`
        embedding_regularizer: l1(1e-6) -> homespec train --l1 'features.*=1e-6'`
        net_regularizer: 0.001 -> train --l2 'experts.*=0.001' --l2 'towers.*=0.001'`
        l2_reg: 0.001 -> homespec train --l2 '*=0.001'`
        weight_decay: 0.01 -> homespec train --weight-decay 0.01`
        embedding_lr: 0.05 -> --lr-of 'features.*=0.05'
        param_optimizers: [{}] -> --lr-of 'features.*=0.1x'
        max_steps: 300 -> --max-steps 300
        lr_scheduler: cosine -> --schedule cosine
        exponential_decay: {decay_rate: 0.9} -> --schedule exponential --half-life STEPS
        grad_clip: 1.0 -> --clip 1.0
        learning_rate: 0.001 -> --lr 0.001
        optimizer: adam -> --optimizer adam
        train: {lr: 0.01, epochs: 3} -> --lr 0.01 --epochs 3
        train_config: {num_steps: 3} -> --max-steps 3
        trainer: {lr: 0.1, decay_rate: 0.9, weight: {}} -> --lr 0.1`
        verbose: 1 -> homespec train
    """,
    "features": """
        embedding_dim: 16 -> dim: 16
    """,
    "features.bare": """
        hash_bucket_size: 1000 -> id: {buckets: 1000}
        num_buckets: 7 -> id: {vocab: 7}
        vocabulary_size: 7 -> id: {vocab: 7}
        use_hash: true -> id: {buckets: 1000}
        boundaries: [1, 2] -> bucketize: [1, 2]
        normalizer: log1p -> number: {scale: log}
        normalizer: "method=minmax,min=2.1,max=2.2" -> number: {scale: minmax}
        normalizer: StandardScaler -> number: {scale: standard}
        standardize: true -> number: {scale: standard}
        zscore: true -> number: {scale: standard}
        share_embedding: user -> table: user
    """,
    "features.user": """
        embedding_dim: 8 -> dim: 8
        input_names: [uid] -> column: uid
        padding_idx: 0 -> remove it
        active: true -> remove it
        name: user_id -> remove it
        default_value: 0 -> remove it
    """,
    "features.user.id": """
        hash_bucket_size: 1000 -> buckets: 1000
        hash: true -> buckets: 1000
    """,
    "features.past.sequence": """
        sequence_length: 10 -> max_len: 10
        combiner: sum -> encoder: mean
        encoder_type: din -> encoder: din
        target: user -> remove it
        padding_idx: 0 -> padding: 0
    """,
    "experts": """
        kernel_regularizer: l2(1e-4) -> train --l2 'experts.*=1e-4'`
        num_experts: 8 -> all: {shared: 8}
        num_shared: 2 -> all: {shared: 2}
        num_specific: 3 -> task: {task: 3}
        expert_num_per_task: 2 -> task: {task: 2}
        hidden_units: [64, 32] -> hidden: [64], width: 32
        expert_dim: 32 -> width: 32
        use_bn: true -> norm: batch
        use_bias: true -> remove it
        top_k: 2 -> remove it
        dropout_rates: [0.1] -> dropout: 0.1
    """,
    "experts.task": """
        num_shared: 2 -> shared: 2
        num_specific: 3 -> task: 3
    """,
    "towers": """
        dnn_hidden_units: [64] -> hidden: [64]
        output_dim: 1 -> remove it
        l2_reg: 0.1 -> train --l2 'towers.*=0.1'`
        lr: 0.01 -> train --lr-of 'towers.*=0.01'`
    """,
    "tasks.click": """
        label_col: is_click -> label: is_click
        hidden_units: [64] -> tower: {hidden: [64]}
        task_space_indicator_label: buy -> where: buy
        loss_weight: 2 -> weight: 2
        l2_reg: 0.1 -> train --l2 'towers.click.*=0.1'`
        learning_rate: 0.01 -> train --lr-of 'towers.click.*=0.01'`
        group: watch -> groups: {watch: [click
        output_activation: sigmoid -> remove it
    """,
    "gates": """
        gate_hidden_units: [8] -> mixture: {hidden: [8]}
        top_k: 2 -> remove it
        temperature: 0.5 -> remove it
    """,
}


def cases() -> Iterator[Any]:
    for place, lines in WORDS.items():
        for line in filter(None, map(str.strip, lines.splitlines())):
            wrong, said = line.split(" -> ")
            yield pytest.param(place, wrong, said, id=f"{place or 'spec'}: {wrong}")


def at(spec: dict[str, Any], place: str) -> dict[str, Any]:
    for step in filter(None, place.split(".")):
        spec = spec.setdefault(step, {})
    return spec


def with_(place: str, text: str) -> dict[str, Any]:
    spec = copy.deepcopy(SPEC)
    given = yaml.safe_load(text if place == "features" or "], width" not in text else f"{{{text}}}")
    here = at(spec, place)
    for key, value in given.items():
        merged = {**here[key], **value} if _both_maps(here.get(key), value) else value
        here[key] = merged
    if "features.bare" not in place:
        del spec["features"]["bare"]
    return spec


def _both_maps(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


def errors(spec: dict[str, Any]) -> list[Any]:
    try:
        homespec.loads(yaml.safe_dump(spec, sort_keys=False))
    except homespec.SpecError as error:
        return [each for each in error.report.diagnostics if each.is_error]
    return []


@pytest.mark.parametrize(("place", "wrong", "said"), [*cases()])
def test_a_word_gets_what_homespec_writes(place: str, wrong: str, said: str) -> None:
    found = errors(with_(place, wrong))
    key = wrong.partition(":")[0]
    (one,) = [each for each in found if f"`{key}`" in each.message or f".{key}`" in each.message]
    assert said in one.help
    assert "known keys are" not in one.help


@pytest.mark.parametrize(("place", "wrong", "said"), [*cases()])
def test_what_it_says_is_valid(place: str, wrong: str, said: str) -> None:
    if not re.match(r"[a-z_]+: ", said) or said.startswith("groups: {watch: [click"):
        return  # to remove, or a flag of `train`
    text = f"{said}\nid: {{vocab: 3}}" if place == "features.bare" and said[:3] == "dim" else said
    spec = with_("" if place == "features" else place, text)
    bare = spec["features"].get("bare", {})
    if {"id", "bucketize"} & bare.keys():
        bare["dim"] = 4
    assert errors(spec) == []

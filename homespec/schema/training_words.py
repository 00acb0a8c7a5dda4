"""Stage 2, schema: words of training in a spec, and the flags of `homespec train` for them.

Other libraries have one file for a model and for its training. Here a spec says what a model is, so
that two runs of one spec have the same model, and flags say how a run trains it.
"""

from __future__ import annotations

import re
from typing import Any

from homespec.diagnostics.suggest import folded
from homespec.schema.located_error import Path, written
from homespec.schema.synonyms import meaning

TRAINING = {
    "--epochs": "epochs epoch numepochs nepoch nepochs maxepochs",
    "--max-steps": "numsteps maxsteps trainsteps numtrainsteps totalsteps nsteps",
    "--batch-size": "batchsize batch",
    "--lr": "lr learningrate initiallearningrate",
    "--lr-of": "embeddinglr embeddinglearningrate sparselr sparselearningrate paramoptimizers "
    "paramlearningrate lrmultiplier learningratemultiplier layerlr",
    "--warmup-steps": "warmup warmupsteps warmupsize",
    "--schedule": "schedule scheduler lrscheduler lrschedule learningrateschedule",
    "--schedule exponential --half-life": "decayrate decaysteps decaysize decayfactor lrdecay "
    "exponentialdecay exponentialdecaylearningrate",
    "--clip": "clip gradclip gradientclipping clipnorm maxgradientnorm maxgradnorm "
    "gradientclippingbynorm clipgradnorm",
    "--optimizer": "optimizer optim optimizers denseoptimizer",
    "--table-optimizer": "sparseoptimizer embeddingoptimizer",
    "--seed": "seed randomseed",
    "--precision": "precision amp mixedprecision dtype",
    "--weighting": "weighting lossweighting adaptivemethod gradnorm uncertainty",
    "--data": "data dataset datasetid dataconfig datapath dataroot datadir traindata "
    "traininputpath evalinputpath trainpath validpath validdata files",
    "--monitor": "metrics metric monitor evalmetric",
    "--patience": "patience earlystopping earlystoppatience",
    "--out": "modeldir out output outputdir checkpoints modelroot",
    "": "train training trainer trainconfig evalconfig eval exportconfig device gpu "
    "shuffle numworkers loss losses callbacks workers monitormode savebestonly verbose "
    "numthreads numgpus",
}
"""Flag of `homespec train` -> the keys that a spec might contain instead."""
RULES = {"--lr-of": "'features.*={}'"}
"""The form of a flag's value for only some weights."""
SAMPLES = {"--lr-of": "0.1x", "--schedule": "exponential --half-life 1000"}
"""Example values, if there is no value to use."""
NO_VALUE = ("--schedule exponential --half-life",)
"""Flags whose number must be converted: docs/optimisers.md has the formula."""

REMOVE = "remove it: training is not part of a spec; use the options of `homespec train`"


def training_remedy(flag: str, value: Any) -> str:
    """The remedy for a key that means a flag, or one of several if the flag is empty."""
    if isinstance(value, dict):
        flags = {meaning(TRAINING, str(name)): below for name, below in value.items()}
        given = [
            _with_value(each, below)
            for each, below in flags.items()
            if each and each not in NO_VALUE and _is_simple(below)
        ]
        if given:
            return f"{REMOVE}, here `{' '.join(given)}`"
    if not flag:
        return f"{REMOVE}, such as `--epochs`, `--lr` and `--batch-size`"
    if flag in NO_VALUE:
        return (
            f"{REMOVE}, here `{flag} STEPS`: a rate that falls by r in n steps halves in"
            " n ln 0.5 / ln r"
        )
    if _is_simple(value):
        return f"{REMOVE}, here `{_with_value(flag, value)}`"
    sample = f" {RULES.get(flag, '{}').format(SAMPLES[flag])}" if flag in SAMPLES else ""
    return f"{REMOVE}, such as `{flag}{sample}`"


def _is_simple(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _with_value(flag: str, value: Any) -> str:
    return f"{flag} {RULES.get(flag, '{}').format(written(value))}"


# ---------------------------------------------------------------- penalties and rates of a part


def penalty(parent: Path, key: str, value: Any) -> str:
    """`l2_reg`, `embedding_regularizer` and the like, at their place, as a flag of `train`."""
    word = folded(key)
    number, kind = _factor(value, "l1" if "l1" in word else "l2")
    if word == "weightdecay" and not parent:
        return f"remove it: `homespec train --weight-decay {number}` has one"
    net = "net" in word or "dnn" in word
    patterns = ("experts.*", "towers.*") if net and not parent else (_pattern(parent, word),)
    rules = " ".join(f"--{kind} '{pattern}={number}'" for pattern in patterns)
    return f"remove it, and train with `homespec train {rules}`"


def part_rate(parent: Path, key: str, value: Any) -> str:
    """A learning rate of a part of the model, as a flag of `train`."""
    number = written(value) if _is_simple(value) else "0.1x"
    rule = f"{_pattern(parent, '')}={number}"
    return f"remove it, and train with `homespec train --lr-of '{rule}'`"


def _factor(value: Any, kind: str) -> tuple[str, str]:
    """The factor of a penalty and its kind, from a number or a text such as `l1(1e-5)`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}".replace("e-0", "e-"), kind
    if match := re.fullmatch(r"[lL]([12])\((?:l=)?([\d.eE+-]+)\)", str(value)):
        return match[2], f"l{match[1]}"
    is_number = re.fullmatch(r"[\d.]+(?:[eE][+-]?\d+)?", str(value))
    return str(value) if is_number else "1e-5", kind


def _pattern(parent: Path, word: str) -> str:
    """The weights that belong to a place of the spec."""
    names = [str(step) for step in parent]
    if names[:1] == ["features"] and len(names) > 1:
        return f"features.{names[1]}.*"
    if names[:1] == ["tasks"] and len(names) > 1:
        return f"towers.{names[1]}.*"
    if names:
        return "towers.*" if "towers" in names else "experts.*"
    return "features.*" if "embedding" in word else "*"

"""Stage 2, schema: what to write for a word that a key does not take."""

from __future__ import annotations

from typing import Any

from homespec.diagnostics.suggest import closest, folded, listing
from homespec.schema.located_error import written
from homespec.schema.synonyms import choice_for, is_known


def choice_remedy(key: str, value: Any, choices: list[str]) -> str:
    """How to mend a word that a key does not take: by its meaning, else by its letters."""
    listed = f"choices are {listing(choices)}"
    if (key, folded(str(value))) in NOT_A_CHOICE:
        return NOT_A_CHOICE[key, folded(str(value))]
    word = written(value)
    same = next((choice for choice in choices if folded(choice) == folded(word)), None)
    meant = same or choice_for(key, word, choices)
    if meant is None and not is_known(key, word):
        meant = closest(word, choices)
    return f"did you mean `{meant}`? {listed}" if meant else listed


CROSS_ENTROPY = "remove it: a binary task has the cross-entropy of its logit"
NOT_A_CHOICE = {
    **dict.fromkeys(
        [
            ("loss", word)
            for word in [
                "bce",
                "bceloss",
                "binarycrossentropy",
                "crossentropy",
                "logloss",
                "bcewithlogits",
                "bcewithlogitsloss",
                "sigmoidcrossentropy",
                "sigmoidcrossentropyloss",
            ]
        ],
        CROSS_ENTROPY,
    ),
    ("family", "esmm"): "write `family: shared_bottom`, and the product as a task: "
    "`ctcvr: {product: [ctr, cvr]}`",
}
"""(Key, word) whose meaning another key has."""

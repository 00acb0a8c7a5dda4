"""Constants that each generated file defines for its spec; these are of a small spec, for tests."""

from typing import Any

import torch.nn.functional as F

FEATURES = {
    "user": {"kind": "hashed", "rows": 10, "dim": 4},
    "tab": {"kind": "vocab", "rows": 6, "dim": 4},
    "age": {"kind": "bucketized", "rows": 4, "dim": 2, "boundaries": (0.1, 0.35)},
    "days": {"kind": "fitted", "rows": 5, "dim": 2, "count": 3},
    "tag": {"kind": "words", "rows": 4, "dim": 2, "words": 3},
    "text": {"kind": "dense", "length": 3},
    "price": {"kind": "log_scaled", "scale": "log"},
    "past.user": {
        "kind": "hashed",
        "rows": 10,
        "dim": 4,
        "table": "user",
        "sequence": "past",
        "length": 2,
    },
    "past.seen": {"kind": "vocab", "rows": 3, "dim": 4, "sequence": "past", "length": 2},
}
CROSSES = {"user_tab": {"rows": 8, "dim": 4, "of": ("user", "tab")}}
TASKS = ("click", "like", "watch_time")
LABELS = {"click": "is_click", "like": "is_like", "watch_time": "seconds"}
WHERE = {"like": "click"}
SCALES = {"watch_time": 60.0}
RUNS = [(2, 1.0), (1, 0.5)]
MEASURES = {
    F.binary_cross_entropy_with_logits: ("click", "like"),
    F.huber_loss: ("watch_time",),
}
SAMPLE_WEIGHTS = {"like": "propensity"}
OUTSIDE = [(1, 0.0), (1, 0.1), (1, 0.0)]
SESSIONS = {"click": "request", "like": "request"}
WITHIN = [(2, 0.5), (1, 0.0)]
LOSS_RUNS: list[Any] = [
    (("click", "like"), F.binary_cross_entropy_with_logits, {}),
    (("watch_time",), F.huber_loss, {}),
]
FOLDED_NORM = {"experts.task.shared": (2, 1, 1e-5)}
FOLDED_HIDDEN = {"towers.click": (2, 1e-5)}
FOLDED_DICE = {"experts.task.shared": (2, 1e-5)}
FITTED = {"days": 3}
SCALED = ("price",)
VOCABULARIES = {"tag": 3}
KEPT = {"tag": "vocabulary", "days": "boundaries", "price": "scaling"}
ORDER = (0, 2, 1)
USER = ("user", "age", "past.user", "past.seen")
USER_COLUMNS = ((0, 4), (8, 10))
USER_WIDTH = 6

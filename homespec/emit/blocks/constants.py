"""Constants that each generated file makes of its spec; here those of a small one, for tests."""

import torch.nn.functional as F

TASKS = ("click", "like", "watch_time")
LABELS = {"click": "is_click", "like": "is_like", "watch_time": "seconds"}
WHERE = {"like": "click"}
SCALES = {"watch_time": 60.0}
RUNS = [(2, 1.0), (1, 0.5)]
MEASURES = {
    F.binary_cross_entropy_with_logits: ("click", "like"),
    F.huber_loss: ("watch_time",),
}
FOLDED_NORM = {"experts.task.shared": (2, 1, 1e-5)}
FOLDED_DICE = {"experts.task.shared": (2, 1e-5)}
FITTED = {"days": 3}
ORDER = (0, 2, 1)

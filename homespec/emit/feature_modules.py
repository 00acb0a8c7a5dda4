"""Stage 7, emit: the classes of features that have a module of their own, by kind."""

VECTORS = {
    "learned": "Learned",
    "projected": "Projected",
    "learned_projected": "LearnedProjected",
}
"""The classes of dense features that have weights, by kind."""
SCALES = {"number": "Number", "scaled": "Scaled", "log_scaled": "LogScaled"}
"""The classes of numbers that are columns of v, by kind."""
PLAIN = {
    "hashed": "plain_inputs.Hashed",
    "vocab": "plain_inputs.Vocab",
    "words": "plain_inputs.Words",
    "bucketized": "plain_inputs.Bucketized",
    "fitted": "plain_inputs.Fitted",
    "dense": "vectors.Dense",
    "event_vector": "vectors.Dense",
} | {kind: f"vectors.{name}" for kind, name in VECTORS.items()}
PLAIN |= {kind: f"numbers.{name}" for kind, name in SCALES.items()}
"""The address of the class of each kind of feature in a plain file."""

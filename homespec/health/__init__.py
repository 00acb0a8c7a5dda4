"""Health: measurements of the experts and gates of a trained model, and the rules on them.

The numbers are in `measures`, their JSON is in `as_json`. This package does not import torch: the
numbers come from `homespec.activations` and `homespec.doctor`, or from a file.
"""

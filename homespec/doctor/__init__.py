"""The doctor: measures a trained model on held-out rows, as the numbers of `homespec.health`.

`homespec.activations` measures what experts and gates do. This package changes the model and
compares the losses of its tasks.
"""

"""The doctor: a trained model and held-out rows -> the numbers of `homespec.health`.

What experts and gates do is measured by `homespec.activations`; here the model is changed, and the
losses of its tasks are compared.
"""

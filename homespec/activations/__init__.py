"""Activations: measures the experts and gates of a model on rows, as numbers of `homespec.health`.

`walk` evaluates the trunk of the plain file, which has a module for each expert, node by node along
the graph of the spec. `observers` keeps sums over rows for each node. So the doctor, and training
after each epoch, can observe every value of every model.
"""

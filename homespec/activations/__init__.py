"""Activations: what the experts and gates of a model do on rows, as numbers of `homespec.health`.

The trunk of the plain file, one module for each expert, is evaluated node by node along the graph
of the spec (`walk`), and sums over rows are kept of each node (`observers`). So every value can be
looked at, in every model of the language: by the doctor, and by training after each epoch.
"""

"""The doctor: a trained model and held-out rows -> the numbers of `homespec.health`.

The trunk of the plain file, one module for each expert, is evaluated node by node along the graph
of the spec (`walk`). So every value can be looked at, and changed, in every model of the language.
"""

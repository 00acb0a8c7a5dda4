"""Building blocks of generated files, which emission copies as needed (homespec/emit/copies.py).

Only tests import them. They have no annotations, like generated code; docstrings and the ends of
names show shapes.
"""

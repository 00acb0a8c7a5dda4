"""Building blocks of generated files: emission copies what a file uses (homespec/emit/copies.py).

Nothing in homespec imports them; tests do. They have no annotations, as generated code has none;
shapes are in docstrings and at the ends of names.
"""

"""Benchmark: a spec's generated code against its plain twin and against bare matrix products.

`run.cases` measures; `report`, `plot` and the JSON show. `timing`, `counting` and `memory` know
nothing of specs, so that `benchmarks/peers.py` measures other libraries with them.
"""

"""Benchmark: a spec's generated code against its plain twin and against bare matrix products.

`runner.measure` measures; `report`, `plot` and the JSON show. `timing`, `counting`, `machine` and
`candidates.Candidate` know nothing of specs: the scripts in `benchmarks/` use them for more.
"""

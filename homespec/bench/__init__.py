"""Benchmark: compares a spec's generated code with its plain twin and with bare matrix products.

`runner.measure` measures; `report`, `plot` and the JSON show the results. `timing`, `counting`,
`machine` and `candidates.Candidate` do not depend on specs: the scripts in `benchmarks/` also use
them.
"""

"""Training with tables sharded over many devices: see train.py and docs/sharding.md."""

"""Training: a spec and a folder of prepared data -> weights, metrics and a table."""

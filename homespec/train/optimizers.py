"""Training: the optimisers of dense parameters and of embedding tables, and the learning rate.

tables = sparse_tables(model) if settings.table_optimizer != "adam" else None
optimizers = make(model, code, ...)          # one, or two: dense parameters, tables
schedulers = [schedule(o, warmup, total, shape) for o in optimizers]
"""

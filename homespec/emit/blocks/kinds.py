"""What a feature may be: a line of FEATURES each."""


def hashed(buckets, dim):
    """Any id: row 0 of its table if missing (-1), else row 1 + id modulo `buckets`."""
    return {"kind": "hashed", "rows": 1 + buckets, "dim": dim}


def hashed__more(buckets, dim, **more):
    """Any id: row 0 of its table if missing (-1), else row 1 + id modulo `buckets`."""
    return {"kind": "hashed", "rows": 1 + buckets, "dim": dim, **more}


def vocab(size, dim):
    """Ids 0 to `size` - 1: row 1 + id of its table; row 0 for missing and unknown ids."""
    return {"kind": "vocab", "rows": 1 + size, "dim": dim}


def vocab__more(size, dim, **more):
    """Ids 0 to `size` - 1: row 1 + id of its table; row 0 for missing and unknown ids."""
    return {"kind": "vocab", "rows": 1 + size, "dim": dim, **more}


def words(size, dim):
    """Ids of a vocabulary that is fitted to data, up to `size`; row 0 for missing and unknown."""
    return {"kind": "words", "rows": 1 + size, "dim": dim, "words": size}


def words__more(size, dim, **more):
    """Ids of a vocabulary that is fitted to data, up to `size`; row 0 for missing and unknown."""
    return {"kind": "words", "rows": 1 + size, "dim": dim, "words": size, **more}


def crossed(buckets, dim, of):
    """Pairs of two ids, by name: row 0 where one has row 0, else 1 + a hash modulo `buckets`."""
    return {"rows": 1 + buckets, "dim": dim, "of": of}


def bucketized(*boundaries, dim):
    """Numbers: row 1 + the number of boundaries at or below; row 0 for NaN."""
    rows = 2 + len(boundaries)
    return {"kind": "bucketized", "rows": rows, "dim": dim, "boundaries": boundaries}


def bucketized__more(*boundaries, dim, **more):
    """Numbers: row 1 + the number of boundaries at or below; row 0 for NaN."""
    rows = 2 + len(boundaries)
    return {"kind": "bucketized", "rows": rows, "dim": dim, "boundaries": boundaries, **more}


def fitted(count, dim):
    """Numbers with `count` boundaries that are fitted to data; row 0 for NaN."""
    return {"kind": "fitted", "rows": 2 + count, "dim": dim, "count": count}


def fitted__more(count, dim, **more):
    """Numbers with `count` boundaries that are fitted to data; row 0 for NaN."""
    return {"kind": "fitted", "rows": 2 + count, "dim": dim, "count": count, **more}


def number():
    """A number, not scaled; 0 for NaN."""
    return {"kind": "number"}


def scaled(by):
    """A number, scaled by an offset and a unit that are fitted to data; 0 for NaN."""
    return {"kind": "scaled", "scale": by}


def log_scaled():
    """The logarithm of a number, scaled by a fitted offset and unit; 0 for NaN."""
    return {"kind": "log_scaled", "scale": "log"}


def dense(length):
    """A vector of numbers; 0 for NaN."""
    return {"kind": "dense", "length": length}


def weights(**more):
    """Weights of the values of a list; 0 for NaN."""
    return {"kind": "weights", **more}


def event_vector(numbers, **more):
    """A vector of numbers for each event; 0 for NaN."""
    return {"kind": "event_vector", "numbers": numbers, **more}


def learned(length):
    """A vector of numbers: 0 for NaN, or a learned vector if all are NaN."""
    return {"kind": "learned", "length": length}


def projected(length, width):
    """A vector of numbers, projected to `width` by a Linear; 0 for NaN."""
    return {"kind": "projected", "length": length, "width": width}


def learned_projected(length, width):
    """A vector of numbers that a Linear projects to `width`: 0 for NaN, learned if all are NaN."""
    return {"kind": "learned_projected", "length": length, "width": width}

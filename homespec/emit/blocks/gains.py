"""Initial weights of a Linear, by the activation after it."""


def start_bound(activation, out, width):
    """The bound of uniform weights [out, width] before this activation.

    Xavier (2010) with the gain 5/3 for tanh; He (2015) for others, with the slope below 0.
    """
    if activation == "tanh":
        return 5 / 3 * (6 / (width + out)) ** 0.5
    slope = {"leaky_relu": 0.01, "prelu": 0.25}.get(activation, 0.0)
    return (6 / ((1 + slope**2) * width)) ** 0.5

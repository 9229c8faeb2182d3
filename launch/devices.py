"""What is set before JAX starts."""

import os


def make_deterministic() -> None:
    """Has sums on a GPU taken in a fixed order, without which no run repeats bit for bit; the user's own flags win."""
    os.environ["XLA_FLAGS"] = f"--xla_gpu_deterministic_ops=true {os.environ.get('XLA_FLAGS', '')}"  # read by JAX

"""What JAX compiles meanwhile."""

import logging
from contextlib import contextmanager

import jax


@contextmanager
def compilations():
    """Counts what is compiled in its block: a function of the name of a program."""
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger = logging.getLogger("jax")
    logger.addHandler(handler)
    logger.propagate = False  # a failing test would print it all
    jax.config.update("jax_log_compiles", True)  # in all threads, which jax.log_compiles does not
    try:
        yield lambda name: sum(f"Finished XLA compilation of jit({name})" in line for line in told)
    finally:
        jax.config.update("jax_log_compiles", False)
        logger.propagate = True
        logger.removeHandler(handler)

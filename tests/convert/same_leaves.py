"""Whether two trees of variables are the same."""

import jax
import numpy as np


def assert_equal(first, second):
    """The same leaves under the same paths, with the same numbers."""
    first, second = _leaves(first), _leaves(second)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def _leaves(variables):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(variables)}

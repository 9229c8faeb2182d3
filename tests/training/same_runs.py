"""That two run folders hold the same, bit for bit."""

import json

import numpy as np
import orbax.checkpoint as ocp


def assert_same(workdir, undisturbed):
    for name in ("metrics.jsonl", "best/variables.safetensors"):
        assert (workdir / name).read_bytes() == (undisturbed / name).read_bytes(), name
    done, expected = (json.loads((folder / "DONE").read_text()) for folder in (workdir, undisturbed))
    assert done | {"seconds": None} == expected | {"seconds": None}
    one, other = (restored(folder) for folder in (workdir, undisturbed))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def restored(workdir):
    """Every array of the last checkpoint by its path."""
    with ocp.CheckpointManager(workdir / "checkpoints") as manager:
        state = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore())

    def walk(tree, path=""):
        if isinstance(tree, list | tuple):  # of an optimiser of several parts
            tree = dict(enumerate(tree))
        if not isinstance(tree, dict):
            return {path: np.asarray(tree)}
        return {name: leaf for key, branch in tree.items() for name, leaf in walk(branch, f"{path}/{key}").items()}

    leaves = walk(state)
    assert any("best_params" in name for name in leaves)
    assert any("mu" in name for name in leaves)
    return leaves

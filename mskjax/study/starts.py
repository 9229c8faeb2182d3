"""Whether the weights that a study's initialisations start from are there."""

from collections.abc import Mapping
from typing import Any

import jax

from mskjax import convert, models, tasks
from mskjax.convert.graft import check
from mskjax.study.data_efficiency import PRETEXTS
from mskjax.training.start import weight_command, weight_file

SKIP = "skip"


def missing(study: Mapping[str, Any]) -> dict[str, str]:
    """The initialisations whose weights are missing, or of another network, each with the command that makes them.

    Weights that the study trains itself are not looked for. Unless `config.missing_weights` is "skip", raises
    `FileNotFoundError` for the first file that is missing and `ValueError` for one of another network.
    """
    found = {}
    for init in study["inits"]:
        try:
            _check(study["starts"][init], study["task"])
        except (OSError, ValueError):
            if study["missing_weights"] != SKIP:
                raise
            found[init] = weight_command(study["starts"][init]["init_from"])
    return found


def takes_published(study: Mapping[str, Any]) -> bool:
    """Whether the study's network is of the size that published weights are of."""
    own, published = (
        {
            path: leaf.shape
            for path, leaf in jax.tree_util.tree_leaves_with_path(models.abstract(module)["params"]["backbone"])
        }
        for module in (tasks.build_module(study["task"]["model"]), models.build(study["task"]["model"]["name"]))
    )
    return own == published


def _check(start: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    path = start["init_from"]
    if not path or path.startswith(f"{PRETEXTS}/"):
        return
    file = weight_file(path)
    target, source = models.abstract(tasks.build_module(task["model"])), convert.load_shapes(file)
    try:
        check(target, source, start["fresh"])
    except ValueError as error:
        told, *leaves = str(error).splitlines()
        raise ValueError(f"{file} is of another network than config.task.model: {told} {leaves[0]}") from error

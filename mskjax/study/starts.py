"""Whether the weights that a study's initialisations start from are there."""

from collections.abc import Mapping
from typing import Any

from mskjax import convert, models, tasks
from mskjax.convert.graft import check
from mskjax.study.data_efficiency import PRETEXTS
from mskjax.training.start import weight_file

SKIP = "skip"


def missing(study: Mapping[str, Any]) -> dict[str, str]:
    """The initialisations that `config.missing_weights` "skip" lets a study do without, each with how to get them.

    Weights that the study trains itself are not looked for. With "refuse" raises `FileNotFoundError` where a file is
    missing and `ValueError` where it is of another network.
    """
    found = {}
    for init in study["inits"]:
        try:
            _check(study["starts"][init], study["task"])
        except (OSError, ValueError) as error:
            if study["missing_weights"] != SKIP:
                raise
            found[init] = str(error).partition("\n")[0]
    return found


def _check(start: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    path = start["init_from"]
    if not path or path.startswith(f"{PRETEXTS}/"):
        return
    file = weight_file(path)
    target = models.abstract(tasks.build_module(task["model"]))
    try:
        check(target, convert.load_shapes(file), start["fresh"])
    except ValueError as error:
        raise ValueError(f"{file} is of another network than config.task.model: {error}") from error

"""Whether the weights that a study's initialisations start from are there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from mskjax import convert, models, tasks
from mskjax.convert.graft import check
from mskjax.convert.manifest import conversion_command
from mskjax.study.data_efficiency import PRETEXTS
from mskjax.training.start import weight_file

SKIP = "skip"
# The fields in which the study of another network that a remedy names is to be as large as this one.
AS_HERE = ("folds", "sizes", "draws", "seeds", "image_size", "epochs")


def missing(study: Mapping[str, Any]) -> dict[str, str]:
    """The initialisations whose weights are missing, or of another network, each with the command that adds it.

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
            found[init] = _remedy(study, study["starts"][init]["init_from"])
    return found


def _remedy(study: Mapping[str, Any], path: str) -> str:
    """The command that makes a weight file and, where they do not fit this study's network, a study that they fit."""
    published, own = models.build(study["task"]["model"]["name"]), tasks.build_module(study["task"]["model"])
    fits = _shapes(own) == _shapes(published)
    same = " ".join(f'--config.{name}="{_value(study[name])}"' for name in AS_HERE)
    fitting = (
        "python -m launch.sweep --config=configs/data_efficiency.py:network=fcn_resnet101 "
        f"--config.dataset={study['dataset']} {same} --workdir=STUDY_OF_THAT_NETWORK"
    )
    needed = {conversion_command(path): fits or not Path(path).exists(), fitting: not fits}
    return " && ".join(command for command, applies in needed.items() if applies)


def _value(value: Any) -> Any:
    """A field's value as a flag takes it."""
    return tuple(value) if isinstance(value, list) else value


def _shapes(module: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's trunk."""
    leaves = jax.tree_util.tree_leaves_with_path(models.abstract(module)["params"]["backbone"])
    return {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}


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

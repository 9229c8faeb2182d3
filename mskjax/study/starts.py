"""Whether the weights that a study's initialisations start from are there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging

from mskjax import convert, models, tasks
from mskjax.convert.graft import check as check_graft
from mskjax.convert.manifest import conversion_command
from mskjax.convert.store import read_metadata
from mskjax.study.data_efficiency import PRETEXTS
from mskjax.training.start import check_origin, weight_file

SKIP, TELL = "skip", "tell"
# The fields in which the study of another network that a remedy names is to be as large as this one.
AS_HERE = ("folds", "sizes", "draws", "seeds", "image_size", "epochs")


def missing(study: Mapping[str, Any]) -> dict[str, str]:
    """The initialisations whose weights are not there, each with the command that adds them, as `lacking` does.

    Weights that the study trains itself are not looked for.
    """

    def check_init(init: str) -> None:
        start = study["starts"][init]
        if not start["init_from"].startswith(f"{PRETEXTS}/"):
            check(start["init_from"], start["fresh"], study["task"], "config.task.model")

    def remedy(init: str) -> str:
        return _remedy(study, study["starts"][init]["init_from"])

    return lacking(study["inits"], check_init, remedy, study["missing_weights"])


def lacking(
    names: Iterable[str], check_one: Callable[[str], None], remedy: Callable[[str], str], missing_weights: str
) -> dict[str, str]:
    """Which of `names` cannot start, as `check_one` raises for them, each with its remedy; the log says why.

    With `missing_weights` "skip" that is whatever is wrong with their weights, with "tell" only that there are none,
    and any other error is raised; otherwise the first of all is.
    """
    found = {}
    for name in names:
        try:
            check_one(name)
        except (OSError, ValueError) as error:
            if missing_weights != SKIP and not (missing_weights == TELL and isinstance(error, OSError)):
                raise
            if isinstance(error, ValueError):
                logging.warning("%s", error)
            found[name] = remedy(name)
    return found


def check(path: str, fresh: Sequence[str], task: Mapping[str, Any], expected: str) -> None:
    """Raises `OSError` where the weights `path` of a task's network are missing, `ValueError` where they do not fit it.

    That is where their shapes are others or the file says that it is of another network or variant. `expected` is what
    they are of another network than, in the sentence. Nothing is wrong with no path.
    """
    if not path:
        return
    file = weight_file(path)
    check_origin(file, read_metadata(file), task)
    target = models.abstract(tasks.build_module(task["model"]))
    try:
        check_graft(target, convert.load_shapes(file), fresh)
    except ValueError as error:
        told, *leaves = str(error).splitlines()
        raise ValueError(f"{file} is of another network than {expected}: {told} {leaves[0]}") from error


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

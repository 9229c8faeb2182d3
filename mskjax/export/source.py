"""The run that is exported: its config, weights and what is known of where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from mskjax import convert
from mskjax.data.dataset import Dataset
from mskjax.export.sample import dataset_of
from mskjax.files import read_json, sha256
from mskjax.training.start import weight_file
from mskjax.types import Variables

SEGMENTATION = "segmentation"


@dataclass(frozen=True)
class Source:
    """A run of launch.train or a cell of a study; `dataset` is None where it is gone, has changed or has no slices."""

    folder: Path
    config: Mapping[str, Any]
    variables: Variables
    weights: Path
    weights_sha256: str
    provenance: Mapping[str, Any]
    dataset: Dataset | None

    @property
    def task(self) -> str:
        """The name of the task that was learned."""
        return self.config["task"]["name"]

    @property
    def model(self) -> str:
        """The name of the network."""
        return self.config["task"]["model"]["name"]

    @property
    def options(self) -> dict[str, Any]:
        """The options of `models.build`, in float32, as the weights are."""
        options = {name: value for name, value in self.config["task"]["model"].items() if name not in ("name", "dtype")}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def read(run: str | Path) -> Source:
    """What a run is; that of an unfinished one, whose best weights so far are taken, is logged.

    Raises `OSError` where `run` is no run, or has no weights.
    """
    run = Path(run)
    config = read_json(run / "config.json") if (run / "config.json").is_file() else {}
    if (run / "cells").is_dir():
        raise FileNotFoundError(f"{run} is a study; name one of the runs in {run / 'cells'}")
    if "task" not in config:
        raise FileNotFoundError(
            f"{run} is no run (no config.json of one); name a run of launch.train, or a study's cell"
        )
    weights = weight_file(run)
    if not (run / "DONE").is_file():
        logging.warning("%s has not finished; these are its best weights so far", run)
    variables, _ = convert.load_variables(weights)
    provenance = read_json(run / "provenance.json") if (run / "provenance.json").is_file() else {}
    return Source(run, config, variables, weights, sha256(weights), provenance, dataset_of(provenance))


def require_slices(source: Source, what: str) -> None:
    """Raises `ValueError` unless the run measures slices; `what` begins the sentence, such as "stablehlo"."""
    if source.task != SEGMENTATION:
        raise ValueError(
            f"{what} is the measurement of slices by a run of the task {SEGMENTATION}, and {source.folder} is a run of "
            f"the task {source.task}; --format=safetensors exports weights, of networks that PyTorch has too"
        )

"""Whether exports give what the run gives: in torchvision, as StableHLO and as ONNX, small and at full size.

    python -m benchmarks.export_parity [--peers=PYTHON] [--onnx_python=PYTHON] [--full]

--peers is a Python with torch and torchvision, --onnx_python one with jax2onnx and onnxruntime, as in docs/export.md;
without them torchvision and ONNX are left out. A small network is trained on phantoms and then fine-tuned from its own
weights; with --full there is FCN-ResNet101 beside it, fine-tuned for an epoch from random weights whose BatchNorm has
the statistics of a phantom. Each is exported in all formats: weights that torchvision loads strictly, predicting the
stored sample, and programs that launch.measure measures a slice with. `near_half` counts the pixels whose logit is
within 1e-4 of 0, where masks may differ; `area_unexplained_cm2` is by how much areas differ beyond that of such pixels.
One JSON line.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import SimpleITK as sitk
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Bool
from safetensors.numpy import load_file

from benchmarks.common import report
from benchmarks.studies import launch, sweep_flags
from configs.segmentation import get_config
from mskjax import convert, models, tasks
from mskjax.data import phantom
from mskjax.export.artifact import sample_path
from mskjax.files import read_json
from mskjax.training.predict import load_run
from mskjax.training.start import BEST
from mskjax.types import Variables

REFERENCE = Path(__file__).with_name("export_parity_reference.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="a Python with torch and torchvision")
    parser.add_argument("--onnx_python", help="a Python with jax2onnx and onnxruntime")
    parser.add_argument("--full", action="store_true", help="FCN-ResNet101 on 512x512 too (ten minutes)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        runs = {"small": (fine_tuned(work), 128)}
        if given.full:
            runs["full"] = (fine_tuned_at_full_size(work), 512)
        figures: dict[str, Any] = {}
        for kind, (run, side) in runs.items():
            found = compare(run, side, given.peers, given.onnx_python)
            figures |= {f"{kind}_{name}": value for name, value in found.items()}
    report("export_parity", **figures)


def fine_tuned(work: Path) -> Path:
    """A small network that was trained on phantoms and then fine-tuned from these weights."""
    launch("prepare", "--phantom=24", "--phantom_size=128", f"--output={work / 'dataset'}")
    fields = {"dataset": work / "dataset", "image_size": 128, "epochs": 4}
    launch("train", *sweep_flags(work / "first", "network=small", fields, "segmentation"))
    again = {**fields, "init_from": work / "first" / BEST, "learning_rate": 3e-4}
    launch("train", *sweep_flags(work / "second", "network=small", again, "segmentation"))
    return work / "second"


def fine_tuned_at_full_size(work: Path) -> Path:
    """FCN-ResNet101 after an epoch on phantoms of 512x512 pixels."""
    launch("prepare", "--phantom=8", f"--output={work / 'whole'}")
    fields = {"dataset": work / "whole", "epochs": 1, "batch_size": 2, "learning_rate": 1e-5}
    fields["init_from"] = write_untrained(work / "untrained.safetensors")
    launch("train", *sweep_flags(work / "full", "init=random", fields, "segmentation"))
    return work / "full"


def write_untrained(file: Path) -> Path:
    """Random weights of FCN-ResNet101, with the statistics that BatchNorm finds for a phantom."""
    config = json.loads(get_config("init=random").to_json())
    task = tasks.build(config["task"])
    image = task.normalise(jnp.asarray(phantom.slices(1, 256).image_hu))
    variables = models.init(task.module, jax.random.key(0), image)

    def learn(variables: Variables) -> Variables:
        options = {"train": True, "mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(1)}}
        return task.module.apply(variables, image, **options)[1]["batch_stats"]

    # As in trained networks the last scale of a block is small: else 33 blocks amplify rounding beyond all sense.
    flat: dict[Any, Any] = flatten_dict(variables["params"])
    calm = unflatten_dict({path: 0.2 * leaf if path[-2:] == ("bn3", "scale") else leaf for path, leaf in flat.items()})
    variables = {"params": calm, "batch_stats": variables["batch_stats"]}
    blended = jax.jit(learn)(variables)  # nine tenths of the old statistics, which are 0 and 1, and a tenth of the new
    new = jax.tree.map(lambda after, before: (after - 0.9 * before) / 0.1, blended, variables["batch_stats"])
    convert.save_variables(file, {"params": calm, "batch_stats": new}, {})
    return file


def compare(run: Path, side: int, peers: str | None, onnx_python: str | None) -> dict[str, Any]:
    """How far torchvision and both programs are from the run."""
    scan = write_scan(run.with_name(f"{run.name}.nii.gz"), side)
    found = torchvision(run, peers) if peers else {}
    own = measured(sys.executable, run, scan, f"--run={run}")
    found["area_cm2"], near = own.area_cm2, near_half(run, side)
    pythons = {"stablehlo": sys.executable} | ({"onnx": onnx_python} if onnx_python else {})
    for kind, python in pythons.items():
        file, start = run.with_name(f"{run.name}.{kind}"), time.perf_counter()
        flags = [f"--height={side}", f"--width={side}", *([f"--onnx_python={python}"] if kind == "onnx" else [])]
        launch("export", f"--run={run}", f"--format={kind}", f"--output={file}", *flags)
        with np.load(sample_path(file)) as sample:
            told = json.loads(str(sample["about"]))["verification"]
        other = measured(python, run, scan, f"--artifact={file}")
        names = ("logit_error", "near_half", "mask_differs")
        found |= {f"{kind}_{name}": told[name] for name in names}
        areas = {
            "area_difference": other.area_cm2 - own.area_cm2,
            "area_unexplained": unexplained_cm2(own, other, near),
        }
        found |= {f"{kind}_{name}_cm2": area for name, area in areas.items()}
        found[f"{kind}_mb"] = round(file.stat().st_size / 1e6, 1)
        found[f"{kind}_s"] = round(time.perf_counter() - start, 1)
    return found


def torchvision(run: Path, peers: str) -> dict[str, Any]:
    """What torchvision's network, which has loaded the weights strictly, gives for the sample stored with them."""
    file = run.with_name(f"{run.name}.safetensors")
    launch("export", f"--run={run}", "--format=safetensors", f"--output={file}")
    with np.load(f"{file}.sample.npz") as stored:
        sample = {name: stored[name] for name in ("image", "logits")}
    tensors, exchange = file.with_suffix(".tensors.npz"), file.with_suffix(".torch.npz")
    np.savez(tensors, allow_pickle=False, **load_file(file))
    np.savez(exchange, image=sample["image"])
    model = json.dumps(read_json(run / "config.json")["task"]["model"])
    subprocess.run([peers, REFERENCE, model, tensors, exchange], check=True)
    with np.load(exchange) as answer:
        logits = answer["logits"]
    near, differ = np.abs(sample["logits"]) < 1e-4, (sample["logits"] > 0) != (logits > 0)
    if (differ & ~near).any():
        raise SystemExit(
            f"the mask of torchvision differs in {(differ & ~near).sum()} pixels that are not near one half"
        )
    error = float(np.abs(sample["logits"] - logits).max())
    told = {"logit_error": error, "largest_logit": float(np.abs(logits).max()), "near_half": int(near.sum())}
    return {f"torchvision_{name}": value for name, value in {**told, "mask_differs": int(differ.sum())}.items()}


class Measured(NamedTuple):
    """What launch.measure finds in a scan of one slice."""

    area_cm2: float
    mask: Bool[np.ndarray, "h w"]


def measured(python: str, run: Path, scan: Path, flag: str) -> Measured:
    """The scan, measured by the program or the run that `flag` names."""
    output = run.with_name(f"{run.name}.measured")
    command = [python, "-m", "launch.measure", f"--image={scan}", f"--output={output}", flag]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    area_cm2 = read_json(output / "measurements.json")["slices"][0]["sma_cm2"]
    return Measured(area_cm2, sitk.GetArrayFromImage(sitk.ReadImage(str(output / "mask.nii.gz")))[0] > 0)


def near_half(run: Path, side: int) -> Bool[np.ndarray, "h w"]:
    """Where the run's logit is within 1e-4 of 0 in the slice that is measured."""
    scan = unseen(side)
    probability = load_run(run)(scan.image_hu, scan.spacing_mm[0].astype(float))[0].astype(float)
    with np.errstate(divide="ignore"):  # of 0 and 1, which are far from one half
        return np.abs(np.log(probability) - np.log1p(-probability)) < 1e-4


def unexplained_cm2(own: Measured, other: Measured, near: Bool[np.ndarray, "h w"]) -> float:
    """By how much two areas differ beyond that of the pixels near one half, in which the masks may."""
    explained_cm2 = ((own.mask != other.mask) & near).sum() * own.area_cm2 / max(own.mask.sum(), 1)
    return max(0.0, round(abs(other.area_cm2 - own.area_cm2) - float(explained_cm2), 6))


def unseen(side: int) -> phantom.Phantom:
    """A drawn patient's slice that no network has seen."""
    return phantom.slices(1, side, seed=77)


def write_scan(file: Path, side: int) -> Path:
    """That slice as a scan of its own."""
    scan = unseen(side)
    image = sitk.GetImageFromArray(scan.image_hu)
    row_mm, column_mm = scan.spacing_mm[0].tolist()
    image.SetSpacing((column_mm, row_mm, 5.0))
    sitk.WriteImage(image, str(file))
    return file


if __name__ == "__main__":
    main()

"""Writes a trained run for other programs: weights for PyTorch, or the whole measurement as StableHLO or ONNX.

    python -m launch.export --run=RUN --format=safetensors --output=muscle.safetensors
    python -m launch.export --run=RUN --format=stablehlo --output=muscle.stablehlo
    python -m launch.export --run=RUN --format=onnx --onnx_python=.venv-onnx/bin/python --output=muscle.onnx
    python -m launch.measure --artifact=muscle.stablehlo --image=slice.dcm --output=DIR

RUN is a run of launch.train, or a study's cell that has kept its weights. safetensors have the names of torchvision's
or SMIT's own network, which loads them strictly. stablehlo (for CPU, CUDA and TPU in one file) and onnx take HU and
spacing of slices of --height and --width and give probability, mask without bone, and area; they are of runs that
segment slices. Each export is verified as it is written, on a drawn slice and on unseen ones of the run's dataset: one
that does not agree with the run is not kept. Beside FILE come its sample (FILE.sample.npz) and model card (FILE.md).

ONNX needs an environment of its own: python -m venv .venv-onnx && .venv-onnx/bin/pip install --editable ".[onnx]"
"""

from absl import flags

from launch.main import run

RUN = flags.DEFINE_string("run", None, "Run of launch.train, or a cell of a study with its weights.", required=True)
FORMAT = flags.DEFINE_enum("format", None, ["safetensors", "stablehlo", "onnx"], "What to write.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "The file to write, replacing a former export.", required=True)
HEIGHT = flags.DEFINE_integer("height", 512, "Rows of the slices that a program takes.")
WIDTH = flags.DEFINE_integer("width", 512, "Columns of the slices that a program takes.")
ONNX_PYTHON = flags.DEFINE_string("onnx_python", None, "A Python with jax2onnx and onnxruntime. [this one]")


def main() -> None:
    """Exports, and says how the export was verified."""
    from mskjax.export.exporting import export

    print(export(RUN.value, OUTPUT.value, FORMAT.value, HEIGHT.value, WIDTH.value, ONNX_PYTHON.value))


if __name__ == "__main__":
    run(main)

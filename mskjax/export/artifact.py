"""An exported measurement as a function of slices; needs JAX for StableHLO and onnxruntime for ONNX, and nothing else.

Both kinds take image_hu [b, h, w] at a fixed height and width and spacing_mm [b, 2], and give `program.OUTPUTS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Integer

from mskjax.export import seal

FINEST_MM = 0.25  # the spacing down to which exported programs look for bone
ONNX, WEIGHTS = ".onnx", ".safetensors"
BROKEN = "is of a release that this one does not read, or of another format than its name says"
Outputs = Mapping[str, np.ndarray]
Run = Callable[..., Outputs]


@dataclass(frozen=True)
class Artifact:
    """An exported program for slices of one height and width.

    `about` is its file name and digest, and what it says of the run that it is of.
    """

    path: Path
    about: Mapping[str, Any]
    shape: tuple[int, int]
    run: Run

    def __call__(
        self, image_hu: Integer[np.ndarray, "n h w"], spacing_mm: Float[np.ndarray, "2"]
    ) -> Float32[np.ndarray, "n h w"]:
        """The probability of muscle in each pixel of slices of one spacing (row, column).

        Raises `ValueError` for slices of another size, and for a spacing that the program does not measure with.
        """
        self.check(image_hu.shape[1:], spacing_mm)
        spacings = np.tile(spacing_mm.astype(np.float32), (len(image_hu), 1))
        return np.asarray(self.run(image_hu.astype(np.float32), spacings)["probability"], np.float32)

    def check(self, shape: tuple[int, ...], spacing_mm: Float[np.ndarray, "2"]) -> None:
        """Raises `ValueError` for slices that the program is not made for."""
        if tuple(shape) != self.shape:
            (rows, columns), (own_rows, own_columns) = shape, self.shape
            raise ValueError(
                f"{self.path} is made for slices of {own_rows}x{own_columns} pixels and these have {rows}x{columns}; "
                f"export the run again with --height={rows} --width={columns}"
            )
        if not (np.isfinite(spacing_mm).all() and (spacing_mm >= FINEST_MM).all()):
            told = " x ".join(f"{mm:g}" for mm in spacing_mm.tolist())
            raise ValueError(
                f"{self.path} measures pixels of {FINEST_MM:g} mm and more, and these have {told} mm; measure them "
                "with the run itself"
            )


def load(path: str | Path) -> Artifact:
    """The program in a file that launch.export wrote; by its suffix ONNX, else StableHLO.

    Raises `OSError` where there is none, and `ValueError` for a file of another kind, one whose bytes are not those
    that were exported, or without onnxruntime.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name the program in it")
    if not path.is_file():
        raise FileNotFoundError(f"there is no exported program {path}; make one with launch.export")
    if path.suffix == WEIGHTS:
        raise ValueError(f"{path} holds weights alone; export the run with --format=stablehlo to measure with it")
    run_it = _onnx if path.suffix == ONNX else _stablehlo
    sealed = seal.read(path)
    try:
        shape, run = run_it(sealed.content)
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed here; install it (pip install {error.name})"
        raise ValueError(f"{path} cannot be run, as {missing}, or export as stablehlo") from error
    except Exception as error:  # flatbuffers, MLIR and onnxruntime raise errors of many kinds
        told = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} {BROKEN} ({told}); export it again") from error
    return Artifact(path, {**sealed.about, "file": path.name, "sha256": sealed.sha256}, shape, run)


def sample_path(path: str | Path) -> Path:
    """Where the sample lies that a program was verified on."""
    return Path(path).with_name(f"{Path(path).name}.sample.npz")


def _stablehlo(content: bytes) -> tuple[tuple[int, int], Run]:
    import jax
    from jax import export

    exported = export.deserialize(bytearray(content))
    call = jax.jit(exported.call)

    def run(*given: np.ndarray) -> Outputs:
        return {name: np.asarray(array) for name, array in call(*given).items()}

    return _shape([aval.shape for aval in exported.in_avals]), run


def _onnx(content: bytes) -> tuple[tuple[int, int], Run]:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names, inputs = ([node.name for node in nodes] for nodes in (session.get_outputs(), session.get_inputs()))

    def run(*given: np.ndarray) -> Outputs:
        return dict(zip(names, session.run(names, dict(zip(inputs, given, strict=True))), strict=True))

    return _shape([node.shape for node in session.get_inputs()]), run


def _shape(shapes: Sequence[Sequence[Any]]) -> tuple[int, int]:
    """The height and width of the first of a program's two inputs, image_hu and spacing_mm."""
    (_, height, width), (_, axes) = shapes
    if axes != 2:
        raise ValueError(f"a spacing of {axes} numbers")
    return int(height), int(width)

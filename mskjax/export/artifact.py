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
from mskjax.files import sha256

FINEST_MM = 0.25  # the spacing down to which exported programs look for bone
ONNX, WEIGHTS = ".onnx", ".safetensors"
BROKEN = "is of a release that this one does not read, or of another format than its name says"
MISSING = "onnxruntime is not installed here; install it (pip install onnxruntime), or export as stablehlo"
Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Artifact:
    """An exported program for slices of one height and width."""

    path: Path
    shape: tuple[int, int]
    run: Callable[[np.ndarray, np.ndarray], Outputs]

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
    load_it = _load_onnx if path.suffix == ONNX else _load_stablehlo
    return load_it(path)


def describe(path: str | Path) -> dict[str, Any]:
    """A program's file name and digest, and what it says of the run that it is of; raises `ValueError` as `load`."""
    _, about = seal.read(Path(path))
    return {**about, "file": Path(path).name, "sha256": sha256(path)}


def sample_path(path: str | Path) -> Path:
    """Where the sample lies that a program was verified on."""
    return Path(path).with_name(f"{Path(path).name}.sample.npz")


def _load_stablehlo(path: Path) -> Artifact:
    import jax
    from jax import export

    program, _ = seal.read(path)
    try:
        exported = export.deserialize(bytearray(program))
        shape = _shape([aval.shape for aval in exported.in_avals])
    except Exception as error:  # flatbuffers and MLIR raise errors of many kinds
        raise ValueError(f"{path} {BROKEN} ({_first_line(error)}); export it again") from error
    call = jax.jit(exported.call)
    return Artifact(path, shape, lambda *inputs: {name: np.asarray(array) for name, array in call(*inputs).items()})


def _load_onnx(path: Path) -> Artifact:
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(f"{path} cannot be run, as {MISSING}") from error
    seal.read(path)
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        shape = _shape([node.shape for node in session.get_inputs()])
    except Exception as error:
        raise ValueError(f"{path} {BROKEN} ({_first_line(error)}); export it again") from error
    names, inputs = ([node.name for node in nodes] for nodes in (session.get_outputs(), session.get_inputs()))

    def run(*given: np.ndarray) -> Outputs:
        return dict(zip(names, session.run(names, dict(zip(inputs, given, strict=True))), strict=True))

    return Artifact(path, shape, run)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _shape(shapes: Sequence[Sequence[Any]]) -> tuple[int, int]:
    """The height and width of the first of a program's two inputs, image_hu and spacing_mm."""
    (_, height, width), (_, axes) = shapes
    if axes != 2:
        raise ValueError(f"a spacing of {axes} numbers")
    return int(height), int(width)

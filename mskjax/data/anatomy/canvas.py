"""A slice in the making, the shapes painted on it, and random fields that are smooth in all three dimensions.

Shapes are signed distances in mm, negative inside, of which only the neighbourhood of zero needs to be exact. Points
are in mm from the centre of the vertebral body: x to the patient's left, y to the back, z to the head.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

Distance = Float[np.ndarray, "h w"]
Real = int | float
Point = tuple[Real, Real]
Window = tuple[slice, slice]
# How far roll and warp may move a point against the middle row and column.
_ONE_THREAD = 2**18  # multiplications, above which OpenBLAS takes several threads
_SLACK_MM = 16.0


@dataclass(frozen=True)
class Canvas:
    """HU and structure labels on a grid whose points have the patient's coordinates `x` and `y`; painted in place.

    `grain` and the coarser `patches` are random fields of zero mean and unit variance that give tissues their texture.
    """

    x: Float32[np.ndarray, "h w"]
    y: Float32[np.ndarray, "h w"]
    hu: Float32[np.ndarray, "h w"]
    label: UInt8[np.ndarray, "h w"]
    grain: Float32[np.ndarray, "h w"]
    patches: Float32[np.ndarray, "h w"]
    pixel_mm: float

    def paint(self, distance_mm: Distance, hu: Real | Distance, label: int | None = 0) -> None:
        """Covers the inside of a shape: edge pixels mix by their share, labels go by the pixel's centre.

        A label of None leaves the labels as they are.
        """
        share = np.clip(0.5 - distance_mm / self.pixel_mm, 0, 1)
        self.hu[...] += share * (hu - self.hu)
        if label is not None:
            self.label[distance_mm < 0] = label

    def window(self, centre: Point, reach_mm: Real) -> Window:
        """The rows and columns within `reach_mm` of a point, or some more; none where that is off the grid."""
        # x hardly changes along a column and y along a row, so that one row and one column tell where to cut.
        reach = reach_mm + _SLACK_MM
        rows = np.flatnonzero(np.abs(self.y[:, self.y.shape[1] // 2] - centre[1]) < reach)
        columns = np.flatnonzero(np.abs(self.x[self.x.shape[0] // 2] - centre[0]) < reach)
        if not (rows.size and columns.size):
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def crop(self, window: Window) -> "Canvas":
        """The part in a window; painting on it paints on this canvas."""
        x, y, hu, label = (array[window] for array in (self.x, self.y, self.hu, self.label))
        return Canvas(x, y, hu, label, self.grain[window], self.patches[window], self.pixel_mm)

    def near(self, centre: Point, reach_mm: Real) -> "Canvas":
        """The part within `reach_mm` of a point, or some more."""
        return self.crop(self.window(centre, reach_mm))


def ellipse(canvas: Canvas, centre: Point, radii_mm: Point, degrees: Real = 0) -> Distance:
    """Distance to an ellipse turned by `degrees` from the left towards the back; exact to first order at its edge."""
    c, s = np.float32(np.cos(np.deg2rad(degrees))), np.float32(np.sin(np.deg2rad(degrees)))
    x, y = canvas.x - np.float32(centre[0]), canvas.y - np.float32(centre[1])
    u, v = (c * x + s * y) / np.float32(radii_mm[0]), (c * y - s * x) / np.float32(radii_mm[1])
    q = np.maximum(np.sqrt(u * u + v * v), np.float32(1e-6))
    slope = np.sqrt((u / np.float32(radii_mm[0])) ** 2 + (v / np.float32(radii_mm[1])) ** 2)
    return q * (q - 1) / np.maximum(slope, np.float32(1e-6 / max(radii_mm)))


def capsule(canvas: Canvas, start: Point, end: Point, radius_mm: Real) -> Distance:
    """Distance to all points within `radius_mm` of a straight piece; exact."""
    ux, uy = end[0] - start[0], end[1] - start[1]
    x, y = canvas.x - np.float32(start[0]), canvas.y - np.float32(start[1])
    along = np.clip((x * ux + y * uy) / (ux * ux + uy * uy + 1e-9), 0, 1)
    return np.hypot(x - along * np.float32(ux), y - along * np.float32(uy)) - np.float32(radius_mm)


def union(*distances_mm: Distance, blend_mm: Real = 4) -> Distance:
    """Distance to the union of shapes, its inner corners rounded over about `blend_mm`."""
    joined = distances_mm[0]
    for distance in distances_mm[1:]:
        h = np.maximum(blend_mm - np.abs(joined - distance), 0) / blend_mm
        joined = np.minimum(joined, distance) - np.float32(blend_mm / 4) * h * h
    return joined


@dataclass(frozen=True)
class Waves:
    """A random field of zero mean and unit variance: plane waves of random direction and phase."""

    rad_per_mm: Float[np.ndarray, "m 3"]
    phase: Float[np.ndarray, " m"]

    @classmethod
    def draw(cls, rng: np.random.Generator, count: int, wavelength_mm: Point, along_z: float = 1.0) -> "Waves":
        """Wavelengths from a range; `along_z` below 1 stretches the field along the body."""
        direction = rng.normal(size=(count, 3))
        direction /= np.linalg.norm(direction[:, :2], axis=1, keepdims=True)
        length = rng.uniform(*wavelength_mm, size=(count, 1))
        return cls(2 * np.pi / length * direction * [1, 1, along_z], rng.uniform(0, 2 * np.pi, count))

    def __call__(self, x: Float[np.ndarray, " w"], y: Float[np.ndarray, " h"], z: float) -> Float32[np.ndarray, "h w"]:
        """The field on the grid of the points x and y (mm) at height z."""
        # cos(a + b) over a grid of a and b is a product of two small matrices, far cheaper than a cosine a pixel.
        kx, ky, kz = self.rad_per_mm.T
        a = np.outer(kx, x).astype(np.float32)
        b = (np.outer(ky, y) + (kz * z + self.phase)[:, None]).astype(np.float32)
        rows, columns = np.concatenate([np.cos(b), -np.sin(b)]).T, np.concatenate([np.cos(a), np.sin(a)])
        # In blocks too small for BLAS to share among threads: waking them takes longer than the whole product.
        block = max(1, _ONE_THREAD // columns.size)
        values = np.concatenate([rows[i : i + block] @ columns for i in range(0, len(rows), block)])
        return values * np.float32(np.sqrt(2 / len(self.phase)))

"""A small scan whose areas and densities are known, and what is measured in it."""

import csv

import numpy as np
import SimpleITK as sitk

SPACING = (5.0, 2.0, 1.0)  # slice, row, column
SHAPE = (6, 40, 30)
PIXEL_CM2 = 2.0 * 1.0 / 100
FAT = 20 * PIXEL_CM2  # in each slice of the muscle
AREA = 120 * PIXEL_CM2


def scan_hu():
    """Soft tissue in air, with a block of bone in slice 3 and fat in the lowest rows of the muscle below."""
    image = np.full(SHAPE, -1000, np.int16)
    image[:, 4:36, 3:27] = 40
    image[3, 10, 10] = 500
    image[:, 20:22, 5:15] = -80
    return image


def muscle():
    """Rows 10 to 22 and columns 5 to 15 of slices 2 to 4."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:5, 10:22, 5:15] = 1
    return mask


def write_nifti(path, values, flips=()):
    """Values in the axial view, stored with the axes `flips` of the array reversed."""
    image = sitk.GetImageFromArray(np.flip(values, flips))
    spacing = np.array(SPACING[::-1])
    image.SetSpacing(spacing.tolist())
    signs = np.array([-1.0 if 2 - axis in flips else 1.0 for axis in range(3)])
    image.SetDirection(np.diag(signs).ravel().tolist())
    image.SetOrigin(np.where(signs < 0, (np.array(SHAPE[::-1]) - 1) * spacing, 0.0).tolist())
    sitk.WriteImage(image, str(path))
    return path


def read_rows(folder):
    with (folder / "measurements.csv").open(newline="") as file:
        return list(csv.DictReader(file))

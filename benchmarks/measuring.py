"""Times `launch.measure` with a given mask, from start to exit (to stay under 6 s for 51 slices of 512x512).

    python -m benchmarks.measuring            # slices made on the spot
    python -m benchmarks.measuring FOLDER     # a series of your own

The mask is all soft tissue of the series, so that every slice has something to measure, to draw and to write.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks import common, reading
from mskjax.data import read_image
from mskjax.data.writing import write_mask


def soft_tissue(image: sitk.Image) -> sitk.Image:
    image_hu = sitk.GetArrayFromImage(image)
    mask = sitk.GetImageFromArray(((image_hu > 0) & (image_hu < 100)).astype(np.uint8))
    mask.CopyInformation(image)
    return mask


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as made:
        series = sys.argv[1] if len(sys.argv) > 1 else reading.write(Path(made))
        image = read_image(series)
        mask = Path(folder) / "mask.nii.gz"
        write_mask(mask, soft_tissue(image))
        output = Path(folder) / "output"
        command = [sys.executable, "-m", "launch.measure", f"--image={series}", f"--mask={mask}", f"--output={output}"]
        seconds = common.measure(lambda: subprocess.run(command, check=True, capture_output=True), repeats=3)
    common.report("measuring", size=image.GetSize(), seconds=round(seconds, 2))


if __name__ == "__main__":
    main()

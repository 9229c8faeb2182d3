"""CT images in HU from a DICOM series, one DICOM slice, NIfTI or NRRD, on the file's own grid."""

from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from mskjax.data.dicom import read_series


def read_image(path: str | Path, series: str | None = None) -> sitk.Image:
    """The CT as a 3-D int16 image in HU, padding and everything below -1024 set to -1024."""
    path = Path(path)
    if path.is_file() and not pydicom.misc.is_dicom(path):
        image = sitk.ReadImage(str(path))
        values = sitk.GetArrayFromImage(image)
    else:
        headers = read_series(path, series)
        slices = [sitk.ReadImage(str(h.filename)) for h in headers]
        values = np.concatenate([sitk.GetArrayFromImage(s) for s in slices])
        origins = np.array([s.GetOrigin() for s in slices])
        image = sitk.GetImageFromArray(values)
        image.SetOrigin(origins[0].tolist())
        direction = np.array(slices[0].GetDirection()).reshape(3, 3)
        direction[:, 2] *= np.sign(direction[2, 2])
        image.SetDirection(direction.ravel().tolist())
        gap = np.linalg.norm(origins[-1] - origins[0]) / max(len(slices) - 1, 1) if len(slices) > 1 else 1.0
        image.SetSpacing([*slices[0].GetSpacing()[:2], float(gap)])
    hu = sitk.GetImageFromArray(np.clip(np.rint(values), -1024, 32767).astype(np.int16))
    hu.CopyInformation(image)
    return hu

"""The headers of one CT series: found by content, checked, and in the order of its slices from feet to head."""

from pathlib import Path

import numpy as np
import pydicom


def read_series(path: str | Path, series: str | None = None) -> list[pydicom.Dataset]:
    """The headers, without pixels, of one CT series from feet to head, each with its `filename`."""
    path = Path(path)
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    headers = [pydicom.dcmread(p, stop_before_pixels=True) for p in files if pydicom.misc.is_dicom(p)]
    headers = [h for h in headers if h.get("Modality") == "CT"]
    if not headers:
        raise ValueError(f"{path} holds no CT image")
    cosines = np.array(headers[0].ImageOrientationPatient, float)
    normal = np.cross(cosines[:3], cosines[3:])
    normal *= np.sign(normal[2])
    return sorted(headers, key=lambda h: float(normal @ np.array(h.ImagePositionPatient, float)))

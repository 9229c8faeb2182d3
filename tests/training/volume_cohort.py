"""Small volumes to learn from, which are written without being resampled."""

import numpy as np
import pandas as pd

from mskjax.data import npy_files
from mskjax.data.dataset import stack
from mskjax.data.splits import digest
from mskjax.data.volume_folder import write_volumes

SPACING_MM = (2.0, 2.0, 3.0)
SPLIT = ["train"] * 4 + ["validation"] * 2 + ["test"]


def write(folder, masked=True, spacing_mm=SPACING_MM, split=SPLIT):
    """Seven cubes of noise, 36 a side, of which the bright quarter of plane 15 + n of case n is outlined as muscle."""
    side, rows, scored = 36, [], []
    for number in range(len(split)):
        rng = np.random.default_rng(number)
        image_hu = rng.normal(-80, 30, (side, side, side))
        image_hu[4 : 4 + side // 2, 6 : 6 + side // 2] += 140
        image_hu = np.rint(image_hu).astype(np.int16)
        mask = np.zeros((1, side, side), np.uint8)
        mask[0, 4 : 4 + side // 2, 6 : 6 + side // 2] = 1
        row = {"case_id": f"case{number}", "file": f"f{number}", "planes": "", "label_sha256": ""}
        row |= {"through": 15 + number if masked else None}
        row |= dict.fromkeys(("slices", "rows", "columns", "i", "j", "k"), side)
        row |= dict.fromkeys(("first_slice", "first_row", "first_column"), 0)
        row |= dict(zip(("column_mm", "row_mm", "slice_mm"), spacing_mm, strict=True))
        row["scan_sha256"] = digest(image_hu)
        row["volume_sha256"] = npy_files.save(folder / "volumes" / f"f{number}.npy", image_hu)
        if masked:
            row["label_sha256"] = npy_files.save(folder / "labels" / f"f{number}.npy", mask)
            row["planes"] = str(15 + number)
        rows.append(row)
        scored.append((image_hu[:, :, 15].T, mask[0].T))
    table = pd.DataFrame(rows).astype({"through": "Int64"})
    ids = table["case_id"].tolist()
    cases = pd.DataFrame({"case_id": ids, "patient_id": ids, "image": "ct", "slice_index": 15, "source_index": 15})
    cases = cases.assign(split=split, mask="m" if masked else "")
    slices = stack(*zip(*scored, strict=True), [spacing_mm[1::-1]] * len(split), ids) if masked else None
    write_volumes(folder, table, cases, {"spacing_mm": list(spacing_mm)}, slices)
    return folder

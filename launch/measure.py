"""Measures the muscle of a scan: area (SMA), density (SMD) and, with a height, index (SMI), slice by slice.

    python -m launch.measure --image=SERIES_FOLDER --run=RUN --slice=25 --height_m=1.72 --output=DIR
    python -m launch.measure --image=scan.nii.gz --mask=corrected.nii.gz --label=1 --slice=20:30 --output=DIR
    python -m launch.measure --image=slice.dcm --mask=plain.png --mask=outlined.png --output=DIR

Slices count from 0 at the feet, and A:B is from A up to but not B. DIR gets measurements.csv (slice_index, sma_cm2,
smd_hu, smi_cm2_m2), measurements.json (settings, the file's own slice numbers, areas with bone and without, volume),
mask.nii.gz on the scan's own grid, mask.dcm (DICOM SEG, for a DICOM scan) and overlay.png. The mask written is the one
that was measured: the chosen slices, after bone and HU window; measured again, into another folder, it gives the same
figures.
Bone is looked for in 3-D in a straight stack of slices and in 2-D in a single or gantry-tilted slice.
"""

from absl import flags

from launch.main import run

IMAGE = flags.DEFINE_string("image", None, "DICOM series folder or file, NIfTI or NRRD.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results, replacing a former measurement's.", required=True)
RUN = flags.DEFINE_string("run", None, "Run of launch.train that predicts the mask.")
MASK = flags.DEFINE_multi_string("mask", None, "Finished mask instead of a run; a plain and an outlined bitmap: twice")
SERIES = flags.DEFINE_string("series", None, "Which DICOM series, where the folder holds several.")
LABEL = flags.DEFINE_multi_string("label", None, "Number or name of a label of the mask; several: 86,87 or twice")
SLICE = flags.DEFINE_string("slice", None, "Slice K or slices A:B (A up to but not B), from 0 at the feet. [all]")
HEIGHT_M = flags.DEFINE_float("height_m", None, "The patient's height in metres.")
HU_WINDOW = flags.DEFINE_string("hu_window", None, "Measure only pixels of A:B HU, both included, as in -29:150.")
REMOVE_BONE = flags.DEFINE_boolean("remove_bone", None, "Cut bone out of the mask. [yes for a run, no for a mask]")


def main() -> None:
    """Measures, and prints the table."""
    from mskjax.study.scan import measure_scan, parse_labels
    from mskjax.study.scan_folder import table

    mask = MASK.value[0] if MASK.value and len(MASK.value) == 1 else MASK.value
    measurement = measure_scan(
        IMAGE.value,
        OUTPUT.value,
        run=RUN.value,
        mask=mask,
        series=SERIES.value,
        label=parse_labels(LABEL.value),
        slices=SLICE.value,
        height_m=HEIGHT_M.value,
        hu_window=HU_WINDOW.value,
        remove_bone=REMOVE_BONE.value,
    )
    print(table(measurement))


if __name__ == "__main__":
    run(main)

"""Measures the muscle of a scan: area (SMA), density (SMD) and, with a height, index (SMI), slice by slice.

    python -m launch.measure --image=SERIES_FOLDER --run=RUN --slice=25 --sex=F --height_m=1.72 --output=DIR
    python -m launch.measure --image=SERIES_FOLDER --run=RUN_OF_VOLUMES --level=25 --sex=F --output=DIR
    python -m launch.measure --image=slice.dcm --artifact=muscle.stablehlo --output=DIR
    python -m launch.measure --image=scan.nii.gz --mask=corrected.nii.gz --label=1 --slice=20:30 --output=DIR
    python -m launch.measure --image=slice.dcm --mask=plain.png --mask=outlined.png --output=DIR

Slices count from 0 at the feet, and A:B is from A up to but not B. DIR gets measurements.csv (slice_index, sma_cm2,
smd_hu, smi_cm2_m2), decisions.csv, measurements.json (settings, the file's own slice numbers, areas with bone and
without, volume), mask.nii.gz on the scan's own grid, mask.dcm (DICOM SEG, for a DICOM scan) and overlay.png. The mask
written is the one measured: the chosen slices, after bone and HU window; measured again, it gives the same figures.
Bone is looked for in 3-D in a straight stack of slices and in 2-D in a single or gantry-tilted slice.
Published cut-offs of low muscle are of L3: they decide, all side by side, on the slice --level, or on the slice that is
measured alone. No command finds L3 by itself: look at the scan, and count from the feet.
A run of volumes (configs/smit_segmentation.py) needs the whole scan, also where one slice is measured. An artifact of
launch.export takes slices of its own size alone, needs neither run nor config, and looks for bone in 2-D.
"""

from absl import flags

from launch.main import run

IMAGE = flags.DEFINE_string("image", None, "DICOM series folder or file, NIfTI or NRRD.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the results, replacing a former measurement's.", required=True)
RUN = flags.DEFINE_string("run", None, "Run of launch.train that predicts the mask, of slices or of volumes.")
ARTIFACT = flags.DEFINE_string("artifact", None, "Program of launch.export instead of a run: .stablehlo or .onnx.")
MASK = flags.DEFINE_multi_string("mask", None, "Finished mask instead of a run; a plain and an outlined bitmap: twice")
flags.DEFINE_string("series", None, "Which DICOM series, where the folder holds several.")
LABEL = flags.DEFINE_multi_string("label", None, "Number or name of a label of the mask; several: 86,87 or twice")
SLICE = flags.DEFINE_string("slice", None, "Slice K or slices A:B (A up to but not B), from 0 at the feet. [all]")
flags.DEFINE_integer("level", None, "The slice at L3, by which cut-offs decide; one of those measured. [the only one]")
flags.DEFINE_enum("sex", None, ["M", "F"], "The patient's sex, for cut-offs.", case_sensitive=False)
flags.DEFINE_float("height_m", None, "The patient's height in metres.")
flags.DEFINE_float("weight_kg", None, "The patient's weight in kilograms, for cut-offs that ask for the BMI.")
flags.DEFINE_string("hu_window", None, "Measure only pixels of A:B HU, both included, as in -29:150.")
flags.DEFINE_boolean("remove_bone", None, "Cut bone out of the mask. [yes for a run, no for a mask]")
ALIKE = ("series", "level", "sex", "height_m", "weight_kg", "hu_window", "remove_bone")  # named as the arguments are


def main() -> None:
    """Measures, and prints the table."""
    from mskjax.study.scan import measure_scan, parse_labels
    from mskjax.study.scan_folder import table

    measurement = measure_scan(
        IMAGE.value,
        OUTPUT.value,
        run=RUN.value,
        artifact=ARTIFACT.value,
        mask=MASK.value[0] if MASK.value and len(MASK.value) == 1 else MASK.value,
        label=parse_labels(LABEL.value),
        slices=SLICE.value,
        **{name: flags.FLAGS[name].value for name in ALIKE},
    )
    print(table(measurement))


if __name__ == "__main__":
    run(main)

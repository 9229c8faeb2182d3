"""Makes a dataset folder from CT images or bitmaps, with muscle masks or labels, or from built-in phantoms.

    python -m launch.prepare --images=SCANS --masks=MASKS --output=DATASET
    python -m launch.prepare --images='cohort/*/ct' --masks='cohort/*/muscle.nii.gz' --slices=largest --output=DATASET
    python -m launch.prepare --images=CTS --masks=MASKS --level_mask=SPINES --level_label=29 --output=DATASET
    python -m launch.prepare --images=PLAIN --masks=OUTLINED --labels=labels.csv --output=DATASET     # bitmaps
    python -m launch.prepare --phantom=40 --output=DATASET     # scans, and masks of simulated readers: DATASET/phantoms
    python -m launch.prepare --images=SCANS --masks=MASKS --spacing_mm=1.5,1.5,2 --output=DATASET     # whole volumes
    python -m launch.prepare --images=SCANS --spacing_mm=2,2,2 --workers=8 --output=DATASET     # no masks: to pretrain

Images are DICOM series (a folder each), DICOM slices, NIfTI, NRRD, or grey bitmaps of 8 bits, which are for
classification: nothing is measured in them. Masks are NIfTI, NRRD, DICOM SEG, RTSTRUCT; a bitmap's is a copy of it with
the outline drawn in. Folders and globs are matched by file name. A CSV (--cases) has a row a case: image, any of mask,
case_id, patient_id, slice (as --slices), label (several as 1|2), series, mask_plain (the plain bitmap, where mask is
outlined and image is none), level_mask, level_label, sex, age_years, height_m, weight_kg, sarcopenia (1 or 0), split.
A CSV of labels has case (the case_id, or the image's name without ending), sarcopenia, and any of sex to split, and
patient_id: give it to bitmaps of one patient, as they name nobody. With a label, one slice needs no mask. Of whole
scans (--spacing_mm) planes train that lie on a drawn slice or between two neighbours; --slices or the middle is scored.
Cases that fail are listed with why (exit status 1). Run it again: what is done is skipped; another dataset is not
replaced. cases.csv repeats your paths; ids are yours or keyed hashes, whose key (case_key) is not to be shared.
"""

from typing import Any

from absl import flags

from launch.main import run

FLAGS = (
    flags.DEFINE_string("images", None, "Folder, glob or file of images."),
    flags.DEFINE_string("masks", None, "Folder, glob or file of masks, named as the images."),
    flags.DEFINE_string("cases", None, "CSV of cases, in place of --images and --masks."),
    flags.DEFINE_string("labels", None, "CSV of what is known of cases: sarcopenia, sex and so on."),
    flags.DEFINE_integer("phantom", None, "Number of phantom patients, in place of images.", lower_bound=1),
    flags.DEFINE_string("output", None, "Dataset folder to write.", required=True),
    flags.DEFINE_string("slices", None, "Of each mask: all (default), largest, level, or number K from 0 at the feet."),
    flags.DEFINE_list("label", None, "Numbers or names of the muscle where masks hold several labels."),
    flags.DEFINE_string("level_mask", None, "Folder, glob or file of masks that hold the level."),
    flags.DEFINE_string("level_label", None, "Name or number of the level; its middle slice is taken."),
    flags.DEFINE_list("spacing_mm", None, "Keeps whole scans, at this spacing: right-left, back-front, feet-head."),
    flags.DEFINE_boolean("foreground", None, "With --spacing_mm: cuts scans to the box of the body (default)."),
    flags.DEFINE_boolean("verify", None, "Reads finished volumes again, and makes anew what was altered."),
    flags.DEFINE_float("validation_fraction", 0.2, "Fraction of patients that validate; see --test_fraction."),
    flags.DEFINE_float("test_fraction", 0.2, "Fraction of patients that test, where no split is given."),
    flags.DEFINE_integer("seed", 0, "Draws the splits, and the phantoms.", lower_bound=0),
    flags.DEFINE_integer("phantom_size", 256, "Rows and columns of phantom slices.", lower_bound=32),
    flags.DEFINE_integer("workers", 1, "Processes that read images, side by side.", lower_bound=1),
)


def main() -> int:
    """Prepares, and lists what failed."""
    from mskjax.data.request import Request, fulfil

    asked: dict[str, Any] = {flag.name: flag.value for flag in FLAGS}
    return bool(fulfil(Request(**asked)))


if __name__ == "__main__":
    run(main)

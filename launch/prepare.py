"""Makes a dataset folder from CT images or bitmaps, with muscle masks or labels, or from built-in phantoms.

    python -m launch.prepare --images=SCANS --masks=MASKS --output=DATASET
    python -m launch.prepare --images='cohort/*/ct' --masks='cohort/*/muscle.nii.gz' --slices=largest --output=DATASET
    python -m launch.prepare --cases=cases.csv --output=DATASET
    python -m launch.prepare --images=CTS --masks=MASKS --level_mask=SPINES --level_label=29 --output=DATASET
    python -m launch.prepare --images=PLAIN --masks=OUTLINED --labels=labels.csv --output=DATASET     # bitmaps
    python -m launch.prepare --phantom=40 --output=DATASET     # scans, and masks of simulated readers: DATASET/phantoms

Images are DICOM series (a folder each), DICOM slices, NIfTI, NRRD, or grey bitmaps of 8 bits, which are for
classification: nothing is measured in them. Masks are NIfTI, NRRD, DICOM SEG, RTSTRUCT; a bitmap's is a copy of it with
the outline drawn in. Folders and globs are matched by file name. A CSV has a row a case: image, and any of mask,
case_id, patient_id, slice (as --slices), label (several as 1|2), series, mask_plain (the plain bitmap, where mask is
outlined and image is none), level_mask, level_label, sex, age_years, height_m, weight_kg, sarcopenia (1 or 0), split.
A CSV of labels has case (the case_id, or the image's name without ending), sarcopenia, and any of sex to split, and
patient_id: give it to bitmaps of one patient, as they name nobody. With a label, one slice needs no mask.

Cases that fail are listed with why, and the exit status is 1; the others are written. Run it again: what is done is
skipped; a dataset from other images, masks or CSV is not replaced. cases.csv repeats the paths you give; ids are yours
or keyed hashes, whose key (case_key) is not to be shared.
"""

from absl import flags

from launch.main import run

IMAGES = flags.DEFINE_string("images", None, "Folder, glob or file of images.")
MASKS = flags.DEFINE_string("masks", None, "Folder, glob or file of masks, named as the images.")
CASES = flags.DEFINE_string("cases", None, "CSV of cases, in place of --images and --masks.")
LABELS = flags.DEFINE_string("labels", None, "CSV of what is known of cases: sarcopenia, sex and so on.")
PHANTOM = flags.DEFINE_integer("phantom", None, "Number of phantom patients, in place of images.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "Dataset folder to write.", required=True)
SLICES = flags.DEFINE_string("slices", "all", "Number from 0 at the feet, or all that carry the mask, largest, level.")
LABEL = flags.DEFINE_list("label", None, "Numbers or names of the muscle where masks hold several labels.")
LEVEL_MASK = flags.DEFINE_string("level_mask", None, "Folder, glob or file of masks that hold the level.")
LEVEL_LABEL = flags.DEFINE_string("level_label", None, "Name or number of the level; its middle slice is taken.")
VALIDATION = flags.DEFINE_float("validation_fraction", 0.2, "Fraction of patients that validate; see --test_fraction.")
TEST = flags.DEFINE_float("test_fraction", 0.2, "Fraction of patients that test, where no split is given.")
SEED = flags.DEFINE_integer("seed", 0, "Draws the splits, and the phantoms.", lower_bound=0)
SIZE = flags.DEFINE_integer("phantom_size", 256, "Rows and columns of phantom slices.", lower_bound=32)


def main() -> int:
    """Prepares, and lists what failed."""
    from mskjax.data import prepare

    shares, files = prepare.Shares(VALIDATION.value, TEST.value, SEED.value), (IMAGES, MASKS, CASES, LABELS)
    if PHANTOM.value:
        if given := [f"--{f.name}" for f in (*files, SLICES, LABEL, LEVEL_MASK, LEVEL_LABEL) if f.present]:
            raise ValueError(f"--phantom draws its own images and masks; leave out {', '.join(given)}, or --phantom")
        return bool(prepare.prepare_phantoms(PHANTOM.value, OUTPUT.value, SIZE.value, SEED.value, shares))
    choice = SLICES.value, None if LABEL.value is None else tuple(LABEL.value), LEVEL_MASK.value, LEVEL_LABEL.value
    found, failed = prepare.collect(IMAGES.value, MASKS.value, CASES.value, *choice, LABELS.value)
    source = {flag.name: flag.value for flag in files if flag.value is not None}
    return bool(failed | prepare.prepare(found, OUTPUT.value, shares, source))


if __name__ == "__main__":
    run(main)

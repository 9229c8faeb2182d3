"""Makes a dataset folder from CT images and muscle masks, or from built-in phantoms.

    python -m launch.prepare --images=SCANS --masks=MASKS --output=DATASET
    python -m launch.prepare --images='cohort/*/ct' --masks='cohort/*/muscle.nii.gz' --slices=largest --output=DATASET
    python -m launch.prepare --cases=cases.csv --output=DATASET
    python -m launch.prepare --images=CTS --masks=MASKS --level_mask=SPINES --level_label=29 --output=DATASET
    python -m launch.prepare --phantom=40 --output=DATASET     # scans, and masks of simulated readers: DATASET/phantoms

Images are DICOM series (a folder each), single DICOM slices, NIfTI or NRRD; masks NIfTI, NRRD, DICOM SEG or RTSTRUCT.
Folders and globs are matched by file name. A CSV has a row a case: image, mask, and any of case_id, patient_id, slice
(as --slices), label (several as 1|2), series, mask_plain (the plain bitmap where mask is a bitmap with the outline
drawn in), level_mask, level_label, sex, age_years, height_m, weight_kg, sarcopenia, split.

Cases that fail are listed with why, and the exit status is 1; the others are written. Run it again: what is done is
skipped; a dataset from other images, masks or CSV is not replaced. cases.csv repeats the paths you give; ids are yours
or keyed hashes, whose key (case_key) is not to be shared.
"""

from absl import flags, logging

from launch.main import run

IMAGES = flags.DEFINE_string("images", None, "Folder, glob or file of images.")
MASKS = flags.DEFINE_string("masks", None, "Folder, glob or file of masks, named as the images.")
CASES = flags.DEFINE_string("cases", None, "CSV of cases, in place of --images and --masks.")
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

    shares = prepare.Shares(VALIDATION.value, TEST.value, SEED.value)
    if PHANTOM.value:
        of_images = (IMAGES, MASKS, CASES, SLICES, LABEL, LEVEL_MASK, LEVEL_LABEL)
        if given := [f"--{flag.name}" for flag in of_images if flag.present]:
            raise ValueError(f"--phantom draws its own images and masks; leave out {', '.join(given)}, or --phantom")
        failed = prepare.prepare_phantoms(PHANTOM.value, OUTPUT.value, SIZE.value, SEED.value, shares)
    else:
        label = None if LABEL.value is None else tuple(LABEL.value)
        level = LEVEL_MASK.value, LEVEL_LABEL.value
        found, failed = prepare.collect(IMAGES.value, MASKS.value, CASES.value, SLICES.value, label, *level)
        for name, why in failed.items():
            logging.error("failed: %s: %s", name, why)
        source = {flag.name: flag.value for flag in (IMAGES, MASKS, CASES) if flag.value is not None}
        failed |= prepare.prepare(found, OUTPUT.value, shares, source)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
